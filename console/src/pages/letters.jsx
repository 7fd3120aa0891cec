// Dead letters: the topics that hold them, and those of one topic, replayed many at once.
import { useState } from "preact/hooks";
import { at, post, query as queryOf } from "../api.js";
import { count, plural } from "../format.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { go, href } from "../router.js";
import { Button, Chip, Field, Head, Time } from "../ui/basics.jsx";
import { Dialog, RehearsedForm, useRehearsal } from "../ui/dialog.jsx";
import { Empty, Loaded, Note } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { FilterBar } from "./filter_bar.jsx";
import { toast } from "../ui/toast.jsx";

const most = (counts) =>
  Object.entries(counts || {})
    .sort((a, b) => b[1] - a[1])
    .slice(0, 4);

function Counts({ of, topic, name }) {
  return most(of).map(([text, number]) => (
    <a key={text} class="chip" href={`${href("letters", topic)}?${name}=${encodeURIComponent(text)}`}>
      {text} <b>{count(number)}</b>
    </a>
  ));
}

const topicColumns = [
  {
    id: "topic",
    label: "Topic",
    kind: "first",
    sort: (one) => one.topic,
    cell: (one) => <a href={href("letters", one.topic)}>{one.topic}</a>,
  },
  {
    id: "letters",
    label: "Letters",
    kind: "number",
    sort: (one) => one.letters,
    cell: (one) => count(one.letters),
  },
  {
    id: "newest",
    label: "Newest",
    sort: (one) => one.newest,
    cell: (one) => <Time at={one.newest} relative />,
  },
  {
    id: "reasons",
    label: "Reasons",
    kind: "grow",
    cell: (one) => (
      <span class="chips">
        <Counts of={one.reasons} topic={one.topic} name="reason" />
      </span>
    ),
  },
];

export function Letters() {
  const page = useLoad("letters");
  const live = useLive("letters");
  const shown = { ...page, data: live || page.data };
  return (
    <>
      <Head title="Dead letters" />
      <Loaded of={shown}>
        {(data) => (
          <>
            {data.waiting ? (
              <Note tone="warn">
                {plural(data.waiting, "letter")} cannot be written to the cluster now; their events are not
                finished.
              </Note>
            ) : null}
            <Table
              label="Topics of dead letters"
              columns={topicColumns}
              rows={data.topics}
              id={(one) => one.topic}
              order={{ id: "letters", down: true }}
              empty={<Empty title="No dead letters">Every event came to a good end.</Empty>}
            />
          </>
        )}
      </Loaded>
    </>
  );
}

const letterHref = (one) => href("letters", one.topic, one.partition, one.offset);

const columns = [
  {
    id: "failed",
    label: "Failed",
    kind: "first",
    sort: (one) => one.failed_at,
    cell: (one) => (
      <a href={letterHref(one)}>
        <Time at={one.failed_at} />
      </a>
    ),
  },
  {
    id: "reason",
    label: "Reason",
    sort: (one) => one.reason,
    cell: (one) => <Chip tone="bad">{one.reason || "unknown"}</Chip>,
  },
  {
    id: "type",
    label: "Type",
    kind: "cut",
    sort: (one) => one.type,
    cell: (one) => one.type || <span class="dim">–</span>,
  },
  {
    id: "key",
    label: "Key",
    kind: "mono cut",
    sort: (one) => one.key,
    cell: (one) => one.key ?? <span class="dim">–</span>,
  },
  {
    id: "attempts",
    label: "Attempts",
    kind: "number",
    sort: (one) => one.attempts,
    cell: (one) => count(one.attempts),
  },
  {
    id: "message",
    label: "Message",
    kind: "cut grow",
    cell: (one) => (
      <>
        {one.was_replayed ? <Chip tone="good">replayed</Chip> : null} {one.message}
      </>
    ),
  },
];

const outcomeColumns = [
  { id: "id", label: "Letter", kind: "mono first", cell: (one) => one.id },
  { id: "outcome", label: "Outcome", cell: (one) => <Chip>{one.outcome}</Chip> },
  { id: "why", label: "Why", kind: "grow", cell: (one) => one.why || "" },
];

