// Flows as they run: rates, latency, what is in flight and what waits for a person.
import { useMemo } from "preact/hooks";
import { count, duration, rate, short } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Chip, Facts, Figure, Head, Section } from "../ui/basics.jsx";
import { Plot } from "../ui/plot.jsx";
import { Empty, Loaded, Note } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";

const RATE = [{ label: "Finished", tone: "--plot-1" }];
const LATENCY = [
  { label: "p50", tone: "--plot-1" },
  { label: "p99", tone: "--plot-2" },
];
const perSecond = (value) => rate(value ?? 0);
const known = (value) => (value === null || value === undefined ? null : value);
const took = (value) =>
  known(value) === null || value >= 10 ? duration(known(value)) : `${Math.round(value * 10) / 10} ms`;

function Plots({ history }) {
  const [rates, latencies] = useMemo(() => {
    const points = history?.points || [];
    const times = points.map(([at]) => at / 1000);
    const latency = (i) => points.map((point) => (point[1] > 0 ? known(point[i]) : null)); // nothing ended: no latency
    return [
      [times, points.map((point) => known(point[1]))],
      [times, latency(2), latency(3)],
    ];
  }, [history]);
  if (rates[0].length < 2) return <p class="quiet">The plots begin with the first events.</p>;
  return (
    <div class="columns">
      <Plot label="Events a second" series={RATE} data={rates} format={perSecond} />
      <Plot label="Latency" series={LATENCY} data={latencies} format={took} />
    </div>
  );
}

function Flow({ flow }) {
  const latency = flow.latency?.count ? flow.latency : null;
  return (
    <section class="card" aria-label={`Flow ${flow.group}`}>
      <div class="card-head">
        <h2>
          <a href={href("groups", flow.group)}>{flow.group}</a>
        </h2>
        <Chip>{flow.state}</Chip>
        <span class="dim">
          {flow.topics.map((name, i) => (
            <span key={name}>
              {i ? ", " : "reads "}
              <a href={href("topics", name)}>{name}</a>
            </span>
          ))}
        </span>
      </div>
      {flow.error ? <Note tone="bad">{flow.error}</Note> : null}
      <div class="figures small">
        <Figure label="Finished" value={rate(flow.rate.finished)} note={`${short(flow.finished)} in all`} />
        <Figure
          label="In flight"
          value={count(flow.running)}
          note={`${count(flow.waiting)} wait for their turn`}
        />
        <Figure label="Latency p99" value={took(latency?.p99_ms)} note={`p50 ${took(latency?.p50_ms)}`} />
        <Figure
          label="Dead"
          value={short(flow.dead)}
          tone={flow.rate.dead > 0 ? "bad" : ""}
          to={href("letters")}
          note={`${count(flow.later)} retried later`}
        />
        {flow.parked !== undefined && flow.parked !== null ? (
          <Figure
            label="Parked"
            value={count(flow.parked)}
            tone={flow.parked ? "warn" : ""}
            note="a person decides"
            to={`${href("chains")}?state=parked&flow=${encodeURIComponent(flow.group)}`}
          />
        ) : null}
      </div>
      <Plots history={flow.history} />
      <details>
        <summary>All counts</summary>
        <Facts
          of={["partitions", "taken", "unfinished", "redelivered", "skipped", "moved", "bytes"].map(
            (name) => [name[0].toUpperCase() + name.slice(1), count(flow[name])],
          )}
        />
      </details>
    </section>
  );
}

const guardColumns = [
  { id: "name", label: "Name", kind: "first", sort: (one) => one.name, cell: (one) => one.name },
  { id: "kind", label: "Kind", sort: (one) => one.kind, cell: (one) => one.kind.replace("_", " ") },
  {
    id: "state",
    label: "State",
    sort: (one) => one.state,
    cell: (one) =>
      one.state ? <Chip tone={one.kind === "breaker" ? undefined : ""}>{one.state}</Chip> : "–",
  },
  {
    id: "detail",
    label: "Detail",
    kind: "grow",
    cell: (one) =>
      Object.entries(one.detail || {})
        .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
        .join(", "),
  },
];

function Outside({ letters, outbox }) {
  return (
    <Facts
      of={[
        ["Dead letters that wait for being written", letters ? count(letters.waiting) : null],
        ["Since", letters?.waiting ? duration(letters.oldest_ms) : null],
        ["In the outbox", outbox ? count(outbox.queued) : null],
        ["Refused by the broker", outbox?.refused ? count(outbox.refused) : null],
      ]}
    />
  );
}

export function Flows() {
  const page = useLoad("flows");
  const live = useLive("flows");
  const shown = { ...page, data: live || page.data };
  return (
    <>
      <Head title="Flows" />
      <Loaded of={shown} lines={8}>
        {(data) => (
          <>
            {data.ready === false && data.reasons?.length ? (
              <Note tone="warn" title="Events are not taken now">
                <ul>
                  {data.reasons.map((text) => (
                    <li key={text}>{text}</li>
                  ))}
                </ul>
              </Note>
            ) : null}
            {data.flows.length ? (
              data.flows.map((flow) => <Flow key={`${flow.group} ${flow.topics.join(" ")}`} flow={flow} />)
            ) : (
              <Empty title="The script has no flow">A flow reads topics and handles their events.</Empty>
            )}
            {data.guards?.length ? (
              <Section title="Breakers and other guards">
                <Table
                  label="Guards"
                  columns={guardColumns}
                  rows={data.guards}
                  id={(one) => `${one.kind} ${one.name}`}
                  order={{ id: "name" }}
                />
              </Section>
            ) : null}
            <Section title="On the way out">
              <Outside letters={data.letters} outbox={data.outbox} />
            </Section>
          </>
        )}
      </Loaded>
    </>
  );
}
