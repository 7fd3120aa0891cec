"""`--workers N`: each has consumers of its own; they are loaded, drained and counted as one program."""

import json
import os
import re

from support import harness, kcat
from support.harness import get, save, wait_for
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
EVENTS, STARTS, BACKLOG = (50000, 40, 500_000) if SOAK else (2000, 1, 500_000)
SCRIPT = """
local sipeat = require "sipeat"
VERSION = %d
if sipeat.worker == %d then
  error "this worker does not like it"
end
sipeat.every("50ms", function() sipeat.log.info("tick of " .. sipeat.worker) end)
sipeat.flow {
  topic = "work", group = "work", concurrency = 32, on = { ["*"] = function(event, ctx)
    ctx:sleep "2ms"
    ctx:emit("handled", event.key, ("%%d %%d %%s %%d"):format(sipeat.worker, sipeat.workers, event.id, VERSION))
  end },
}
"""


class Workers(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def setUp(self):
        super().setUp()
        self.kafka.wire.create_topic("work", 4)
        self.kafka.wire.create_topic("handled", 1)
        for topic in ("work", "handled"):
            self.addCleanup(self.kafka.wire.delete_topic, topic)

    def write(self, first, count):
        kcat.write(self.kafka.address, "work", [(f"k{n % 101}", json.dumps(
            {"id": f"e{n}", "type": "work.do", "data": {"n": n}})) for n in range(first, first + count)])

    def begin(self, *options):
        self.process = self.start("run", self.path, "--workers", "2", "--no-watch", *options,
                                  "-X", "session.timeout.ms=10000", "-X", "heartbeat.interval.ms=300",
                                  env={"KAFKA_BROKERS": self.kafka.address})
        line = self.process.wait_log("listening on")
        self.url = re.search(r"http://[\d.:]+", line)[0]

    def handled(self):
        return [r.value.decode().split() for r in kcat.read(self.kafka.address, "handled")]

    def metric(self, name):
        match = re.search(rf"^{re.escape(name)} (\S+)$", get(self.url + "/metrics")[1].decode(), re.M)
        return float(match[1]) if match else 0.0

    def wait_handled(self, count):
        wire = self.kafka.wire
        self.process.until(lambda: wire.count("handled") >= count, f"{count} handled", 60)

    def write_until_both_work(self):
        """Events of numbers that were not written yet, until each worker has had some of them."""
        def look():
            first = self.kafka.wire.count("work")
            self.write(first, 100)
            self.wait_handled(first + 100)
            late = [h for h in self.handled() if int(h[2][1:]) >= start]
            return late if {h[0] for h in late} == {"1", "2"} else None
        start = self.kafka.wire.count("work")
        return self.process.until(look, "both work", 60)

    def test_the_second_one_joins_while_the_first_is_busy_and_nothing_is_handled_again(self):
        """It asks to join when the first one has just joined: librdkafka puts off what that one has to answer, and
        sends it among commits."""
        self.write(0, BACKLOG)
        for number in range(STARTS):
            group = f"group-{number}"
            script = self.script("""
                local sipeat = require "sipeat"
                sipeat.flow { topic = "work", group = "%s", on = { ["*"] = function(event, ctx)
                  ctx:emit("handled", event.key, event.id)
                end } }""" % group)
            before = self.kafka.wire.count("handled")
            process = self.start("run", script, "--workers", "2", "--no-watch", "--http", "off",
                                 env={"KAFKA_BROKERS": self.kafka.address})
            process.until(lambda name=group: self.kafka.wire.lag(name, "work") == 0, "all is committed", 60)
            self.assertEqual(process.stop(), 0, process.tail())
            self.assertEqual(self.kafka.wire.count("handled") - before, BACKLOG, process.tail())
            self.assertNotIn("what was in flight is handled again", process.log)

    def test_they_share_the_work_and_end_together(self):
        self.path = self.script(SCRIPT % (1, 0))
        self.begin()
        self.process.until(lambda: get(self.url + "/ready")[0] == 200, "ready")
        self.process.until(lambda: self.metric('sipeat_flow_partitions{group="work"}') == 4, "all partitions")
        self.write(0, EVENTS)
        self.wait_handled(EVENTS)
        handled = self.handled()
        self.assertEqual(sorted(h[2] for h in handled), sorted(f"e{n}" for n in range(EVENTS)))
        self.assertEqual({h[0] for h in handled}, {"1", "2"}, "both have worked")
        self.assertEqual({h[1] for h in handled}, {"2"})
        self.process.until(lambda: self.metric('sipeat_flow_finished_total{group="work"}') == EVENTS, "the sum")
        self.assertEqual(self.metric("sipeat_workers"), 2)
        self.process.wait_log("tick of 1")
        self.assertNotIn("tick of 2", self.process.log)
        self.write(EVENTS, EVENTS)  # in the middle of it
        self.wait_handled(EVENTS + 100)
        self.assertEqual(self.process.stop(), 0, self.process.tail())
        self.begin()
        wait_for(lambda: self.kafka.wire.lag("work", "work") == 0, self.process.tail, 60)
        self.assertEqual(self.process.stop(), 0, self.process.tail())
        self.assertEqual(sorted(h[2] for h in self.handled()), sorted(f"e{n}" for n in range(2 * EVENTS)))

    def test_a_reload_is_taken_by_all_or_by_none(self):
        self.path = self.script(SCRIPT % (1, 0))
        self.begin()
        self.write_until_both_work()
        save(self.path, SCRIPT % (2, 2))
        status, body = get(self.url + "/admin/reload", 30, b"")
        self.assertEqual(status, 409, body)
        self.assertIn("worker 2", json.loads(body)["error"])
        self.assertEqual({h[3] for h in self.write_until_both_work()}, {"1"})
        save(self.path, SCRIPT % (3, 0))
        status, body = get(self.url + "/admin/reload", 30, b"")
        self.assertEqual(status, 200, body)
        self.process.until(lambda: self.metric("sipeat_reloads_total") == 1, "the reload")
        self.assertEqual({h[3] for h in self.write_until_both_work()}, {"3"})
        self.assertEqual(self.process.stop(), 0, self.process.tail())

    def test_a_script_that_one_refuses_does_not_start(self):
        self.path = self.script(SCRIPT % (1, 2))
        process = self.start("run", self.path, "--workers", "2", "--http", "off",
                             "-X", "session.timeout.ms=1000",  # it may have begun to join: the next test would wait
                             env={"KAFKA_BROKERS": self.kafka.address})
        self.assertEqual(process.wait(60), 1, process.tail())
        self.assertIn("worker 2", process.log)
        self.assertIn("does not like it", process.log)


if __name__ == "__main__":
    harness.main()
