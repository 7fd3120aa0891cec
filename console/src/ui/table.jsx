// Tables: sorted by a click on a head, moved sideways inside their frame where they do not fit.
import { useMemo, useState } from "preact/hooks";
import { Empty } from "./states.jsx";

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
  return a < b ? -1 : 1;
}

function sorted(rows, columns, order) {
  const column = order && columns.find((one) => one.id === order.id);
  if (!column) return rows;
  const by = (row) => column.sort(row);
  return [...rows].sort((a, b) => compare(by(a), by(b)) * (order.down ? -1 : 1));
}

function HeadCell({ column, order, turn }) {
  const mine = order?.id === column.id;
  const direction = mine ? (order.down ? "descending" : "ascending") : undefined;
  return (
    <th scope="col" class={column.kind} aria-sort={direction}>
      {column.sort ? (
        <button type="button" class="sort" onClick={() => turn(column)}>
          {column.label}
          <span aria-hidden="true">{mine ? (order.down ? " ↓" : " ↑") : ""}</span>
        </button>
      ) : (
        column.label
      )}
    </th>
  );
}

/**
 * columns: { id, label, cell(row), sort?(row), kind? } where kind is "number", "mono" or "grow". `open` is the id
 * of the row below which `detail(row)` is shown.
 */
export function Table({ label, columns, rows, id, empty = "Nothing here", order: first, open, detail }) {
  const [order, set] = useState(first);
  const shown = useMemo(() => sorted(rows, columns, order), [rows, columns, order]);
  if (!rows.length) return typeof empty === "string" ? <Empty title={empty} /> : empty;
  const turn = (column) =>
    set((old) => ({ id: column.id, down: old?.id === column.id ? !old.down : column.kind === "number" }));
  return (
    <div class="table-frame" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((one) => (
              <HeadCell key={one.id} column={one} order={order} turn={turn} />
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => [
            <tr key={id(row)} class={open === id(row) ? "open" : undefined}>
              {columns.map((one) => (
                <td key={one.id} class={one.kind}>
                  {one.cell(row)}
                </td>
              ))}
            </tr>,
            open === id(row) ? (
              <tr key={`${id(row)} detail`} class="detail">
                <td colSpan={columns.length}>{detail(row)}</td>
              </tr>
            ) : null,
          ])}
        </tbody>
      </table>
    </div>
  );
}
