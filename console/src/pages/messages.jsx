// The messages of a topic: found by filters, in pages or live.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { at, query as queryOf, stream } from "../api.js";
import { count, duration, rate } from "../format.js";
import { go, href } from "../router.js";
import { Button, Field } from "../ui/basics.jsx";
import { Empty, Failed } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { Filters, parametersOf, rowsOf } from "./filters.jsx";
import { columns, MessageDetail, placeOf } from "./message.jsx";

const LIVE_ROWS = 500;
const LIMIT = 50;
const START = { messages: [], progress: null, state: "idle", error: null, cursor: null };
const PLACES = ["from", "offset", "until", "partition"];

/** A search or a tail: its finds, how far it is, and how to stop it. */
function useFinds(topic) {
  const [finds, set] = useState(START);
  const stop = useRef(() => {});
  useEffect(() => () => stop.current(), []);
  const halt = () => {
    stop.current();
    set((old) => (old.state === "running" ? { ...old, state: "stopped" } : old));
  };
  const begin = (parameters, { tail = false, more = null } = {}) => {
    stop.current();
    let waiting = [];
    let frame = 0;
    const flush = () => {
      frame = 0;
      const arrived = waiting;
      waiting = [];
      set((old) => ({
        ...old,
        messages: tail
          ? [...arrived.reverse(), ...old.messages].slice(0, LIVE_ROWS)
          : [...old.messages, ...arrived],
      }));
    };
    const last = (fields) => {
      if (frame) cancelAnimationFrame(frame);
      flush();
      set((old) => ({ ...old, ...fields }));
    };
    set((old) => ({ ...START, messages: more ? old.messages : [], state: "running", tail }));
    const fields = { ...parameters, ...(tail ? { tail: 1 } : { limit: LIMIT, cursor: more }) };
    const close = stream(at`topics/${topic}/messages` + queryOf(fields), {
      message(message) {
        waiting.push(message);
        frame = frame || requestAnimationFrame(flush);
      },
      progress: (progress) => set((old) => ({ ...old, progress })),
      done: (progress) => last({ progress, state: "done", cursor: progress.cursor }),
      problem: ({ detail, code }) => last({ state: "failed", error: { message: detail, code } }),
      ended: () => last({ state: "stopped" }),
    });
    stop.current = () => {
      close();
      if (frame) cancelAnimationFrame(frame);
      frame = 0;
    };
  };
  return { finds, begin, halt };
}

function Progress({ finds, halt }) {
  const { progress, state, tail } = finds;
  if (state === "idle" || state === "failed") return null;
  const { scanned = 0, total, found = 0, elapsed_ms: ms, skipped } = progress || {};
  const running = state === "running";
  const text = tail
    ? `${count(finds.messages.length)} shown`
    : `${count(scanned)} of ${count(total)} looked at, ${count(
        Math.max(found, finds.messages.length),
      )} found`;
  return (
    <div class="progress-line" role="status">
      {running && !tail ? (
        <progress max={total || 1} value={scanned} aria-label="How much has been looked at" />
      ) : null}
      {running && tail ? <span class="dot good pulse" aria-hidden="true" /> : null}
      <span>
        {running && tail ? (progress ? "Waiting for new messages, " : "Asking where the topic ends, ") : ""}
        {state === "stopped" ? "Stopped: " : ""}
        {text}
        {running && progress?.rate ? `, ${rate(progress.rate)}` : ""}
        {state === "done" && ms ? `, in ${duration(ms)}` : ""}
        {skipped ? `; ${count(skipped)} came too fast and were left out` : ""}
      </span>
      {running ? (
        <Button kind="small" onClick={halt}>
          Stop
        </Button>
      ) : null}
    </div>
  );
}

const FROM = [
  ["newest", "Newest first"],
  ["oldest", "Oldest first"],
  ["time", "From a time"],
  ["offset", "From an offset"],
];

function whereOf(query) {
  const from = query.get("from") || "newest";
  const timed = !["newest", "oldest"].includes(from);
  return {
    mode: query.get("offset") ? "offset" : timed ? "time" : from,
    time: timed ? from : "",
    offset: query.get("offset") || "",
    until: query.get("until") || "",
    partition: query.get("partition") || "",
  };
}

