// Who changed what: newest first.
import { useState } from "preact/hooks";
import { query as queryOf } from "../api.js";
import { useLoad } from "../load.js";
import { go, href } from "../router.js";
import { Button, Chip, Head, Time } from "../ui/basics.jsx";
import { Empty, Loaded } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";

const columns = [
  { id: "at", label: "Time", kind: "first", cell: (one) => <Time at={one.at} /> },
  {
    id: "who",
    label: "Who",
    kind: "keep",
    cell: (one) => (
      <>
        {one.who} <Chip>{one.role}</Chip>
      </>
    ),
  },
  { id: "via", label: "By", kind: "keep", cell: (one) => one.via },
  { id: "what", label: "What", cell: (one) => <code>{one.what}</code> },
  {
    id: "fields",
    label: "Details",
    kind: "mono grow",
    cell: (one) =>
      Object.entries(one.fields || {}).map(([name, value]) => (
        <span class="pair" key={name}>
          <span class="dim">{name} </span>
          {typeof value === "string" ? value : JSON.stringify(value)}
        </span>
      )),
  },
];

export function Audit({ query }) {
  const before = query.get("before");
  const [max] = useState(100);
  const page = useLoad(`audit${queryOf({ before, max })}`);
  return (
    <>
      <Head title="Audit" />
      <Loaded of={page}>
        {({ rows, more }) => (
          <>
            <Table
              label="Changes"
              columns={columns}
              rows={rows}
              id={(one) => one.id}
              empty={<Empty title="Nothing has been changed yet" />}
            />
            <p class="more">
              {before ? <Button onClick={() => go(href("audit"))}>Newest</Button> : null}
              {more ? (
                <Button onClick={() => go(href("audit") + queryOf({ before: rows.at(-1).id }))}>Older</Button>
              ) : null}
            </p>
          </>
        )}
      </Loaded>
    </>
  );
}
