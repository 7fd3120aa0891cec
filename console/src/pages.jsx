// Which page an address shows.
import { Audit } from "./pages/audit.jsx";
import { Broker, Brokers } from "./pages/brokers.jsx";
import { Chain } from "./pages/chain.jsx";
import { Chains } from "./pages/chains.jsx";
import { Flows } from "./pages/flows.jsx";
import { Group } from "./pages/group.jsx";
import { Groups } from "./pages/groups.jsx";
import { Letter } from "./pages/letter.jsx";
import { Letters, LettersOf } from "./pages/letters.jsx";
import { Machine, Machines } from "./pages/machines.jsx";
import { Message } from "./pages/message.jsx";
import { Overview } from "./pages/overview.jsx";
import { Scripts } from "./pages/scripts.jsx";
import { Find } from "./pages/search.jsx";
import { Topic } from "./pages/topic.jsx";
import { Topics } from "./pages/topics.jsx";
import { Head } from "./ui/basics.jsx";
import { Empty } from "./ui/states.jsx";
import { href } from "./router.js";

function Missing() {
  return (
    <>
      <Head title="No such page" />
      <Empty title="There is nothing at this address">
        <a href={href()}>To the overview</a>
      </Empty>
    </>
  );
}

// The name of the area, then what each further part of the path is called.
const PAGES = [
  [[""], Overview],
  [["topics"], Topics],
  [["topics", "name"], Topic],
  [["topics", "name", "tab"], Topic],
  [["topics", "name", "messages", "partition", "offset"], Message],
  [["groups"], Groups],
  [["groups", "name"], Group],
  [["brokers"], Brokers],
  [["brokers", "id"], Broker],
  [["flows"], Flows],
  [["letters"], Letters],
  [["letters", "topic"], LettersOf],
  [["letters", "topic", "partition", "offset"], Letter],
  [["chains"], Chains],
  [["chains", "id"], Chain],
  [["machines"], Machines],
  [["machines", "id"], Machine],
  [["scripts"], Scripts],
  [["search"], Find],
  [["audit"], Audit],
];

export function pageOf({ parts, query }) {
  const given = parts.length ? parts : [""];
  for (const [names, page] of PAGES) {
    const fits =
      names.length === given.length &&
      names[0] === given[0] &&
      (names[2] !== "messages" || given[2] === "messages");
    if (fits) {
      const props = Object.fromEntries(names.slice(1).map((name, i) => [name, given[i + 1]]));
      return { page, props: { ...props, query } };
    }
  }
  return { page: Missing, props: {} };
}