function Where({ where, set, partitions }) {
  const put = (fields) => set({ ...where, ...fields });
  return (
    <div class="where">
      <Field label="Order">
        <select name="from" value={where.mode} onChange={({ target }) => put({ mode: target.value })}>
          {FROM.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </Field>
      {where.mode === "time" ? (
        <Field label="Time">
          <input
            name="time"
            placeholder="2h, or 2026-11-21T20:00:00Z"
            value={where.time}
            required
            spellcheck={false}
            onInput={({ target }) => put({ time: target.value })}
          />
        </Field>
      ) : null}
      {where.mode === "offset" ? (
        <Field label="Offset">
          <input
            name="offset"
            inputMode="numeric"
            pattern="[0-9]+"
            value={where.offset}
            required
            onInput={({ target }) => put({ offset: target.value })}
          />
        </Field>
      ) : null}
      <Field label="Partition">
        <select
          name="partition"
          value={where.partition}
          onChange={({ target }) => put({ partition: target.value })}
        >
          {where.mode === "offset" ? null : <option value="">All</option>}
          {partitions.map(({ id }) => (
            <option key={id} value={String(id)}>
              {id}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Until">
        <input
          name="until"
          placeholder="a time, or 30min"
          value={where.until}
          spellcheck={false}
          onInput={({ target }) => put({ until: target.value })}
        />
      </Field>
    </div>
  );
}

/** The query of the address, from what the form says. */
function queryFrom(where, rows, partitions) {
  const filters = parametersOf(rows);
  return queryOf({
    from: where.mode === "time" ? where.time : where.mode === "oldest" ? "oldest" : null,
    offset: where.mode === "offset" ? where.offset : null,
    partition: where.partition || (where.mode === "offset" ? String(partitions[0].id) : null),
    until: where.until,
    ...filters,
  });
}

/** Parameters of the API, from the query of the address. */
function apiFields(query) {
  const fields = Object.fromEntries(PLACES.map((name) => [name, query.get(name)]));
  for (const name of ["header", "json", "key", "key~", "text"]) fields[name] = query.getAll(name);
  return fields;
}

function Found({ topic, finds, more }) {
  const [open, turn] = useState(null);
  const all = columns(open, (id) => turn(open === id ? null : id));
  const nothing =
    finds.state === "running" ? (
      <p class="quiet">Nothing yet.</p>
    ) : (
      <Empty title={topic.messages ? "Nothing fits" : "The topic is empty"}>
        {topic.messages ? (
          "Look at more partitions, another time or with fewer filters."
        ) : (
          <a href={href("topics", topic.name, "produce")}>Produce a message</a>
        )}
      </Empty>
    );
  if (finds.state === "idle") return null;
  return (
    <>
      <Table
        label={`Messages of ${topic.name}`}
        columns={all}
        rows={finds.messages}
        id={placeOf}
        open={open}
        detail={(message) => <MessageDetail message={message} />}
        empty={finds.state === "failed" ? <span /> : nothing}
      />
      {finds.cursor && finds.state === "done" ? (
        <p class="more">
          <Button onClick={more}>Show more</Button>
        </p>
      ) : null}
    </>
  );
}

export function Messages({ topic, query }) {
  const [where, setWhere] = useState(() => whereOf(query));
  const [rows, setRows] = useState(() => rowsOf(query));
  const { finds, begin, halt } = useFinds(topic.name);
  const search = query.toString();
  const seen = useMemo(() => {
    const names = finds.messages.slice(0, LIMIT).flatMap((one) => one.headers.map(({ name }) => name));
    return [...new Set(names)].sort();
  }, [finds.messages]);
  useEffect(() => {
    setWhere(whereOf(query));
    setRows(rowsOf(query));
    begin(apiFields(query));
  }, [search]);
  const submit = (event) => {
    event.preventDefault();
    const wanted = queryFrom(where, rows, topic.partitions);
    const given = search ? `?${search}` : "";
    if (wanted === given) begin(apiFields(query));
    else go(href("topics", topic.name) + wanted, { replace: false });
  };
  const tail = () => {
    const filters = parametersOf(rows);
    begin({ partition: where.partition, ...filters }, { tail: true });
  };
  return (
    <>
      <form class="finder" onSubmit={submit} aria-label="Which messages">
        <Where where={where} set={setWhere} partitions={topic.partitions} />
        <Filters rows={rows} set={setRows} seen={seen} />
        <div class="finder-foot">
          <Button type="submit" kind="primary">
            Search
          </Button>
          {finds.tail && finds.state === "running" ? (
            <Button onClick={halt}>Stop the live tail</Button>
          ) : (
            <Button onClick={tail}>Live tail</Button>
          )}
        </div>
      </form>
      <Progress finds={finds} halt={halt} />
      {finds.error ? <Failed error={finds.error} /> : null}
      <Found topic={topic} finds={finds} more={() => begin(apiFields(query), { more: finds.cursor })} />
    </>
  );
}
