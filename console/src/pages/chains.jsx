// Chains of the journal: what is open, parked ones first.
import { useState } from "preact/hooks";
import { query as queryOf } from "../api.js";
import { count } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { go, href } from "../router.js";
import { Button, Chip, Head, Tabs, Time } from "../ui/basics.jsx";
import { Empty, Loaded } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { FilterBar } from "./filter_bar.jsx";

const STATES = [
  "parked",
  "active",
  "sleeping",
  "waiting",
  "held",
  "done",
  "dead",
  "completed",
  "abandoned",
  "all",
];
const ENDED = ["done", "dead", "completed", "abandoned", "all"];
const FILTERS = ["flow", "type", "key", "event", "since"];
const EVERY_MS = 5000;

export const runColumns = [
  {
    id: "id",
    label: "Chain",
    kind: "mono first",
    sort: (one) => one.id,
    cell: (one) => <a href={href("chains", one.id)}>{one.id}</a>,
  },
  { id: "state", label: "State", sort: (one) => one.state, cell: (one) => <Chip>{one.state}</Chip> },
  {
    id: "type",
    label: "Type",
    kind: "cut",
    sort: (one) => one.type,
    cell: (one) => one.type || <span class="dim">–</span>,
  },
  {
    id: "key",
    label: "Key",
    kind: "mono cut",
    sort: (one) => one.key,
    cell: (one) => one.key ?? <span class="dim">–</span>,
  },
  {
    id: "changed",
    label: "Changed",
    sort: (one) => one.changed,
    cell: (one) => <Time at={one.changed} relative />,
  },
  {
    id: "why",
    label: "Why",
    kind: "cut grow",
    cell: (one) =>
      one.due ? (
        <>
          {one.why} due <Time at={one.due} relative />
        </>
      ) : (
        one.why || ""
      ),
  },
];

function StateTabs({ state, counts, filters }) {
  const to = (name) => href("chains") + queryOf({ ...filters, state: name });
  const tab = (name) => [name, counts?.[name] ? `${name} ${count(counts[name])}` : name, to(name)];
  const shown = STATES.filter(
    (name) => !ENDED.includes(name) || name === state || ["done", "dead", "all"].includes(name),
  );
  return (
    <Tabs label="States" current={state || "open"} tabs={[["open", "open", to(null)], ...shown.map(tab)]} />
  );
}

export function Chains({ query }) {
  const state = query.get("state");
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) || ""]));
  const [form, set] = useState(filters);
  const [max, more] = useState(100);
  const live = useLive("chains");
  const page = useLoad(`chains${queryOf({ ...filters, state, max })}`, EVERY_MS);
  const submit = (event) => {
    event.preventDefault();
    go(href("chains") + queryOf({ ...form, state }));
  };
  return (
    <>
      <Head title="Chains" />
      <StateTabs state={state} filters={filters} counts={live?.counts || page.data?.counts} />
      <FilterBar label="Which chains" names={FILTERS} values={form} change={set} submit={submit} />
      <Loaded of={page}>
        {(data) => (
          <>
            <Table
              label="Chains"
              columns={runColumns}
              rows={data.runs}
              id={(one) => one.id}
              empty={
                <Empty
                  title={state ? `No chain is ${state === "all" ? "there" : state}` : "No chain is open"}
                >
                  {state ? null : "Chains that have ended are behind the other tabs."}
                </Empty>
              }
            />
            {data.more && max < 1000 ? (
              <p class="more">
                <Button onClick={() => more(Math.min(max * 3, 1000))}>Show more</Button>
              </p>
            ) : null}
          </>
        )}
      </Loaded>
    </>
  );
}
