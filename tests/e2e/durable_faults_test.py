"""Payments and machines that fail in every way they can: each event ends once, and as it should.

All of them go through the chain of support/drink.lua in one process; fakes and journal say how each one ended.
"""

import json
import pathlib
import re

from support import harness, kcat
from support.drink_world import (DEAD, DEAD_LETTERS, DONE, PARKED, SCRIPT, STATES, MailServer, Request, World,
                                 wait_quiet)
from support.kafka import Kafka

TOPIC = "drink-faults"
# A drink that is paid in two parts, of which a payment service tells in its own time: at least once.
WEBHOOKS = """
local http = require "sipeat.http"
local sipeat = require "sipeat"

http.route("POST /webhook", function(req)
  local event = req:json()
  local ok, message = sipeat.signal("paid", event.order, event.part, { id = event.id })
  return ok and { status = 204 } or http.problem(503, message)
end)

sipeat.flow {
  topic = "webhooks", group = "webhooks", journal = true,
  on = { ["order.created"] = function(event, ctx)
    local first = ctx:wait("paid", event.id, { timeout = "1h" })
    ctx.log:info("paid in part: " .. first)
    local second = ctx:wait("paid", event.id, { timeout = "1h" })
    ctx.log:info("paid in full: " .. first .. ", " .. second)
  end },
}
"""
# name: what goes wrong, how it ends, drinks, payments kept, commands to the machine
PAYMENTS = {
    "no-answer": (("drop",), DONE, 1, 1, 1),
    "no-answer-but-charged": (("drop_after",), DONE, 1, 1, 1),
    "answer-after-the-deadline": (("late",), DONE, 1, 1, 1),
    "error-after-it-charged": (("error_after",), DONE, 1, 1, 1),
    "conflict": (("conflict", "conflict"), DONE, 1, 1, 1),
    "too-many-requests": (("rate_limit",), DONE, 1, 1, 1),
    "bank-undecided": (("processing",), DONE, 1, 1, 1),
    "error-kept-for-the-key": (("error",), DEAD, 0, 0, 0),
}
MACHINES = {
    "jam": (("jam",), DEAD, 0, 0, 1),
    "mute-before": (("mute_before",), DONE, 1, 1, 2),
    "mute-after": (("mute_after",), DONE, 1, 1, 1),
    "late": (("late",), DONE, 1, 1, 1),
    "slow": (("slow",), DONE, 1, 1, 1),
    "other-request": (("other",), DONE, 1, 1, 2),
    "other-request-but-fell": (("other_after",), DONE, 1, 1, 1),
    "sensor-silent": (("silent",), DONE, 1, 1, 1),
    "counter-jumps": (("jump",), PARKED, 1, 1, 1),
    "counter-dark-for-a-while": (("dark", "dark", "silent", "dark"), DONE, 1, 1, 1),
}
BLIND = {  # machines without a counter that could be asked
    "blind-mute": (("mute_after",), PARKED, 1, 1, 1),
    "blind-silent": (("silent",), PARKED, 1, 1, 1),
    "blind-jam": (("jam",), DEAD, 0, 0, 1),
}


