// One dead letter: why it died, what it was, and how it comes back.
import { useState } from "preact/hooks";
import { at, post } from "../api.js";
import { count } from "../format.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Button, Chip, Copy, Facts, Field, Head, Section, Time } from "../ui/basics.jsx";
import { Dialog, RehearsedForm, useRehearsal } from "../ui/dialog.jsx";
import { Headers, Payload } from "../ui/payload.jsx";
import { Loaded, Note } from "../ui/states.jsx";
import { toast } from "../ui/toast.jsx";
import { namedHeaders, PayloadFields } from "./produce.jsx";

const pathOf = (letter) => at`letters/${letter.topic}/${letter.partition}/${letter.offset}/replay`;

function Outcome({ of }) {
  const where = of.report && (
    <a href={href("topics", of.report.topic, "messages", of.report.partition, of.report.offset)}>
      {of.report.topic} {of.report.partition}:{of.report.offset}
    </a>
  );
  const good = of.outcome === "replayed";
  return (
    <div role="status">
      <Note tone={good ? "good" : "warn"}>
        {of.dry_run ? "It would be " : "It is "}
        <b>{of.outcome}</b>
        {where ? <> as {where}</> : null}
        {of.why ? `: ${of.why}` : "."}
      </Note>
      {of.dry_run && of.record ? (
        <>
          <Facts
            of={[
              ["To", of.record.topic],
              ["Key", of.record.key ?? "none"],
            ]}
          />
          <Headers of={of.record.headers} />
          <Payload
            text={of.record.value}
            base64={of.record.value_base64}
            tombstone={of.record.value === null}
          />
        </>
      ) : null}
    </div>
  );
}

function ReplayForm({ title, action, letter, body, close, done, children }) {
  const replay = useRehearsal(async (dryRun) => {
    const outcome = await post(pathOf(letter), { ...body(), ...(dryRun ? { dry_run: true } : {}) });
    if (!dryRun) {
      toast(`The letter is ${outcome.outcome}.`, outcome.outcome === "replayed" ? "good" : "warn");
      done();
    }
    return outcome;
  });
  return (
    <Dialog title={title} close={close} wide>
      <RehearsedForm
        of={replay}
        show={(outcome) => <Outcome of={outcome} />}
        action={action}
        needs="operator"
        close={close}
      >
        {children}
      </RehearsedForm>
    </Dialog>
  );
}

function Again({ letter, again, set }) {
  if (!letter.was_replayed) return null;
  return (
    <label class="check">
      <input type="checkbox" checked={again} onChange={({ target }) => set(target.checked)} />
      Again: it was replayed before
    </label>
  );
}

function Replay({ letter, close, done }) {
  const [again, set] = useState(false);
  return (
    <ReplayForm
      title="Replay the letter"
      action="Replay"
      letter={letter}
      close={close}
      done={done}
      body={() => (again ? { again } : {})}
    >
      <p>
        The event goes back to <code>{letter.original?.topic || "its topic"}</code>, as it was
        {letter.group ? (
          <>
            , for <code>{letter.group}</code>
          </>
        ) : null}
        .
      </p>
      <Again letter={letter} again={again} set={set} />
    </ReplayForm>
  );
}

function EditCopy({ letter, close, done }) {
  const binary = letter.value === undefined;
  const before = {
    topic: letter.original?.topic || "",
    key: letter.key ?? "",
    value: letter.value ?? "",
    headers: letter.original_headers || [],
  };
  const [event, set] = useState(before);
  const [again, setAgain] = useState(false);
  const body = () => {
    const edit = {};
    for (const name of ["topic", "key", "value"]) {
      if (event[name] !== before[name]) edit[name] = event[name];
    }
    if (JSON.stringify(event.headers) !== JSON.stringify(before.headers))
      edit.headers = namedHeaders(event.headers);
    return { edit, ...(again ? { again } : {}) };
  };
  return (
    <ReplayForm
      title="Edit a copy"
      action="Send the copy"
      letter={letter}
      close={close}
      done={done}
      body={body}
    >
      <p>The letter itself stays as it is, and counts as replayed.</p>
      {binary ? (
        <Note>The value is not UTF-8: it is sent as it is, unless you write another one.</Note>
      ) : null}
      <Field label="Topic">
        <input
          name="topic"
          value={event.topic}
          spellcheck={false}
          onInput={({ target }) => set({ ...event, topic: target.value })}
        />
      </Field>
      <PayloadFields event={event} set={set} rows={10} />
      <Again letter={letter} again={again} set={setAgain} />
    </ReplayForm>
  );
}

