// One consumer group: members, lag for each partition and over time, its offsets set anew.
import { useMemo, useState } from "preact/hooks";
import { at } from "../api.js";
import { count, short } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Button, Chip, Facts, Head, Section } from "../ui/basics.jsx";
import { Plot } from "../ui/plot.jsx";
import { Empty, Loaded } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { ResetOffsets } from "./offsets.jsx";

const EVERY_MS = 5000;
const POINTS = 720;

function Lag({ row, most }) {
  return (
    <span class="lag">
      <meter
        min={0}
        max={Math.max(most, 1)}
        value={row.lag || 0}
        aria-label={`Lag of partition ${row.partition}`}
      />
      {count(row.lag)}
    </span>
  );
}

const columnsOf = (most) => [
  {
    id: "topic",
    label: "Topic",
    kind: "first",
    sort: (one) => one.topic,
    cell: (one) => <a href={href("topics", one.topic)}>{one.topic}</a>,
  },
  {
    id: "partition",
    label: "Partition",
    kind: "number",
    sort: (one) => one.partition,
    cell: (one) => one.partition,
  },
  {
    id: "lag",
    label: "Lag",
    kind: "number",
    sort: (one) => one.lag,
    cell: (one) => <Lag row={one} most={most} />,
  },
  {
    id: "committed",
    label: "Committed",
    kind: "number",
    sort: (one) => one.committed,
    cell: (one) => count(one.committed),
  },
  { id: "high", label: "To offset", kind: "number", sort: (one) => one.high, cell: (one) => count(one.high) },
  {
    id: "member",
    label: "Member",
    kind: "mono cut",
    sort: (one) => one.member,
    cell: (one) => one.member || <span class="dim">nobody</span>,
  },
];

const memberColumns = [
  {
    id: "client",
    label: "Client",
    kind: "first",
    sort: (one) => one.client_id,
    cell: (one) => one.client_id,
  },
  { id: "host", label: "Host", sort: (one) => one.host, cell: (one) => one.host },
  {
    id: "count",
    label: "Partitions",
    kind: "number",
    sort: (one) => (one.partitions || []).length,
    cell: (one) => (one.idle ? <Chip tone="warn">idle</Chip> : count((one.partitions || []).length)),
  },
  { id: "id", label: "Member", kind: "mono grow", cell: (one) => one.id },
];

const LAG = [{ label: "Lag", tone: "--plot-1" }];

/** Members without a partition stand by until another one goes: said, for they look like a fault. */
function Idle({ members }) {
  const idle = members.filter((one) => one.idle).length;
  return idle && idle < members.length ? (
    <p class="note">
      {idle === 1 ? "One member is idle" : `${idle} members are idle`}: the group has more members than
      partitions. Each takes over when another one leaves.
    </p>
  ) : null;
}

/** The points that the server kept, and those that came since. */
function useHistory(name, history) {
  const live = useLive("lag");
  const mine = live?.groups.find((one) => one.name === name);
  const [seen] = useState([]);
  const now = live ? new Date(live.at).getTime() : 0;
  if (mine && mine.lag !== null && mine.lag !== undefined && now > (seen.at(-1)?.[0] || 0)) {
    seen.push([now, mine.lag]);
    if (seen.length > POINTS) seen.shift();
  }
  return useMemo(() => {
    const points = history?.points || [];
    const last = points.at(-1)?.[0] || 0;
    const all = [...points, ...seen.filter(([at]) => at > last)].slice(-POINTS);
    return [all.map(([at]) => at / 1000), all.map(([, lag]) => lag)];
  }, [history, now]);
}

function Detail({ data }) {
  const plot = useHistory(data.name, data.history);
  const rows = (data.topics || []).flatMap(({ topic, partitions }) =>
    partitions.map((one) => ({ topic, ...one })),
  );
  const most = rows.reduce((max, one) => Math.max(max, one.lag || 0), 0);
  return (
    <>
      <Facts
        of={[
          ["State", <Chip>{data.state}</Chip>],
          ["Lag", count(data.lag)],
          ["Protocol", data.protocol],
          ["Flow", data.ours ? <a href={href("flows")}>of this process</a> : null],
        ]}
      />
      {plot[0].length > 1 ? (
        <Plot label="Lag over time" series={LAG} data={plot} format={short} />
      ) : (
        <p class="quiet">The plot begins while this page is open.</p>
      )}
      <Section title="Partitions">
        <Table
          label="Lag for each partition"
          columns={columnsOf(most)}
          rows={rows}
          order={{ id: "topic" }}
          id={(one) => `${one.topic}:${one.partition}`}
          empty={<Empty title="No offsets yet">The group has committed nothing.</Empty>}
        />
      </Section>
      <Section title="Members">
        <Idle members={data.members || []} />
        <Table
          label="Members"
          columns={memberColumns}
          rows={data.members || []}
          id={(one) => one.id}
          empty={<Empty title="Nobody reads">The group has no member now.</Empty>}
        />
      </Section>
    </>
  );
}

export function Group({ name }) {
  const page = useLoad(at`groups/${name}`, EVERY_MS);
  const [resetting, reset] = useState(false);
  return (
    <>
      <Head
        title={name}
        crumbs={[["Consumer groups", href("groups")]]}
        actions={
          <Button needs="operator" disabled={!page.data} onClick={() => reset(true)}>
            Reset offsets
          </Button>
        }
      />
      <Loaded of={page}>{(data) => <Detail data={data} />}</Loaded>
      {resetting ? <ResetOffsets group={page.data} close={() => reset(false)} done={page.reload} /> : null}
    </>
  );
}
