// Filters of messages: rows of the form, and the parameters of the API that they stand for.
import { Button } from "../ui/basics.jsx";

const EXISTS = "is there";
const OPERATORS = {
  header: [
    ["=", "is"],
    ["~", "contains"],
    ["", EXISTS],
  ],
  key: [
    ["", "is"],
    ["~", "contains"],
  ],
  json: [
    ["=", "is"],
    ["!=", "is not"],
    ["~", "contains"],
    [">", "is above"],
    ["<", "is below"],
    ["", EXISTS],
  ],
  text: [["", "contains"]],
};
const KINDS = [
  ["header", "Header"],
  ["key", "Key"],
  ["json", "JSON path"],
  ["text", "Any text"],
];
const NAMED = { header: "event-type", json: "data.items[0].sku" };
const OPERATOR = { header: /^(.*?)([=~])(.*)$/s, json: /^(.*?)(!=|[=~><])(.*)$/s };

// Those without a name: parameter, kind, operator.
const PLAIN = [
  ["key", "key", ""],
  ["key~", "key", "~"],
  ["text", "text", ""],
];

const SEEN = "headers-seen"; // the id of the names that the shown messages have
const TYPES = ["event-type", "ce_type", "type"];

const newRow = (seen) => ({
  kind: "header",
  name: TYPES.find((name) => seen.includes(name)) || TYPES[0],
  operator: "=",
  value: "",
});

function parse(kind, text) {
  const [, name, operator, value] = text.match(OPERATOR[kind]) || [null, text, "", ""];
  return { kind, name, operator, value };
}

/** The rows that a query of the address stands for. */
export function rowsOf(query) {
  const rows = ["header", "json"].flatMap((kind) => query.getAll(kind).map((text) => parse(kind, text)));
  for (const [name, kind, operator] of PLAIN) {
    rows.push(...query.getAll(name).map((value) => ({ kind, operator, value })));
  }
  return rows;
}

const complete = (row) =>
  row.kind in NAMED ? row.name.trim() !== "" && (row.operator === "" || row.value !== "") : row.value !== "";

/** Rows as parameters of the API; those that say nothing yet are left out. */
export function parametersOf(rows) {
  const out = {};
  const add = (name, value) => (out[name] = [...(out[name] || []), value]);
  for (const row of rows.filter(complete)) {
    if (row.kind in NAMED) add(row.kind, row.name.trim() + row.operator + (row.operator ? row.value : ""));
    else add(row.kind + row.operator, row.value);
  }
  return out;
}

function Row({ row, number, change, remove }) {
  const set = (fields) => change({ ...row, ...fields });
  const operators = OPERATORS[row.kind];
  const operator = operators.some(([sign]) => sign === row.operator) ? row.operator : operators[0][0];
  const valued = !(row.kind in NAMED) || operator !== "";
  const label = `Filter ${number + 1}`;
  return (
    <div class="filter" role="group" aria-label={label}>
      <select
        aria-label={`${label}: what`}
        value={row.kind}
        onChange={({ target }) =>
          set({ kind: target.value, operator: OPERATORS[target.value][0][0], name: "" })
        }
      >
        {KINDS.map(([kind, text]) => (
          <option key={kind} value={kind}>
            {text}
          </option>
        ))}
      </select>
      {row.kind in NAMED ? (
        <input
          aria-label={`${label}: name`}
          class="filter-name"
          placeholder={NAMED[row.kind]}
          list={row.kind === "header" ? SEEN : undefined}
          value={row.name}
          onInput={({ target }) => set({ name: target.value })}
          spellcheck={false}
          autocapitalize="off"
        />
      ) : null}
      {operators.length > 1 ? (
        <select
          aria-label={`${label}: how`}
          value={operator}
          onChange={({ target }) => set({ operator: target.value })}
        >
          {operators.map(([sign, text]) => (
            <option key={sign} value={sign}>
              {text}
            </option>
          ))}
        </select>
      ) : null}
      {valued ? (
        <input
          aria-label={`${label}: value`}
          class="filter-value"
          placeholder="value"
          value={row.value}
          onInput={({ target }) => set({ value: target.value })}
          spellcheck={false}
          autocapitalize="off"
        />
      ) : null}
      <button type="button" class="close" aria-label={`Remove filter ${number + 1}`} onClick={remove}>
        ×
      </button>
    </div>
  );
}

/** `seen`: names of headers to choose from. */
export function Filters({ rows, set, seen }) {
  return (
    <div class="filters">
      <datalist id={SEEN}>
        {seen.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      {rows.map((row, i) => (
        <Row
          key={i}
          row={row}
          number={i}
          change={(changed) => set(rows.map((one, j) => (j === i ? changed : one)))}
          remove={() => set(rows.filter((_, j) => j !== i))}
        />
      ))}
      <Button kind="small" onClick={() => set([...rows, newRow(seen)])}>
        Add a filter
      </Button>
    </div>
  );
}
