// One message: as a row, below its row, and as a page.
import { at } from "../api.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Facts, Head, Time } from "../ui/basics.jsx";
import { Headers, Payload } from "../ui/payload.jsx";
import { Loaded, Note } from "../ui/states.jsx";

const TYPES = ["event-type", "ce_type", "type", "eventType"];
const IDS = ["event-id", "ce_id", "id", "eventId"];
const PREVIEW = 160;

export const placeOf = (message) => `${message.partition}:${message.offset}`;

const headerOf = (message, names) =>
  message.headers.find(({ name, value }) => names.includes(name) && value)?.value;

function preview(message) {
  if (message.value === null) return <span class="dim">tombstone</span>;
  if (message.value === undefined) return <span class="dim">{message.value_bytes} bytes</span>;
  return message.value.slice(0, PREVIEW);
}

export const columns = (open, turn) => [
  {
    id: "at",
    label: "Time",
    kind: "first",
    cell: (one) => (
      <button
        type="button"
        class="expand"
        aria-expanded={open === placeOf(one)}
        aria-label={`Message ${one.partition}:${one.offset}`}
        onClick={() => turn(placeOf(one))}
      >
        <span class="arrow" aria-hidden="true" />
        <Time at={one.at} precise />
      </button>
    ),
  },
  {
    id: "place",
    label: "Offset",
    kind: "number",
    cell: (one) => (
      <>
        <span class="dim">{one.partition}:</span>
        {one.offset}
      </>
    ),
  },
  {
    id: "key",
    label: "Key",
    kind: "mono cut key",
    cell: (one) => one.key ?? one.key_base64 ?? <span class="dim">–</span>,
  },
  {
    id: "type",
    label: "Type",
    kind: "cut",
    cell: (one) => headerOf(one, TYPES) || <span class="dim">–</span>,
  },
  { id: "value", label: "Value", kind: "mono cut grow", cell: preview },
];

function Copied({ message, alone }) {
  const id = headerOf(message, IDS);
  return (
    <div class="actions">
      {alone ? null : (
        <a
          class="button small"
          href={href("topics", message.topic, "messages", message.partition, message.offset)}
        >
          Open
        </a>
      )}
      <a
        class="button small"
        href={`${href("topics", message.topic, "produce")}?copy=${message.partition}:${message.offset}`}
      >
        Produce a copy
      </a>
      {id ? (
        <a class="button small" href={`${href("search")}?q=${encodeURIComponent(id)}`}>
          Search its id
        </a>
      ) : null}
    </div>
  );
}

export function MessageDetail({ message, alone }) {
  return (
    <div class="message-detail">
      <Facts
        of={[
          ["Partition", message.partition],
          ["Offset", message.offset],
          [
            "Time",
            <>
              <Time at={message.at} precise /> <span class="dim">{message.timestamp_type}</span>
            </>,
          ],
          ["Key", <code>{message.key ?? message.key_base64 ?? "none"}</code>],
        ]}
      />
      {message.masked ? <Note>Personal data is masked for your role.</Note> : null}
      <h2 class="minor">Headers</h2>
      <Headers of={message.headers} />
      <h2 class="minor">Value</h2>
      <Payload
        text={message.value}
        base64={message.value_base64}
        size={message.value_bytes}
        cut={message.value_cut}
        tombstone={message.value === null}
      />
      <Copied message={message} alone={alone} />
    </div>
  );
}

export function Message({ name, partition, offset }) {
  const page = useLoad(at`topics/${name}/messages/${partition}/${offset}`);
  const beside = (step) => href("topics", name, "messages", partition, Number(offset) + step);
  return (
    <>
      <Head
        title={`Message ${partition}:${offset}`}
        crumbs={[
          ["Topics", href("topics")],
          [name, href("topics", name)],
        ]}
        actions={
          <>
            {Number(offset) > 0 ? (
              <a class="button" href={beside(-1)}>
                Previous
              </a>
            ) : null}
            <a class="button" href={beside(1)}>
              Next
            </a>
          </>
        }
      />
      <Loaded of={page}>{(message) => <MessageDetail message={message} alone />}</Loaded>
    </>
  );
}
