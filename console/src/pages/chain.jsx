// One chain: what happened, and what a person says is to become of it.
import { useState } from "preact/hooks";
import { at, post } from "../api.js";
import { count, duration } from "../format.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Button, Chip, Facts, Field, Head, Section, Time } from "../ui/basics.jsx";
import { ActForm, Dialog } from "../ui/dialog.jsx";
import { layOut } from "../ui/payload.jsx";
import { Empty, Loaded, Note } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { toast } from "../ui/toast.jsx";

const EVERY_MS = 3000;
const VERBS = {
  retry: [
    "Retry",
    "It goes on from where it stands. A step in doubt asks the world first; nothing is repeated blindly.",
  ],
  skip: ["Settle a step", "You have looked: the step has happened, or it has not and may run again."],
  undo: ["Undo", "What is done is undone, in reverse. The chain ends in the dead letters."],
  complete: ["Complete", "It counts as done. Nothing more of it runs."],
  abandon: ["Abandon", "It is given up. Nothing more of it runs, and nothing is undone."],
};
const SETTLED = "It has happened";
const NOT_DONE = "It has not happened: it runs again";

const asText = (value) => (value === null || value === undefined ? "" : JSON.stringify(value));

function Value({ of, label }) {
  const text = asText(of);
  if (!text || text === "{}" || text === "[]") return null;
  const short = text.length < 80;
  return short ? (
    <code class="value">
      <span class="dim">{label} </span>
      {text}
    </code>
  ) : (
    <details class="value">
      <summary>{label}</summary>
      <pre tabIndex={0} role="region" aria-label={label}>
        {(layOut(text) || [[text]]).map(([token]) => token)}
      </pre>
    </details>
  );
}

const stepColumns = [
  { id: "step", label: "Step", kind: "first", cell: (one) => <span title={one.path}>{one.step}</span> },
  { id: "status", label: "Status", cell: (one) => <Chip>{one.status}</Chip> },
  { id: "attempts", label: "Attempts", kind: "number", cell: (one) => count(one.attempts) },
  { id: "result", label: "Result", kind: "mono cut", cell: (one) => asText(one.result) },
  { id: "key", label: "Idempotency key", kind: "mono cut", cell: (one) => one.key || "" },
  { id: "message", label: "Message", kind: "cut grow", cell: (one) => one.message || "" },
];

function Timeline({ of }) {
  if (!of.length) return <Empty title="Nothing has been written yet" />;
  return (
    <ol class="timeline">
      {of.map((one, i) => (
        <li key={i} class={`${one.phase} ${one.status || (one.code ? "parked" : "")}`}>
          <Time at={one.at} precise />
          <div class="timeline-what">
            <span class="timeline-name" title={one.place}>
              {one.step || one.place?.split("/").at(-1) || one.phase}
            </span>
            {one.step || one.place ? <span class="dim">{one.phase}</span> : null}
            {one.status ? <Chip>{one.status}</Chip> : null}
            {one.attempt > 1 ? <span class="dim">attempt {one.attempt}</span> : null}
            {one.duration_ms !== null && one.duration_ms !== undefined ? (
              <span class="dim">{duration(one.duration_ms)}</span>
            ) : null}
            {one.code ? <code>{one.code}</code> : null}
            {one.message ? <p class="timeline-message">{one.message}</p> : null}
            <Value of={one.args} label="arguments" />
            <Value of={one.result} label="result" />
            <Value of={one.value} label="value" />
          </div>
        </li>
      ))}
    </ol>
  );
}

function parsedResult(text) {
  if (!text.trim()) return {};
  try {
    return { result: JSON.parse(text) };
  } catch (error) {
    throw new Error(`The result is not JSON: ${error.message}`);
  }
}

function StepFields({ steps, form, put }) {
  return (
    <>
      <Field label="Step">
        <select name="step" value={form.step} onChange={({ target }) => put({ step: target.value })}>
          {steps.map((one) => (
            <option key={one.path} value={one.path}>
              {one.path} ({one.status})
            </option>
          ))}
        </select>
      </Field>
      <fieldset class="choice">
        <legend>What was found</legend>
        {[
          [false, SETTLED],
          [true, NOT_DONE],
        ].map(([value, text]) => (
          <label class="check" key={text}>
            <input
              type="radio"
              name="not_done"
              checked={form.notDone === value}
              onChange={() => put({ notDone: value })}
            />
            {text}
          </label>
        ))}
      </fieldset>
      {form.notDone ? null : (
        <Field label="Its result, as JSON" hint="When later steps need one">
          <textarea
            name="result"
            rows={3}
            value={form.result}
            spellcheck={false}
            placeholder='{"vended": true}'
            onInput={({ target }) => put({ result: target.value })}
          />
        </Field>
      )}
    </>
  );
}

function Plan({ of }) {
  return (
    <div role="status">
      <Note title={`It would go from ${of.before} to ${of.state}${of.goes_on ? ", and go on" : ""}`}>
        <ul>
          {(of.changes || []).map((text, i) => (
            <li key={i}>{text}</li>
          ))}
        </ul>
      </Note>
    </div>
  );
}

const DOUBTFUL = ["unknown", "intent", "begun", "undoing"];

function firstStep(run, next) {
  const named = run.steps.find((one) => next.step && [one.path, one.step].includes(next.step));
  return (named || run.steps.find((one) => DOUBTFUL.includes(one.status)) || run.steps[0])?.path || "";
}