function Outcome({ of }) {
  const words = ["replayed", "skipped", "refused", "failed"]
    .filter((name) => of[name])
    .map((name) => `${count(of[name])} ${name}`);
  return (
    <div role="status">
      <Note tone={of.failed || of.refused ? "warn" : "good"}>
        {of.dry_run ? "It would be: " : ""}
        {words.join(", ") || "nothing"}
        {of.total > of.seen ? `, of ${count(of.total)}` : ""}. {of.dry_run ? "Nothing has been sent." : ""}
      </Note>
      {of.letters?.length ? (
        <Table label="Letters" columns={outcomeColumns} rows={of.letters} id={(one) => one.id} />
      ) : null}
    </div>
  );
}

function ReplayMany({ topic, filters, close, done }) {
  const [options, set] = useState({ rate: "100/s", max: "1000", again: false });
  const put = (fields) => set({ ...options, ...fields });
  const path = at`letters/${topic}/replay`;
  const body = () => ({
    ...Object.fromEntries(Object.entries(filters).filter(([, value]) => value)),
    rate: options.rate || undefined,
    max: Number(options.max) || undefined,
    again: options.again,
  });
  const replay = useRehearsal(async (dryRun, typed) => {
    const outcome = await post(path, { ...body(), ...(dryRun ? { dry_run: true } : { confirm: typed }) });
    if (!dryRun) {
      toast(`${plural(outcome.replayed, "letter")} replayed.`, outcome.failed ? "warn" : "good");
      done();
    }
    return outcome;
  });
  const chosen = Object.entries(filters).filter(([, value]) => value);
  return (
    <Dialog title="Replay dead letters" close={close} wide>
      <p>
        {chosen.length ? "Those with " : "All letters of this topic"}
        {chosen.map(([name, value], i) => (
          <span key={name}>
            {i ? " and " : ""}
            {name} <code>{value}</code>
          </span>
        ))}{" "}
        go back to the topics that they came from, for the flow that gave them up.
      </p>
      <RehearsedForm
        of={replay}
        show={(outcome) => <Outcome of={outcome} />}
        action="Replay"
        needs="operator"
        name={replay.outcome ? topic : null}
        ready={replay.outcome !== null}
        close={close}
      >
        <div class="row">
          <Field label="At most">
            <input
              name="max"
              type="number"
              min="1"
              max="10000"
              value={options.max}
              onInput={({ target }) => put({ max: target.value })}
            />
          </Field>
          <Field label="Rate">
            <input name="rate" value={options.rate} onInput={({ target }) => put({ rate: target.value })} />
          </Field>
        </div>
        <label class="check">
          <input
            type="checkbox"
            checked={options.again}
            onChange={({ target }) => put({ again: target.checked })}
          />
          Also those that were replayed before
        </label>
      </RehearsedForm>
    </Dialog>
  );
}

const FILTERS = ["reason", "type", "group", "since"];

export function LettersOf({ topic, query }) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) || ""]));
  const [form, set] = useState(filters);
  const [max, more] = useState(100);
  const [replaying, replay] = useState(false);
  const page = useLoad(at`letters/${topic}` + queryOf({ ...filters, max }));
  const submit = (event) => {
    event.preventDefault();
    go(href("letters", topic) + queryOf(form));
  };
  return (
    <>
      <Head
        title={topic}
        crumbs={[["Dead letters", href("letters")]]}
        actions={
          <>
            <a class="button" href={href("topics", topic)}>
              As messages
            </a>
            <Button
              needs="operator"
              kind="primary"
              disabled={!page.data?.letters.length}
              onClick={() => replay(true)}
            >
              Replay many
            </Button>
          </>
        }
      />
      <FilterBar label="Which letters" names={FILTERS} values={form} change={set} submit={submit} />
      <Loaded of={page}>
        {(data) => (
          <>
            <Table
              label={`Dead letters of ${topic}`}
              columns={columns}
              rows={data.letters}
              id={(one) => one.id}
              empty={<Empty title={queryOf(filters) ? "No letter fits" : "No dead letters here"} />}
            />
            {data.more && max < 1000 ? (
              <p class="more">
                <Button onClick={() => more(Math.min(max * 3, 1000))}>Show more</Button>
              </p>
            ) : null}
          </>
        )}
      </Loaded>
      {replaying ? (
        <ReplayMany topic={topic} filters={filters} close={() => replay(false)} done={page.reload} />
      ) : null}
    </>
  );
}
