// Settings of a topic or broker: what was set first.
import { useState } from "preact/hooks";
import { Chip } from "../ui/basics.jsx";
import { Empty } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";

const columns = [
  { id: "name", label: "Setting", kind: "mono first wrap", sort: (one) => one.name, cell: (one) => one.name },
  {
    id: "value",
    label: "Value",
    kind: "mono grow",
    sort: (one) => one.value,
    cell: (one) =>
      one.sensitive ? <span class="dim">not shown</span> : (one.value ?? <span class="dim">–</span>),
  },
  {
    id: "source",
    label: "Set by",
    sort: (one) => one.source,
    cell: (one) => <Chip tone={one.default ? "" : "info"}>{one.source}</Chip>,
  },
];

export function Configuration({ of, label }) {
  const [part, look] = useState("");
  if (!of) return <Empty title="Not known">The cluster does not tell its configuration.</Empty>;
  const rows = of
    .filter((one) => one.name.includes(part.trim().toLowerCase()))
    .sort((a, b) => Number(a.default) - Number(b.default) || a.name.localeCompare(b.name));
  return (
    <>
      <div class="bar">
        <input
          type="search"
          aria-label="Filter the settings by name"
          placeholder="Filter by name"
          value={part}
          onInput={(event) => look(event.target.value)}
        />
      </div>
      <Table
        label={label}
        columns={columns}
        rows={rows}
        id={(one) => one.name}
        empty={part ? `No setting has "${part}" in its name` : "No settings"}
      />
    </>
  );
}
