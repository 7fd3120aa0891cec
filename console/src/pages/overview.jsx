// How things are, and what needs attention.
import { count, plural, rate, short } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Chip, Facts, Figure, Head, Section, Time } from "../ui/basics.jsx";
import { Loaded } from "../ui/states.jsx";

const EVERY_MS = 10000;

/** What somebody should look at: [tone, text, href]. */
function worries({ chains, letters, machines, scripts, flows }) {
  const list = [];
  const parked = chains?.counts?.parked;
  if (parked) {
    list.push([
      "warn",
      `${plural(parked, "chain")} parked: a person decides`,
      `${href("chains")}?state=parked`,
    ]);
  }
  for (const one of letters?.topics || []) {
    if (one.letters) {
      list.push(["bad", `${plural(one.letters, "dead letter")} in ${one.topic}`, href("letters", one.topic)]);
    }
  }
  for (const one of machines?.machines || []) {
    if (!one.online) {
      list.push([
        "bad",
        `Machine ${one.id} is offline${one.reason ? `: ${one.reason}` : ""}`,
        href("machines", one.id),
      ]);
    }
  }
  for (const one of flows?.flows || []) {
    if (one.error) list.push(["bad", `Flow ${one.group}: ${one.error}`, href("flows")]);
  }
  for (const one of flows?.guards || []) {
    if (one.kind === "breaker" && one.state !== "closed") {
      list.push(["warn", `The breaker ${one.name} is ${one.state.replace("_", " ")}`, href("flows")]);
    }
  }
  if (scripts?.reload_error) list.push(["bad", "The last reload of the script was refused", href("scripts")]);
  return list;
}

function Worries() {
  const found = worries({
    chains: useLive("chains"),
    letters: useLive("letters"),
    machines: useLive("machines"),
    scripts: useLive("scripts"),
    flows: useLive("flows"),
  });
  return (
    <Section title="Needs attention">
      {found.length ? (
        <ul class="worries">
          {found.map(([tone, text, link]) => (
            <li key={text} class={tone}>
              <a href={link}>{text}</a>
            </li>
          ))}
        </ul>
      ) : (
        <p class="quiet">
          <span class="dot good" aria-hidden="true" /> Nothing.
        </p>
      )}
    </Section>
  );
}

function Figures({ data }) {
  const flows = useLive("flows")?.flows;
  const lag = useLive("lag")?.groups;
  const finished = flows ? flows.reduce((sum, one) => sum + one.rate.finished, 0) : data.flows?.rate;
  const behind = lag ? lag.reduce((sum, one) => sum + (one.lag || 0), 0) : data.groups?.lag;
  const parked = data.chains?.counts?.parked || 0;
  const letters = data.letters?.letters || 0;
  const { machines, topics, groups } = data;
  return (
    <div class="figures">
      {data.flows ? (
        <Figure
          label="Events finished"
          value={rate(finished)}
          to={href("flows")}
          note={`${count(data.flows.running)} running, ${count(data.flows.waiting)} waiting`}
        />
      ) : null}
      <Figure
        label="Lag"
        value={short(behind)}
        to={href("groups")}
        note={plural(groups.count, "consumer group")}
      />
      <Figure
        label="Dead letters"
        value={short(letters)}
        tone={letters ? "bad" : ""}
        to={href("letters")}
        note={plural(data.letters?.topics || 0, "topic")}
      />
      {data.chains?.available ? (
        <Figure
          label="Chains parked"
          value={short(parked)}
          tone={parked ? "warn" : ""}
          to={href("chains")}
          note={`${count(data.chains.counts.active || 0)} active`}
        />
      ) : null}
      {machines?.count ? (
        <Figure
          label="Machines online"
          value={`${machines.online} of ${machines.count}`}
          to={href("machines")}
          tone={machines.online < machines.count ? "bad" : ""}
        />
      ) : null}
      <Figure
        label="Messages"
        value={short(topics.messages)}
        to={href("topics")}
        note={`${plural(topics.count, "topic")}, ${plural(topics.partitions, "partition")}`}
      />
    </div>
  );
}

export function Overview() {
  const page = useLoad("overview", EVERY_MS);
  return (
    <>
      <Head title="Overview" />
      <Loaded of={page} lines={8}>
        {(data) => (
          <>
            <Figures data={data} />
            <Worries />
            <div class="columns">
              <Section title="Cluster">
                <Facts
                  of={[
                    ["Brokers", <a href={href("brokers")}>{data.cluster.brokers}</a>],
                    [
                      "State",
                      <Chip tone={data.cluster.connected ? "good" : "bad"}>
                        {data.cluster.connected ? "connected" : "no broker answers"}
                      </Chip>,
                    ],
                    ["Kind", data.cluster.embedded ? "embedded: events are kept in memory only" : null],
                    ["Nodes", data.cluster.nodes],
                    ["Id", data.cluster.id],
                  ]}
                />
              </Section>
              {data.script ? (
                <Section title="Script">
                  <Facts
                    of={[
                      ["File", <a href={href("scripts")}>{data.script.path}</a>],
                      ["Version", <code>{(data.script.version || "").slice(0, 12)}</code>],
                      [
                        "State",
                        <Chip tone={data.script.reload_error ? "bad" : "good"}>
                          {data.script.reload_error ? "reload refused" : "running"}
                        </Chip>,
                      ],
                      ["Seen", <Time at={data.at} />],
                    ]}
                  />
                </Section>
              ) : null}
            </div>
          </>
        )}
      </Loaded>
    </>
  );
}
