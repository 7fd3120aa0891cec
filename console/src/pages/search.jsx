// An id looked for everywhere: chains, dead letters, messages, names.
import { useEffect, useRef, useState } from "preact/hooks";
import { query as queryOf, stream } from "../api.js";
import { count, plural } from "../format.js";
import { href } from "../router.js";
import { Button, Chip, Head, Section, Time } from "../ui/basics.jsx";
import { Empty, Failed } from "../ui/states.jsx";

const START = { hits: [], progress: null, state: "running", problems: [], complete: false };

const NAMED = {
  topic: ["Topic", "topics"],
  group: ["Consumer group", "groups"],
  machine: ["Machine", "machines"],
};

function describe(hit) {
  if (hit.kind === "chain") {
    const { run } = hit;
    return [
      href("chains", run.id),
      "Chain",
      run.id,
      <>
        <Chip>{run.state}</Chip> {run.type} {run.why}
      </>,
      run.changed,
    ];
  } else if (hit.kind === "letter") {
    const { letter } = hit;
    return [
      href("letters", letter.topic, letter.partition, letter.offset),
      "Dead letter",
      letter.id,
      <>
        <Chip tone="bad">{letter.reason}</Chip> {letter.message}
      </>,
      letter.failed_at,
    ];
  } else if (hit.kind === "message") {
    const { message } = hit;
    return [
      href("topics", message.topic, "messages", message.partition, message.offset),
      "Message",
      `${message.topic} ${message.partition}:${message.offset}`,
      <code class="cut">{(message.value ?? "").slice(0, 160)}</code>,
      message.at,
    ];
  }
  const [kind, area] = NAMED[hit.kind] || [hit.kind, ""];
  return [href(area, hit.name), kind, hit.name, null, null];
}

function Hits({ of }) {
  return (
    <ul class="hits">
      {of.map((hit, i) => {
        const [link, kind, name, text, at] = describe(hit);
        return (
          <li key={i}>
            <a href={link}>
              <span class="hit-kind">{kind}</span> <span class="mono">{name}</span>
            </a>
            {at ? <Time at={at} relative /> : null}
            {text ? <p>{text}</p> : null}
          </li>
        );
      })}
    </ul>
  );
}

function useSearch(text, deep) {
  const [found, set] = useState(START);
  const stop = useRef(() => {});
  useEffect(() => {
    if (!text) return undefined;
    set(START);
    stop.current = stream(`search${queryOf({ q: text, deep })}`, {
      hit: (hit) => set((old) => ({ ...old, hits: [...old.hits, hit] })),
      progress: (progress) => set((old) => ({ ...old, progress })),
      done: (progress) => set((old) => ({ ...old, progress, state: "done", complete: progress.complete })),
      problem: (problem) => set((old) => ({ ...old, problems: [...old.problems, problem] })),
      ended: () => set((old) => ({ ...old, state: "done" })),
    });
    return () => stop.current();
  }, [text, deep]);
  const halt = () => {
    stop.current();
    set((old) => ({ ...old, state: "stopped" }));
  };
  return [found, halt];
}

export function Find({ query }) {
  const text = (query.get("q") || "").trim();
  const deep = query.get("deep") === "1";
  const [found, halt] = useSearch(text, deep);
  const { progress, state } = found;
  const running = state === "running" && text !== "" && !found.problems.length;
  const title = text ? `Search: ${text}` : "Search";
  return (
    <>
      <Head title={title} />
      {text ? (
        <div class="progress-line" role="status">
          {running ? (
            <progress
              max={progress?.total || 1}
              value={progress?.scanned || 0}
              aria-label="How much has been looked at"
            />
          ) : null}
          <span>
            {plural(found.hits.length, "hit")}
            {progress ? `, ${count(progress.scanned)} of ${count(progress.total)} messages looked at` : ""}
            {running && progress?.topic ? `, now in ${progress.topic}` : ""}
          </span>
          {running ? (
            <Button kind="small" onClick={halt}>
              Stop
            </Button>
          ) : null}
        </div>
      ) : (
        <Empty title="What are you looking for?">
          The id of an event, an order, a payment, a machine: type it above.
        </Empty>
      )}
      {found.problems.map((one, i) => (
        <Failed key={i} error={{ message: one.detail, code: one.code }} />
      ))}
      {found.hits.length ? (
        <Section title="Found">
          <Hits of={found.hits} />
        </Section>
      ) : null}
      {text && !running && !found.hits.length && !found.problems.length ? (
        <Empty title="Nothing has it">{found.complete ? "Everything has been looked at." : null}</Empty>
      ) : null}
      {text && !running && !found.complete && !deep ? (
        <p class="more">
          <a class="button" href={`${href("search")}${queryOf({ q: text, deep: true })}`}>
            Look at all messages
          </a>
        </p>
      ) : null}
    </>
  );
}
