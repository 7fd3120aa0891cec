// Machines: their state, what is in them, and the last bytes of their lines.
import { at } from "../api.js";
import { bytes, count } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Chip, Facts, Head, Section, Time } from "../ui/basics.jsx";
import { Empty, Loaded, Note } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";

const EVERY_MS = 3000;
const able = (capabilities) =>
  Object.entries(capabilities || {})
    .filter(([, has]) => has)
    .map(([name]) => name);

function State({ of }) {
  return of.online ? (
    <Chip tone={of.state === "ready" ? "good" : "info"}>{of.state}</Chip>
  ) : (
    <Chip tone="bad">offline</Chip>
  );
}

function Slots({ of, counters }) {
  if (!of?.length) return <p class="quiet">The stock of its slots is not known.</p>;
  const counted = new Map((counters?.slots || []).map(({ slot, count: number }) => [String(slot), number]));
  return (
    <ul class="slots" aria-label="Slots">
      {of.map(({ slot, stock }) => (
        <li key={slot} class={stock === 0 ? "none" : ""}>
          <span class="slot-name">{slot}</span>
          <span class="slot-stock">{count(stock)}</span>
          <span class="dim">{stock === 0 ? "empty" : "left"}</span>
          {counted.has(String(slot)) ? (
            <span class="dim">{count(counted.get(String(slot)))} sold</span>
          ) : null}
        </li>
      ))}
    </ul>
  );
}

function Line({ of }) {
  if (!of) return null;
  return (
    <Facts
      of={[
        ["Port", <code>{of.port}</code>],
        ["Line", <Chip tone={of.up ? "good" : "bad"}>{of.up ? "up" : "down"}</Chip>],
        ["Read", bytes(of.bytes_in)],
        ["Written", bytes(of.bytes_out)],
        ["Opened", of.opened > 1 ? `${count(of.opened)} times` : null],
        ["Lost", of.lost ? `${count(of.lost)} times` : null],
        ["Says", of.message],
      ]}
    />
  );
}

export function Machines() {
  const page = useLoad("machines");
  const live = useLive("machines");
  const shown = { ...page, data: live || page.data };
  return (
    <>
      <Head title="Machines" />
      <Loaded of={shown}>
        {({ machines }) =>
          machines.length ? (
            <div class="cards">
              {machines.map((one) => (
                <section class="card" key={one.id} aria-label={`Machine ${one.id}`}>
                  <div class="card-head">
                    <h2>
                      <a href={href("machines", one.id)}>{one.id}</a>
                    </h2>
                    <State of={one} />
                    <span class="dim">{one.driver}</span>
                  </div>
                  {one.reason ? <Note tone={one.online ? "warn" : "bad"}>{one.reason}</Note> : null}
                  <Slots of={one.slots} />
                  <Line of={one.line} />
                </section>
              ))}
            </div>
          ) : (
            <Empty title="No machine is attached">A script attaches them with sipeat.vending.</Empty>
          )
        }
      </Loaded>
    </>
  );
}

const orderColumns = [
  { id: "at", label: "Time", kind: "first", cell: (one) => <Time at={one.at} /> },
  { id: "slot", label: "Slot", kind: "number", cell: (one) => one.slot },
  { id: "state", label: "State", cell: (one) => <Chip>{one.state}</Chip> },
  { id: "approval", label: "Approval", kind: "mono grow", cell: (one) => one.approval },
];

function Traffic({ of }) {
  if (!of?.length) return <Empty title="No bytes yet" />;
  return (
    <div class="table-frame traffic" role="region" aria-label="Last bytes" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Way</th>
            <th scope="col">Bytes</th>
            <th scope="col">Text</th>
          </tr>
        </thead>
        <tbody>
          {of.map((one, i) => (
            <tr key={i}>
              <td>
                <Time at={one.at} precise />
              </td>
              <td>
                <Chip tone={one.direction === "in" ? "good" : "info"}>
                  {one.direction === "in" ? "from it" : "to it"}
                </Chip>
              </td>
              <td class="mono">{one.hex}</td>
              <td class="mono grow">{one.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Machine({ id }) {
  const page = useLoad(at`machines/${id}`, EVERY_MS);
  return (
    <>
      <Head
        title={id}
        crumbs={[["Machines", href("machines")]]}
        mark={page.data ? <State of={page.data} /> : null}
      />
      <Loaded of={page} lines={8}>
        {(data) => (
          <>
            {data.reason ? <Note tone={data.online ? "warn" : "bad"}>{data.reason}</Note> : null}
            <Facts
              of={[
                ["Driver", data.driver],
                ["Proof of a vend", data.proof],
                ["It can", able(data.capabilities).join(", ")],
                ["Vends counted", data.counters ? count(data.counters.total) : null],
              ]}
            />
            <Section title="Slots">
              <Slots of={data.slots} counters={data.counters} />
            </Section>
            {data.line ? (
              <Section title="Line">
                <Line of={data.line} />
              </Section>
            ) : null}
            <Section title="Last orders">
              <Table
                label="Last orders"
                columns={orderColumns}
                rows={data.orders || []}
                id={(one) => one.approval}
                empty="No orders yet"
              />
            </Section>
            <Section title="Last bytes">
              <Traffic of={data.traffic} />
            </Section>
          </>
        )}
      </Loaded>
    </>
  );
}
