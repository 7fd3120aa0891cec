// One topic: messages, producing, partitions, configuration, groups.
import { useState } from "preact/hooks";
import { at, call } from "../api.js";
import { bytes, count, plural } from "../format.js";
import { useLoad } from "../load.js";
import { go, href } from "../router.js";
import { Button, Chip, Head, Tabs } from "../ui/basics.jsx";
import { ActForm, Dialog } from "../ui/dialog.jsx";
import { Empty, Loaded } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { toast } from "../ui/toast.jsx";
import { Configuration } from "./configuration.jsx";
import { Messages } from "./messages.jsx";
import { Produce } from "./produce.jsx";

const EVERY_MS = 10000;

const partitionColumns = [
  { id: "id", label: "Partition", kind: "first", sort: (one) => one.id, cell: (one) => one.id },
  {
    id: "messages",
    label: "Messages",
    kind: "number",
    sort: (one) => one.messages,
    cell: (one) => count(one.messages),
  },
  { id: "low", label: "From offset", kind: "number", sort: (one) => one.low, cell: (one) => count(one.low) },
  { id: "high", label: "To offset", kind: "number", sort: (one) => one.high, cell: (one) => count(one.high) },
  {
    id: "leader",
    label: "Leader",
    kind: "number",
    sort: (one) => one.leader,
    cell: (one) =>
      one.leader === null || one.leader < 0 ? (
        <Chip tone="bad">none</Chip>
      ) : (
        <a href={href("brokers", one.leader)}>{one.leader}</a>
      ),
  },
  {
    id: "in_sync",
    label: "In sync",
    kind: "number",
    sort: (one) => one.in_sync,
    cell: (one) =>
      one.in_sync < one.replicas ? (
        <Chip tone="bad">
          {one.in_sync} of {one.replicas}
        </Chip>
      ) : (
        `${one.in_sync} of ${one.replicas}`
      ),
  },
];

const groupColumns = [
  {
    id: "name",
    label: "Group",
    kind: "first",
    sort: (one) => one.name,
    cell: (one) => <a href={href("groups", one.name)}>{one.name}</a>,
  },
  { id: "state", label: "State", sort: (one) => one.state, cell: (one) => <Chip>{one.state}</Chip> },
  { id: "lag", label: "Lag", kind: "number", sort: (one) => one.lag, cell: (one) => count(one.lag) },
];

function DeleteTopic({ name, messages, close }) {
  const act = async (typed) => {
    await call(at`topics/${name}`, { method: "DELETE", body: { confirm: typed } });
    toast(`The topic ${name} is deleted.`);
    go(href("topics"));
  };
  return (
    <Dialog title="Delete the topic" close={close}>
      <ActForm action="Delete for ever" danger name={name} act={act} close={close}>
        <p>
          {plural(messages, "message")} of <code>{name}</code> will be gone for everybody. There is no way
          back.
        </p>
      </ActForm>
    </Dialog>
  );
}

function Body({ data, tab, query }) {
  if (tab === "produce") return <Produce topic={data} query={query} />;
  if (tab === "configuration")
    return <Configuration of={data.configuration} label={`Configuration of ${data.name}`} />;
  if (tab === "partitions") {
    return (
      <Table
        label={`Partitions of ${data.name}`}
        columns={partitionColumns}
        rows={data.partitions}
        id={(one) => one.id}
        order={{ id: "id" }}
      />
    );
  } else if (tab === "groups") {
    return (
      <Table
        label={`Groups that read ${data.name}`}
        columns={groupColumns}
        rows={data.groups}
        id={(one) => one.name}
        order={{ id: "name" }}
        empty={
          <Empty title="No consumer group reads it">
            Groups are listed here once they have committed an offset.
          </Empty>
        }
      />
    );
  }
  return <Messages topic={data} query={query} />;
}

export function Topic({ name, tab = "messages", query }) {
  const page = useLoad(at`topics/${name}`, EVERY_MS);
  const [deleting, ask] = useState(false);
  const { data } = page;
  const tabs = [
    ["messages", "Messages", href("topics", name)],
    ["produce", "Produce", href("topics", name, "produce")],
    ["partitions", "Partitions", href("topics", name, "partitions")],
    ["configuration", "Configuration", href("topics", name, "configuration")],
    ["groups", "Groups", href("topics", name, "groups")],
  ];
  return (
    <>
      <Head
        title={name}
        crumbs={[["Topics", href("topics")]]}
        mark={
          data?.dead_letter ? (
            <a href={href("letters", name)}>
              <Chip tone="bad">dead letters</Chip>
            </a>
          ) : null
        }
        actions={
          <Button needs="admin" kind="quiet-danger" disabled={!data} onClick={() => ask(true)}>
            Delete
          </Button>
        }
      >
        {data ? (
          <p class="summary">
            {plural(data.messages, "message")} in {plural(data.partitions.length, "partition")}
            {data.size_bytes ? `, ${bytes(data.size_bytes)}` : ""}
          </p>
        ) : null}
      </Head>
      <Tabs label={`Parts of ${name}`} tabs={tabs} current={tab} />
      <Loaded of={page} limits={tab === "partitions"}>
        {() => <Body data={data} tab={tab} query={query} />}
      </Loaded>
      {deleting ? <DeleteTopic name={name} messages={data.messages} close={() => ask(false)} /> : null}
    </>
  );
}