class Faults(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())
        cls.mail = cls.enterClassContext(MailServer())
        for topic in (TOPIC, DEAD_LETTERS):
            cls.kafka.wire.create_topic(topic)

    def begin(self, request, **env):
        return self.start("run", SCRIPT, "-X", "group.instance.id=faults", "--no-watch", env={**request.env, **env})

    def requests(self, world):
        found = {}
        for cases, kind in ((PAYMENTS, "counting"), (MACHINES, "counting"), (BLIND, "blind")):
            for name, case in cases.items():
                found[name] = request = Request(world, self.kafka, name, self.dir, kind, TOPIC), case
                if cases is PAYMENTS:
                    world.payments.fail(name, *case[0])
                else:
                    world.machines.fail(request[0].machine, *case[0])
        found["dark"] = Request(world, self.kafka, "dark", self.dir, topic=TOPIC), ((), DEAD, 0, 0, 0)
        world.machines.always(found["dark"][0].machine, "dark")
        return found

    def test_each_fault_ends_once_and_as_it_should(self):
        with World(self.mail, late=2.1) as world:
            requests = self.requests(world)
            kcat.write(self.kafka.address, TOPIC, [request.record() for request, _ in requests.values()])
            first = requests["jam"][0]
            process = self.begin(first, STEP_TIMEOUT="1500ms")

            def open_runs():
                runs = first.runs()
                return [run for run in runs if run.state < DONE and run.state != PARKED] or len(runs) < len(requests)

            process.until(lambda: not open_runs(), lambda: f"quiet: {[str(run) for run in first.runs()]}", 60)
            process.until(first.is_committed, "all is committed")
            self.assertEqual(process.stop(), 0, process.tail())
            for name, (request, (_, state, drinks, paid, commands)) in requests.items():
                with self.subTest(name):
                    run = request.run()
                    self.assertEqual((STATES[run.state], *request.vends()[::-1], request.captured()),
                                     (STATES[state], drinks, commands, paid), f"{run}\n{process.log}")
                    self.assertEqual(request.unfinished(), [])
                    if state == PARKED:
                        self.assertIn("dispense", run.why)
            self.assertEqual(world.payments.state()["refunded"], sum(
                case[1] == DEAD and name not in PAYMENTS for name, (_, case) in requests.items()))

    def test_a_key_that_has_expired_is_not_charged_under_again(self):
        """Killed as it charges; when it comes back a day later, the service has forgotten the key."""
        with World(self.mail) as world:
            request = Request(world, self.kafka, "expired", self.dir)
            request.write()
            process = self.begin(request)

            def killer(asked):
                if asked.method == "POST":
                    process.popen.kill()
                    return "done"
                return None

            world.payments.killer = killer
            process.wait()
            world.payments.killer = None
            world.settle()
            self.assertEqual((request.captured(), request.run().state < DONE), (1, True))
            world.payments.forget_keys()
            library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
            process = self.begin(request, LD_PRELOAD=library, FAKETIME="+25h", FAKETIME_DONT_FAKE_MONOTONIC=1)
            wait_quiet(request, process)
            self.assertEqual(process.stop(), 0, process.tail())
            self.assertEqual(request.unfinished(), [])
            self.assertEqual((request.run().state, len(request.payments())), (DONE, 1), process.log)

    def test_a_webhook_that_comes_again_counts_once(self):
        """Told twice before it is waited for, again after it was, and again after a kill."""
        self.kafka.wire.create_topic("webhooks")
        path = self.script(WEBHOOKS)
        kcat.write(self.kafka.address, "webhooks", [("o1", '{"id": "o1", "type": "order.created", "data": {}}')])

        def begin():
            process = self.start("run", path, "-X", "group.instance.id=faults", "--no-watch",
                                 env={"KAFKA_BROKERS": self.kafka.address, "SIPEAT_JOURNAL": self.dir / "waits.db"})
            process.wait_log("joining the group")
            return process, re.search(r"http://127\.0\.0\.1:\d+", process.log)[0] + "/webhook"

        def tell(url, part):  # of whichever process runs now
            body = json.dumps({"id": f"evt-{part}", "order": "o1", "part": part}).encode()
            status, answer = harness.get(url, body=body, **{"Content-Type": "application/json"})
            self.assertEqual(status, 204, f"{answer}\n{process.tail()}")

        process, url = begin()
        tell(url, "one")
        tell(url, "one")
        process.wait_log("paid in part: one")
        tell(url, "one")
        process.popen.kill()
        process.wait()
        process, url = begin()
        tell(url, "one")
        tell(url, "two")
        process.wait_log("paid in full: ")
        self.assertIn("paid in full: one, two", process.log)
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
