"""The SipEat flows, killed again and again: nobody pays twice, and no mail goes out under a second Message-ID.

scripts/pipeline.lua runs as it is, with a journal, against real Kafka and mail and strict fakes. The simulated
machines keep their worlds in files: they go on when the process is killed, and their counters say what fell, so
nothing is parked.
"""

import collections
import json
import os
import random
import signal
import time

from support import harness, sipeat_events
from support.drink_world import DONE, PARKED, read_sqlite
from support.harness import PIPELINE, wait_for
from support.sipeat_events import GROUPS
from support.sipeat_world import World

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
EVENTS, KILLS = (600, 60) if SOAK else (60, 6)
SEED = int(os.environ.get("SIPEAT_SEED", "20260607"))


class Pipeline(harness.Case):
    def begin(self, world):
        return self.start("run", PIPELINE, "-X", "group.instance.id=pipeline", "--no-watch",
                          env={**world.env, "SIPEAT_JOURNAL": self.dir / "journal.db",
                               "SIPEAT_SIM_DISPENSE_TIME": "50ms", "SIPEAT_SIM_WORLDS": self.dir / "worlds"})

    def open_runs(self):
        return [str(run) for run in read_sqlite(self.dir / "journal.db") if run.state < DONE and run.state != PARKED]

    def quiet(self, world, process, *kinds):
        process.until(lambda: not self.open_runs() and not any(world.lag(kind) for kind in kinds),
                      lambda: f"quiet: {self.open_runs()}, {[world.lag(kind) for kind in kinds]}", 120, every=0.3)

    def killed(self, world, process, chance):
        """Kills it a random moment after it has begun to work, and starts it again."""
        requests = world.stripe.state()["requests"] + len(world.supabase.writes())
        wait_for(lambda: world.stripe.state()["requests"] + len(world.supabase.writes()) > requests
                 or not any(world.lag(kind) for kind in GROUPS), process.tail, 30, every=0.005)
        time.sleep(chance.uniform(0, 0.15))
        process.stop(signal.SIGKILL)
        process.close()
        self.processes.remove(process)
        return self.begin(world)

    def test_killed_again_and_again(self):
        chance = random.Random(SEED)
        print(f"seed {SEED}", flush=True)
        with World(discord={"limit": 1_000_000}) as world:
            events = {kind: [event for event in some if event.ends != "broken"][:EVENTS]
                      for kind, some in sipeat_events.make(20260102).items()}
            machines = {event.data["machineId"] for event in events["machine"] if event.ends == "done"}
            events["request"] = [event for event in events["request"] if event.data["machineId"] in machines]
            world.write(events["machine"])
            process = self.begin(world)
            self.quiet(world, process, "machine")
            world.write(events["contact"] + events["request"])
            for _ in range(KILLS):
                process = self.killed(world, process, chance)
            self.quiet(world, process, *GROUPS)
            self.assertEqual(process.stop(), 0, process.tail())
            self.contacts(world, events["contact"])
            self.requests(world, events["request"])
            self.mails(world, events)

    def contacts(self, world, events):
        rows = collections.Counter(row["email"] for row in world.supabase.rows("contacts"))
        self.assertEqual(rows, collections.Counter(event.data["email"] for event in events if event.ends == "done"))

    def requests(self, world, events):
        """Each one is sold and paid, or dead and not paid; what fell is what was sold."""
        runs = {run.event: run for run in read_sqlite(self.dir / "journal.db")}
        intents = [intent for intent in world.stripe.state()["payment_intents"] if intent["status"] == "succeeded"]
        paid = collections.Counter(intent["metadata"]["event_id"] for intent in intents
                                   if intent["amount_refunded"] < intent["amount"])
        self.assertEqual([event for event, count in paid.items() if count > 1], [])
        states = {row["event_id"]: row["state"] for row in world.supabase.rows("reservations")}
        parked = {event.id for event in events if event.id in runs and runs[event.id].state == PARKED}
        print(f"{len(events)} requests, {len(parked)} parked: {sorted({runs[e].why for e in parked})}", flush=True)
        self.assertEqual(parked, set())
        worlds = [json.loads(file.read_text()) for file in (self.dir / "worlds").glob("*.json")]
        self.assertEqual(sum(world["total"] for world in worlds), list(states.values()).count("dispensed"))
        orders = collections.Counter(key for world in worlds for key in world["orders"])
        self.assertEqual([key for key, count in orders.items() if count > 1], [])
        refused = {event.id for event in events  # killed when the order was written down, and had not left
                   if event.id in runs and "the board says that nothing fell" in (runs[event.id].why or "")}
        self.assertLess(len(refused), len(events) // 2)
        for event in events:
            with self.subTest(event.id):
                is_sold = event.ends == "done" and event.id not in refused
                self.assertEqual(states.get(event.id), "dispensed" if is_sold else "released")
                self.assertEqual(paid[event.id], int(is_sold and event.data.get("payment", "card") == "card"))

    def mails(self, world, events):
        """A mail that was sent again has the Message-ID that it had."""
        ids = collections.defaultdict(set)
        for message in world.mail.mails():
            ids[message["Delivered-To"], message["Subject"]].add(message["Message-ID"])
        customers = {event.data["email"] for kind in ("contact", "request") for event in events[kind]
                     if "email" in event.data}
        of_customers = {what: many for what, many in ids.items() if what[0] in customers}
        self.assertGreater(len(of_customers), len(customers) // 2)
        self.assertEqual({what: many for what, many in of_customers.items() if len(many) > 1}, {})


if __name__ == "__main__":
    harness.main()
