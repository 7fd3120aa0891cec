// A message by hand: a new one, or an edited copy of one that is there.
import { useEffect, useState } from "preact/hooks";
import { at, call, post } from "../api.js";
import { href } from "../router.js";
import { Button, Field } from "../ui/basics.jsx";
import { ActForm } from "../ui/dialog.jsx";
import { Failed, Note } from "../ui/states.jsx";

/** Pairs of name and value that grow. */
export function HeaderFields({ headers, set }) {
  const put = (i, fields) => set(headers.map((one, j) => (i === j ? { ...one, ...fields } : one)));
  return (
    <fieldset class="header-fields">
      <legend>Headers</legend>
      {headers.map((one, i) => (
        <div class="row" key={i}>
          <input
            aria-label={`Name of header ${i + 1}`}
            placeholder="event-type"
            value={one.name}
            spellcheck={false}
            onInput={({ target }) => put(i, { name: target.value })}
          />
          <input
            aria-label={`Value of header ${i + 1}`}
            placeholder="value"
            value={one.value ?? ""}
            spellcheck={false}
            onInput={({ target }) => put(i, { value: target.value })}
          />
          <button
            type="button"
            class="close"
            aria-label={`Remove header ${i + 1}`}
            onClick={() => set(headers.filter((_, j) => j !== i))}
          >
            ×
          </button>
        </div>
      ))}
      <Button kind="small" onClick={() => set([...headers, { name: "", value: "" }])}>
        Add a header
      </Button>
    </fieldset>
  );
}

export const namedHeaders = (headers) =>
  headers
    .filter(({ name }) => name !== "")
    .map(({ name, value, value_base64: base64 }) =>
      value === undefined ? { name, value_base64: base64 } : { name, value },
    );

/** Says when a text looks like JSON and is not. */
export function jsonWarning(text) {
  if (!/^\s*[{[]/.test(text || "")) return null;
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return `This is not JSON: ${error.message}`;
  }
}

export function PayloadFields({ event, set, rows = 8 }) {
  const put = (fields) => set({ ...event, ...fields });
  return (
    <>
      <Field label="Key" hint="Events of one key stay in order. Empty: none.">
        <input
          name="key"
          value={event.key}
          onInput={({ target }) => put({ key: target.value })}
          spellcheck={false}
          autocomplete="off"
        />
      </Field>
      <HeaderFields headers={event.headers} set={(headers) => put({ headers })} />
      <Field
        label="Value"
        hint={jsonWarning(event.value) ? null : "Text, sent as it stands"}
        error={jsonWarning(event.value)}
      >
        <textarea
          name="value"
          rows={rows}
          value={event.value}
          spellcheck={false}
          onInput={({ target }) => put({ value: target.value })}
        />
      </Field>
    </>
  );
}

const NEW = { key: "", value: "", headers: [{ name: "event-type", value: "" }] };

export function Produce({ topic, query }) {
  const [event, set] = useState(NEW);
  const [partition, choose] = useState("");
  const [tombstone, setTombstone] = useState(false);
  const [sent, setSent] = useState(null);
  const [error, fail] = useState(null);
  const copy = query.get("copy");
  useEffect(() => {
    if (!copy) return;
    const [from, offset] = copy.split(":");
    call(at`topics/${topic.name}/messages/${from}/${offset}`).then((found) => {
      const { key_base64, value_base64 } = found;
      set({
        key: found.key || "",
        value: found.value || "",
        headers: found.headers,
        key_base64,
        value_base64,
      });
      setTombstone(found.value === null);
    }, fail);
  }, [copy, topic.name]);
  const act = async () => {
    setSent(null);
    const body = { headers: namedHeaders(event.headers) };
    if (event.key !== "") body.key = event.key;
    else if (event.key_base64) body.key_base64 = event.key_base64;
    if (tombstone) body.value = null;
    else if (event.value === "" && event.value_base64) body.value_base64 = event.value_base64;
    else body.value = event.value;
    if (partition !== "") body.partition = Number(partition);
    setSent(await post(at`topics/${topic.name}/messages`, body));
  };
  return (
    <div class="narrow">
      {error ? <Failed error={error} /> : null}
      <ActForm action="Produce" needs="operator" act={act}>
        {event.key_base64 || event.value_base64 ? (
          <Note>
            What is not UTF-8 in the copied message is sent as it is, unless you write something there.
          </Note>
        ) : null}
        <PayloadFields event={event} set={set} />
        <div class="row">
          <Field label="Partition">
            <select name="partition" value={partition} onChange={({ target }) => choose(target.value)}>
              <option value="">By its key</option>
              {topic.partitions.map(({ id }) => (
                <option key={id} value={String(id)}>
                  {id}
                </option>
              ))}
            </select>
          </Field>
          <label class="check">
            <input
              type="checkbox"
              checked={tombstone}
              onChange={({ target }) => setTombstone(target.checked)}
            />
            No value: a tombstone
          </label>
        </div>
      </ActForm>
      {sent ? (
        <div role="status">
          <Note tone="good">
            Written to partition {sent.partition} at offset{" "}
            <a href={href("topics", sent.topic, "messages", sent.partition, sent.offset)}>{sent.offset}</a>.
          </Note>
        </div>
      ) : null}
    </div>
  );
}