function Detail({ letter }) {
  const { original } = letter;
  return (
    <>
      <Note tone="bad" title={letter.reason}>
        {letter.message ? <p class="pre">{letter.message}</p> : null}
      </Note>
      <Facts
        of={[
          ["Type", letter.type],
          ["Kind", letter.kind],
          ["Attempts", count(letter.attempts)],
          ["Flow", letter.group],
          ["Failed", <Time at={letter.failed_at} />],
          ["First", letter.first_failed_at ? <Time at={letter.first_failed_at} /> : null],
          ["Key", letter.key === null || letter.key === undefined ? null : <code>{letter.key}</code>],
          [
            "Event",
            letter.event_id && (
              <a href={`${href("search")}?q=${encodeURIComponent(letter.event_id)}`}>
                <code>{letter.event_id}</code>
              </a>
            ),
          ],
          [
            "Came from",
            original && (
              <a href={href("topics", original.topic, "messages", original.partition, original.offset)}>
                {original.topic} {original.partition}:{original.offset}
              </a>
            ),
          ],
          [
            "Chains",
            letter.runs?.length
              ? letter.runs.map((run) => (
                  <a key={run.id} href={href("chains", run.id)}>
                    {run.id} <Chip>{run.state}</Chip>
                  </a>
                ))
              : null,
          ],
        ]}
      />
      {letter.body_error ? (
        <Note tone="warn" title="Its body">
          {letter.body_error}
        </Note>
      ) : null}
      <Section title="The event">
        <Payload
          text={letter.value}
          base64={letter.value_base64}
          size={letter.value_bytes}
          tombstone={letter.value === null}
        />
        <h3>Headers</h3>
        <Headers of={letter.original_headers} />
      </Section>
      {letter.stacktrace ? (
        <Section title="Trace" actions={<Copy text={letter.stacktrace} />}>
          <pre class="trace" tabIndex={0} role="region" aria-label="Trace">
            {letter.stacktrace}
          </pre>
        </Section>
      ) : null}
      <details>
        <summary>All headers of the letter</summary>
        <Headers of={letter.headers} />
      </details>
    </>
  );
}

export function Letter({ topic, partition, offset }) {
  const page = useLoad(at`letters/${topic}/${partition}/${offset}`);
  const [form, show] = useState(null);
  const letter = page.data;
  const close = () => show(null);
  return (
    <>
      <Head
        title={letter?.type || `Letter ${partition}:${offset}`}
        crumbs={[
          ["Dead letters", href("letters")],
          [topic, href("letters", topic)],
        ]}
        mark={letter?.was_replayed ? <Chip tone="good">replayed</Chip> : null}
        actions={
          <>
            <Button needs="operator" disabled={!letter} onClick={() => show("edit")}>
              Edit a copy
            </Button>
            <Button needs="operator" kind="primary" disabled={!letter} onClick={() => show("replay")}>
              Replay
            </Button>
          </>
        }
      />
      <Loaded of={page} lines={8}>
        {() => <Detail letter={letter} />}
      </Loaded>
      {form === "replay" ? <Replay letter={letter} close={close} done={page.reload} /> : null}
      {form === "edit" ? <EditCopy letter={letter} close={close} done={page.reload} /> : null}
    </>
  );
}
