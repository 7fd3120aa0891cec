// The brokers of the cluster, and the settings of one.
import { at } from "../api.js";
import { count } from "../format.js";
import { useLoad } from "../load.js";
import { href } from "../router.js";
import { Chip, Facts, Head } from "../ui/basics.jsx";
import { Loaded } from "../ui/states.jsx";
import { Table } from "../ui/table.jsx";
import { Configuration } from "./configuration.jsx";

const columns = [
  {
    id: "id",
    label: "Broker",
    kind: "first",
    sort: (one) => one.id,
    cell: (one) => (
      <>
        <a href={href("brokers", one.id)}>{one.id}</a>
        {one.controller ? <Chip tone="info">controller</Chip> : null}
      </>
    ),
  },
  {
    id: "address",
    label: "Address",
    kind: "mono grow",
    sort: (one) => one.host,
    cell: (one) => `${one.host}:${one.port}`,
  },
  {
    id: "leaders",
    label: "Leads",
    kind: "number",
    sort: (one) => one.leaders,
    cell: (one) => count(one.leaders),
  },
  {
    id: "replicas",
    label: "Replicas",
    kind: "number",
    sort: (one) => one.replicas,
    cell: (one) => count(one.replicas),
  },
];

export function Brokers() {
  const page = useLoad("brokers");
  return (
    <>
      <Head title="Brokers" />
      <Loaded of={page}>
        {(data) => (
          <>
            <Facts
              of={[
                ["Cluster", data.id && <code>{data.id}</code>],
                ["Kind", data.embedded ? "embedded: events are kept in memory only" : null],
              ]}
            />
            <Table
              label="Brokers"
              columns={columns}
              rows={data.brokers}
              id={(one) => one.id}
              order={{ id: "id" }}
            />
          </>
        )}
      </Loaded>
    </>
  );
}

export function Broker({ id }) {
  const page = useLoad(at`brokers/${id}`);
  return (
    <>
      <Head title={`Broker ${id}`} crumbs={[["Brokers", href("brokers")]]} />
      <Loaded of={page}>
        {(data) => <Configuration of={data.configuration} label={`Configuration of broker ${id}`} />}
      </Loaded>
    </>
  );
}
