// All consumer groups, with their lag as it changes.
import { useMemo } from "preact/hooks";
import { count } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Chip, Head } from "../ui/basics.jsx";
import { Empty, Loaded } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";

const EVERY_MS = 5000;

const columns = [
  {
    id: "name",
    label: "Group",
    kind: "first",
    sort: (one) => one.name,
    cell: (one) => (
      <>
        <a href={href("groups", one.name)}>{one.name}</a>
        {one.ours ? <Chip tone="info">this process</Chip> : null}
      </>
    ),
  },
  { id: "state", label: "State", sort: (one) => one.state, cell: (one) => <Chip>{one.state}</Chip> },
  { id: "lag", label: "Lag", kind: "number", sort: (one) => one.lag, cell: (one) => count(one.lag) },
  {
    id: "members",
    label: "Members",
    kind: "number",
    sort: (one) => one.members,
    cell: (one) => count(one.members),
  },
  {
    id: "topics",
    label: "Topics",
    kind: "grow",
    cell: (one) =>
      (one.topics || []).map((name, i) => (
        <span key={name}>
          {i ? ", " : ""}
          <a href={href("topics", name)}>{name}</a>
        </span>
      )),
  },
];

export function Groups() {
  const page = useLoad("groups", EVERY_MS);
  const live = useLive("lag");
  const rows = useMemo(() => {
    const now = new Map((live?.groups || []).map((one) => [one.name, one]));
    return (page.data?.groups || []).map((one) => ({ ...one, ...now.get(one.name) }));
  }, [page.data, live]);
  return (
    <>
      <Head title="Consumer groups" />
      <Loaded of={page}>
        {() => (
          <Table
            label="Consumer groups"
            columns={columns}
            rows={rows}
            id={(one) => one.name}
            order={{ id: "name" }}
            empty={
              <Empty title="There is no consumer group">One is there once something reads a topic.</Empty>
            }
          />
        )}
      </Loaded>
    </>
  );
}
