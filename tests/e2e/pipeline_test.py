"""The SipEat flows against real Kafka and mail and strict fakes: 3,000 events, 150 of them broken."""

import collections
import re
import signal

from support import harness, kcat, sipeat_events
from support.harness import PIPELINE, wait_for
from support.sipeat_events import GROUPS, TOPICS
from support.sipeat_world import World

SEED = 20260102
RED = 0xE74C3C


def field(embed, name):
    return next((f["value"] for f in embed.get("fields", []) if f["name"] == name), None)


class Pipeline(harness.Case):
    def run_pipeline(self, world):
        return self.start("run", PIPELINE, env=world.env)

    def finish(self, world, kind, process, deadline=120):
        process.until(lambda: world.lag(kind) == 0,
                      lambda: f"lag 0 of {kind}, but {world.lag(kind)}", deadline, every=0.3)

    def test_3000_events_each_with_its_effects(self):
        with World(discord={"limit": 1_000_000, "random_429": 0.05, "retry_after": 0.05, "seed": SEED}) as world:
            print(f"seed {SEED}", flush=True)
            events = sipeat_events.make(SEED)
            world.write(events["machine"])
            process = self.run_pipeline(world)
            self.finish(world, "machine", process)  # machines first: a request needs one that is set up
            world.write(events["contact"] + events["request"])
            self.finish(world, "contact", process)
            self.finish(world, "request", process)
            process.until(lambda: world.wire.lag("sipeat-notification", "notification") == 0, "notices are delivered")
            self.discord(world, events, process)
            self.assertEqual(process.stop(), 0, process.tail())
            for kind, group in GROUPS.items():
                self.assertEqual(sum(world.wire.lag(group, topic) for topic in TOPICS[kind]), 0)
                self.dead_letters(world, kind, events[kind])
            self.contacts(world, events["contact"])
            self.requests(world, events["request"], events["machine"])
            self.machines(world, events["machine"])
            self.mail(world, events)

    def dead_letters(self, world, kind, events):
        """Every broken event as it came, with its reason; every refused one; no other."""
        dead = world.dead(kind)
        wanted = [e for e in events if e.ends != "done"]
        self.assertEqual(len(dead), len(wanted), kind)
        by_value = collections.defaultdict(list)
        for record in dead:
            by_value[record.value].append(record)
        for event in wanted:
            with self.subTest(event.id, why=event.why):
                value = event.value if isinstance(event.value, bytes) else event.value.encode()
                if event.why == "1 MB" and value not in by_value:
                    continue  # a pointer: see below
                records = by_value[value]
                self.assertEqual(len(records), 1)
                self.assertIn(records[0].text("kafka_dlt-original-topic"), TOPICS[kind])
                if event.ends == "broken":
                    self.assertIn(event.reason.lower(), records[0].text("kafka_dlt-exception-message").lower())
                else:
                    self.assertEqual(records[0].text("sipeat-event-id"), event.id)
        pointers = [r for r in dead if "sipeat-pointer" in r.headers]
        bodies = {self.dir.joinpath(r.text("sipeat-pointer")).read_bytes() for r in pointers}
        large = {e.value.encode() for e in wanted if e.why == "1 MB"}
        self.assertEqual(large, bodies | {r.value for r in dead if r.value in large})

    def discord(self, world, events, process):
        """One embed for each event, none twice; all accepted by a fake that checks every limit."""
        everything = [e for of_kind in events.values() for e in of_kind]

        def of_events():  # without those of the notices that they led to
            return [e for e in world.discord.embeds()
                    if e["title"] != "Enterprise contact" and "notification event" not in e["title"]]

        process.until(lambda: len(of_events()) >= len(everything),
                      lambda: f"{len(everything)} embeds, but {len(of_events())}\n{world.discord.stats()}",
                      60, every=0.5)
        embeds = of_events()
        by_id = collections.Counter(field(e, "Event ID") for e in embeds)
        for event in everything:
            if event.ends != "broken":
                self.assertEqual(by_id[event.id], 1, event.id)
        self.assertEqual(len(embeds), len(everything))
        red = sum(e["color"] == RED for e in embeds)
        ended_well = {e.id for e in everything if e.ends == "done"}
        wrong = [field(e, "Event ID") for e in embeds if e["color"] == RED and field(e, "Event ID") in ended_well]
        self.assertEqual(wrong, [], "of events that should have been done")
        self.assertEqual(red, sum(e.ends != "done" for e in everything))
        stats = world.discord.stats()
        self.assertEqual(stats.get("status_400", 0), 0)
        self.assertEqual(stats.get("early", 0), 0, "it came back earlier than a 429 had said")
        self.assertGreater(stats.get("status_429", 0), 5)

    def contacts(self, world, events):
        rows = {row["email"]: row for row in world.supabase.rows("contacts")}
        done = [e for e in events if e.ends == "done"]
        self.assertEqual(set(rows), {e.data["email"] for e in done})
        for event in done:
            row = rows[event.data["email"]]
            self.assertEqual((row["name"], row["event_id"]), (event.data["name"], event.id))
            points = [int(reason.split()[0]) for reason in row["reasons"].splitlines()]
            self.assertEqual(row["score"], max(0, min(100, sum(points))), row)

    def requests(self, world, events, machines):
        """Paid once, taken from the stock once; a declined one is neither paid nor taken."""
        state = world.stripe.state()
        paid = collections.Counter(i["metadata"]["event_id"] for i in state["payment_intents"]
                                   if i["status"] == "succeeded")
        done = [e for e in events if e.ends == "done"]
        card = {e.id for e in done if e.data.get("payment", "card") == "card"}
        self.assertEqual(paid, collections.Counter(card))
        self.assertEqual(state["refunded"], 0)
        amounts = {i["metadata"]["event_id"]: i["amount"] for i in state["payment_intents"]}
        for event in done:
            if event.id in card and "amount" in event.data:
                self.assertEqual(amounts[event.id], 180)
        reservations = {row["event_id"]: row["state"] for row in world.supabase.rows("reservations")}
        declined = {e.id for e in events if e.why == "payment"}
        self.assertGreater(len(declined), 10)
        self.assertEqual(reservations, {**{e.id: "dispensed" for e in done}, **{i: "released" for i in declined}})
        taken = collections.Counter((e.data["machineId"], e.data["drinkName"]) for e in done)
        stock = {(row["machine_id"], row["drink"]): row["stock"] for row in world.supabase.rows("inventory")}
        for machine in (m for m in machines if m.ends == "done"):
            for slot in machine.data["slots"]:
                key = (machine.data["machineId"], slot["drink"])
                self.assertEqual(stock[key], slot["stock"] - taken[key], key)

    def machines(self, world, events):
        """Set up in all tables, or in none: the network step's failure undid what came before it."""
        done = {e.data["machineId"] for e in events if e.ends == "done"}
        failed = {e.data["machineId"] for e in events if e.why == "network"}
        self.assertGreater(len(failed), 10)
        for table in ("machines", "machine_drivers", "inventory", "machine_network", "maintenance"):
            self.assertEqual({row["machine_id"] for row in world.supabase.rows(table)}, done, table)
        self.assertEqual({row["status"] for row in world.supabase.rows("machines")}, {"active"})
        self.assertEqual(len(world.supabase.rows("inventory")), 4 * len(done))
        writes = collections.defaultdict(list)
        for entry in world.supabase.writes():
            for machine in re.findall(r"M\d{5}", entry["body"] + str(entry["query"]))[:1]:
                writes[machine].append((entry["method"], entry["table"]))
        for machine in failed:
            deleted = [table for method, table in writes[machine] if method == "DELETE"]
            self.assertEqual([w for w in writes[machine] if w[0] == "POST"],
                             [("POST", "machines"), ("POST", "machine_drivers")] + [("POST", "inventory")] * 4)
            self.assertEqual(deleted[-3:], ["inventory", "machine_drivers", "machines"], "undone in reverse")

    def mail(self, world, events):
        """Each customer has the mail that was asked for, each team its notice; every Message-ID once."""
        wanted = collections.Counter()
        for event in (e for e in events["contact"] if e.ends == "done"):
            data, kind = event.data, event.data.get("type")
            wants = data.get("preferences", {})
            if wants.get("email") is not False:
                wanted[data["email"]] += 1
            elif not (wants.get("sms") and data.get("phone")) and wants.get("phone") and data.get("phone"):
                wanted["sales@sipeat.test"] += 1  # please call
            wanted["support@sipeat.test" if kind == "support" else "sales@sipeat.test"] += 1
        for event in events["request"]:
            if event.ends != "broken" and "email" in event.data:  # the receipt, or the apology
                wanted[event.data["email"]] += 1
        mails = wait_for(lambda: world.mail.count() >= sum(wanted.values()) and world.mail.mails(),
                         lambda: f"{sum(wanted.values())} mails, but {world.mail.count()}")
        self.assertEqual(collections.Counter(m["Delivered-To"] for m in mails), wanted)
        ids = [m["Message-ID"] for m in mails]
        self.assertEqual(len(ids), len(set(ids)))
        names = {e.data["email"]: e.data["name"] for e in events["contact"]}
        for message in mails:
            if message["Delivered-To"] in names:
                self.assertIn(names[message["Delivered-To"]], message.get_body(("plain",)).get_content())

    def test_sigterm_in_the_middle_and_a_restart_lose_nothing(self):
        with World(discord={"limit": 1_000_000}) as world:
            events = sipeat_events.make(SEED)
            world.write(events["machine"] + events["contact"])
            handled = 0
            for _ in range(3):
                process = self.run_pipeline(world)
                goal = handled + 300
                process.until(lambda: len(world.supabase.rows("contacts")) >= goal, f"{goal} contacts", 60)
                self.assertEqual(process.stop(signal.SIGTERM), 0, process.tail())
                handled = len(world.supabase.rows("contacts"))
                self.assertLess(handled, 950)
                if handled > 550:
                    break
            process = self.run_pipeline(world)
            for kind in ("contact", "machine"):
                self.finish(world, kind, process)
            self.assertEqual(process.stop(), 0, process.tail())
            for kind, table in (("contact", "contacts"), ("machine", "machines")):
                ids = {row["event_id"] for row in world.supabase.rows(table)}
                self.assertEqual(ids, {e.id for e in events[kind] if e.ends == "done"})
                dead = world.dead(kind)
                whole = {e.value.encode() for e in events[kind] if e.ends == "done" and isinstance(e.value, str)}
                self.assertEqual([r.headers for r in dead if r.value in whole], [], "nothing whole is dead")
                self.assertEqual(len(dead), sum(e.ends != "done" for e in events[kind]), [r.headers for r in dead])
            ids = [m["Message-ID"] for m in world.mail.mails()]
            self.assertEqual(len(ids), len(set(ids)), "a mail was sent twice")


if __name__ == "__main__":
    harness.main()
