// All topics, and a new one.
import { useMemo, useState } from "preact/hooks";
import { post, query } from "../api.js";
import { bytes, count } from "../format.js";
import { useLoad } from "../load.js";
import { go, href } from "../router.js";
import { Button, Chip, Field, Head } from "../ui/basics.jsx";
import { ActForm, Dialog } from "../ui/dialog.jsx";
import { Empty, Loaded } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { toast } from "../ui/toast.jsx";

const EVERY_MS = 10000;

const columns = [
  {
    id: "name",
    label: "Topic",
    kind: "first",
    sort: (one) => one.name,
    cell: (one) => (
      <>
        <a href={href("topics", one.name)}>{one.name}</a>
        {one.dead_letter ? <Chip tone="bad">dead letters</Chip> : null}
        {one.internal ? <Chip>internal</Chip> : null}
      </>
    ),
  },
  {
    id: "messages",
    label: "Messages",
    kind: "number",
    sort: (one) => one.messages,
    cell: (one) => count(one.messages),
  },
  {
    id: "partitions",
    label: "Partitions",
    kind: "number",
    sort: (one) => one.partitions,
    cell: (one) => count(one.partitions),
  },
  {
    id: "replicas",
    label: "Replicas",
    kind: "number",
    sort: (one) => one.replicas,
    cell: (one) =>
      one.under_replicated ? (
        <Chip tone="bad">
          {one.under_replicated} of {one.partitions} under-replicated
        </Chip>
      ) : (
        count(one.replicas)
      ),
  },
];
const size = {
  id: "size",
  label: "Size",
  kind: "number",
  sort: (one) => one.size_bytes,
  cell: (one) => bytes(one.size_bytes),
};

const SETTING = /^\s*([\w.]+)\s*=\s*(.*?)\s*$/;

/** Lines "name=value" as an object; throws on one that is not. */
function settingsOf(text) {
  const settings = {};
  for (const line of text.split("\n").filter((one) => one.trim())) {
    const [, name, value] = line.match(SETTING) || [];
    if (!name) throw new Error(`A line of the configuration is name=value, not "${line.trim()}".`);
    settings[name] = value;
  }
  return settings;
}

function NewTopic({ close }) {
  const [name, setName] = useState("");
  const [partitions, setPartitions] = useState("");
  const [replication, setReplication] = useState("");
  const [configuration, configure] = useState("");
  const act = async () => {
    const settings = settingsOf(configuration);
    const made = await post("topics", {
      name,
      partitions: Number(partitions) || 0,
      replication: Number(replication) || 0,
      ...(Object.keys(settings).length ? { configuration: settings } : {}),
    });
    toast(`The topic ${made.name} is there.`);
    close();
    go(href("topics", made.name));
  };
  return (
    <Dialog title="Create a topic" close={close}>
      <ActForm action="Create" act={act} close={close} ready={name.trim() !== ""}>
        <Field label="Name">
          <input
            name="name"
            value={name}
            onInput={(event) => setName(event.target.value)}
            required
            maxLength={249}
            autocomplete="off"
            spellcheck={false}
          />
        </Field>
        <div class="row">
          <Field label="Partitions">
            <input
              name="partitions"
              type="number"
              min="1"
              placeholder="the broker's default"
              value={partitions}
              onInput={(event) => setPartitions(event.target.value)}
            />
          </Field>
          <Field label="Replicas">
            <input
              name="replication"
              type="number"
              min="1"
              placeholder="the broker's default"
              value={replication}
              onInput={(event) => setReplication(event.target.value)}
            />
          </Field>
        </div>
        <Field label="Configuration" hint="One setting a line">
          <textarea
            name="configuration"
            rows={3}
            placeholder="retention.ms=604800000"
            spellcheck={false}
            value={configuration}
            onInput={(event) => configure(event.target.value)}
          />
        </Field>
      </ActForm>
    </Dialog>
  );
}

export function Topics() {
  const [internal, setInternal] = useState(false);
  const [part, look] = useState("");
  const [making, make] = useState(false);
  const page = useLoad(`topics${query({ internal })}`, EVERY_MS);
  const rows = useMemo(
    () => (page.data?.topics || []).filter((one) => one.name.toLowerCase().includes(part.toLowerCase())),
    [page.data, part],
  );
  const sized = rows.some((one) => one.size_bytes !== null && one.size_bytes !== undefined);
  return (
    <>
      <Head
        title="Topics"
        actions={
          <Button needs="operator" onClick={() => make(true)}>
            Create a topic
          </Button>
        }
      />
      <div class="bar">
        <input
          type="search"
          aria-label="Filter the topics by name"
          placeholder="Filter by name"
          value={part}
          onInput={(event) => look(event.target.value)}
        />
        <label class="check">
          <input type="checkbox" checked={internal} onChange={(event) => setInternal(event.target.checked)} />
          Kafka's own
        </label>
      </div>
      <Loaded of={page}>
        {() => (
          <Table
            label="Topics"
            columns={sized ? [...columns, size] : columns}
            rows={rows}
            id={(one) => one.name}
            order={{ id: "name" }}
            empty={
              part ? (
                <Empty title={`No topic has "${part}" in its name`} />
              ) : (
                <Empty title="There is no topic yet">A flow makes those that it reads; or create one.</Empty>
              )
            }
          />
        )}
      </Loaded>
      {making ? <NewTopic close={() => make(false)} /> : null}
    </>
  );
}