function Decide({ run, next, close, done }) {
  const [form, set] = useState({ why: "", step: firstStep(run, next), notDone: false, result: "" });
  const [state, show] = useState({ busy: false, error: null, plan: null });
  const [name, text] = VERBS[next.verb];
  const put = (fields) => {
    set({ ...form, ...fields });
    show({ ...state, plan: null });
  };
  const say = (dryRun) => {
    const skip =
      next.verb === "skip"
        ? { step: form.step, ...(form.notDone ? { not_done: true } : parsedResult(form.result)) }
        : {};
    return post(at`chains/${run.id}/${next.verb}`, {
      why: form.why,
      ...skip,
      ...(dryRun ? { dry_run: true } : {}),
    });
  };
  const look = async () => {
    show({ busy: true, error: null, plan: null });
    try {
      show({ busy: false, error: null, plan: await say(true) });
    } catch (error) {
      show({ busy: false, error, plan: null });
    }
  };
  const act = async () => {
    const said = await say(false);
    toast(`The chain is ${said.state}${said.goes_on ? " and goes on" : ""}.`);
    close();
    done();
  };
  const ready = form.why.trim() !== "";
  return (
    <Dialog title={`${name}: chain ${run.id}`} close={close} wide>
      <ActForm
        action={name}
        danger={["undo", "abandon"].includes(next.verb)}
        needs="operator"
        ready={ready}
        act={act}
        close={close}
        before={
          <Button busy={state.busy} disabled={!ready} onClick={look}>
            Look first
          </Button>
        }
      >
        <p>{text}</p>
        {next.verb === "skip" ? <StepFields steps={run.steps} form={form} put={put} /> : null}
        <Field label="Why" hint="Kept with your name and the time">
          <textarea
            name="why"
            rows={2}
            value={form.why}
            required
            onInput={({ target }) => put({ why: target.value })}
          />
        </Field>
        {state.error ? (
          <p class="form-error" role="alert">
            {state.error.message}
          </p>
        ) : null}
        {state.plan ? <Plan of={state.plan} /> : null}
      </ActForm>
    </Dialog>
  );
}

function Decisions({ run, decide }) {
  if (!run.next?.length) return <p class="quiet">Nothing is to be decided.</p>;
  return (
    <ul class="decisions">
      {run.next.map((next) => (
        <li key={`${next.verb} ${next.step}`}>
          <Button needs="operator" onClick={() => decide(next)}>
            {VERBS[next.verb]?.[0] || next.verb}
            {next.step ? `: ${next.step}` : ""}
          </Button>
          <span>{VERBS[next.verb]?.[1] || next.text}</span>
        </li>
      ))}
    </ul>
  );
}

const auditColumns = [
  { id: "at", label: "Time", kind: "first", cell: (one) => <Time at={one.at} /> },
  { id: "who", label: "Who", cell: (one) => one.who },
  { id: "verb", label: "What", cell: (one) => <Chip>{one.verb}</Chip> },
  { id: "why", label: "Why", kind: "grow", cell: (one) => one.why },
];

function Detail({ run, decide }) {
  return (
    <>
      {run.state === "parked" ? (
        <Note tone="warn" title="In doubt: a person decides">
          {run.why}
        </Note>
      ) : null}
      <Facts
        of={[
          ["Type", run.type],
          ["Flow", run.flow],
          ["Key", run.key && <code>{run.key}</code>],
          [
            "Event",
            run.event_id && (
              <a href={`${href("search")}?q=${encodeURIComponent(run.event_id)}`}>
                <code>{run.event_id}</code>
              </a>
            ),
          ],
          [
            "Came from",
            run.topic && (
              <a href={href("topics", run.topic, "messages", run.partition, run.offset)}>
                {run.topic} {run.partition}:{run.offset}
              </a>
            ),
          ],
          ["Began", <Time at={run.began} />],
          ["Changed", <Time at={run.changed} />],
          ["Due", run.due ? <Time at={run.due} /> : null],
          ["Script", run.script && <code>{run.script.slice(0, 12)}</code>],
          ["Why", run.state === "parked" ? null : run.why],
        ]}
      />
      <Section title="What can be decided">
        <Decisions run={run} decide={decide} />
      </Section>
      {run.steps?.length ? (
        <Section title="Steps">
          <Table label="Steps" columns={stepColumns} rows={run.steps} id={(one) => one.path} />
        </Section>
      ) : null}
      <Section title="Timeline">
        <Timeline of={run.timeline || []} />
      </Section>
      {run.audit?.length ? (
        <Section title="What people said">
          <Table
            label="What people said"
            columns={auditColumns}
            rows={run.audit}
            id={(one) => `${one.at} ${one.verb}`}
          />
        </Section>
      ) : null}
    </>
  );
}

export function Chain({ id }) {
  const page = useLoad(at`chains/${id}`, EVERY_MS);
  const [next, decide] = useState(null);
  const run = page.data;
  return (
    <>
      <Head
        title={`Chain ${run?.id || id}`}
        crumbs={[["Chains", href("chains")]]}
        mark={run ? <Chip>{run.state}</Chip> : null}
      />
      <Loaded of={page} lines={8}>
        {() => <Detail run={run} decide={decide} />}
      </Loaded>
      {next ? <Decide run={run} next={next} close={() => decide(null)} done={page.reload} /> : null}
    </>
  );
}
