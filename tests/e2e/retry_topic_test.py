"""Retry topics on a real Kafka: an event that fails waits in a topic of its own, and the others go on."""

import base64
import json
import os
import time

from support import harness, kcat
from support.harness import get, wait_for
from support.kafka import Kafka
from support.kafka_wire import WireError

EVENTS = 20000 if os.environ.get("SIPEAT_SOAK") else 2000
SCRIPT = """
local sipeat = require "sipeat"

sipeat.flow {
  topic = "orders", group = "orders", order = "none", max_in_flight = 256,
  retry = { attempts = %d, topics = { %s } },
  on = { ["order.created"] = function(event, ctx)
    if ctx.attempt < event.data.good_at then
      return nil, "not yet: " .. ctx.attempt, "NOT_YET"
    end
    ctx:emit("handled", event.key, { n = event.data.n, attempt = ctx.attempt, place = event.topic .. ":"
      .. event.partition .. ":" .. event.offset, own = event.headers.own, id = event.id,
      headers = sipeat.opts.names(event.headers), at = sipeat.task.now_ms() })
  end },
}
"""


def integer(record, name, size):
    """The integer of a binary header, which has that many bytes."""
    headers = record["headers"]
    data = headers[name].encode() if name in headers else base64.b64decode(headers[name + "_base64"])
    assert len(data) == size, (name, data)
    return int.from_bytes(data, "big")


class RetryTopic(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def setUp(self):
        super().setUp()
        self.wire = self.kafka.wire
        self.wire.create_topic("orders", 3)
        self.wire.create_topic("handled", 1)
        self.addCleanup(lambda: [self.wire.delete_topic(topic) for topic in self.wire.topics()])

    def flow(self, attempts, *delays, properties=()):
        topics = ", ".join(f'"{delay}"' for delay in delays)
        process = self.start("run", self.script(SCRIPT % (attempts, topics)), "--drain", "1s", "--log-format", "json",
                             *properties, env={"KAFKA_BROKERS": self.kafka.address})
        process.http = process.wait_log("listening on http://").split("http://")[1].split('"')[0]
        self.addCleanup(lambda: process.popen.poll() is None and process.stop())
        return process

    def write(self, events, **options):
        kcat.write(self.kafka.address, "orders", [
            (f"k{n % 50}", json.dumps({"type": "order.created", "data": {"n": n, "good_at": good_at}}))
            for n, good_at in events], [("own", "kept"), ("event-type", "order.created")], **options)

    def count(self, topic):
        try:
            return self.wire.count(topic)
        except WireError:
            return 0

    def records(self, topic, count):
        """Records as `sipeat consume --json` shows them: kcat cuts headers at a zero byte."""
        process = self.run_sipeat("consume", topic, "--from-beginning", "--max", count, "--timeout", "10s", "--json",
                                  env={"KAFKA_BROKERS": self.kafka.address})
        return [json.loads(line) for line in process.out]

    def handled(self):
        return [json.loads(r.value) for r in kcat.read(self.kafka.address, "handled")]

    def test_each_attempt_comes_from_its_topic_when_it_is_due(self):
        self.write([(1, 1), (2, 2), (3, 3), (4, 4), (5, 9)])
        process = self.flow(4, "300ms", "1s")
        wait_for(lambda: self.count("handled") == 4 and self.count("orders-dlt") == 1, process.tail)
        self.assertEqual({t: p for t, p in self.wire.topics().items() if "-retry-" in t},
                         {"orders-retry-300": [0, 1, 2], "orders-retry-1000": [0, 1, 2]})
        self.assertEqual({r["n"]: r["attempt"] for r in self.handled()}, {1: 1, 2: 2, 3: 3, 4: 4})
        originals = {json.loads(r.value)["data"]["n"]: r for r in kcat.read(self.kafka.address, "orders")}
        for one in self.handled():
            original = originals[one["n"]]
            self.assertEqual((one["place"], one["own"]), (f"orders:{original.partition}:{original.offset}", "kept"))
            self.assertEqual((one["id"], one["headers"]), (one["place"], ["event-type", "own"]))
        first, later = self.records("orders-retry-300", 4), self.records("orders-retry-1000", 5)
        self.assertEqual((len(first), len(later)), (4, 5))  # the fourth attempt too comes from the last topic
        for record in first:
            n = json.loads(record["value"])["data"]["n"]
            self.assertEqual(record["partition"], originals[n].partition)
            self.assertEqual(integer(record, "retry_topic-attempts", 4), 2)
            self.assertEqual(integer(record, "kafka_original-offset", 8), originals[n].offset)
            due = integer(record, "retry_topic-backoff-timestamp", 6)  # as Java's BigInteger writes it
            self.assertLess(abs(due - time.time() * 1000), 60000)
            at = [r["at"] for r in self.handled() if r["n"] == n and r["attempt"] == 2]
            self.assertTrue(all(due <= moment <= due + 5000 for moment in at), (due, at))
        letter = kcat.read(self.kafka.address, "orders-dlt")[0]
        self.assertEqual((letter.text("kafka_dlt-original-topic"), letter.text("own"), letter.text("sipeat-attempts")),
                         ("orders", "kept", "4"))
        dead = self.records("orders-dlt", 1)[0]
        self.assertEqual(integer(dead, "kafka_dlt-original-offset", 8), originals[5].offset)
        self.assertLess(letter.text("sipeat-first-failed-at"), letter.text("sipeat-failed-at"))
        self.assertNotIn("retry_topic-backoff-timestamp", letter.headers)
        metrics = get("http://" + process.http + "/metrics")[1].decode()
        self.assertIn('sipeat_flow_moved_total{group="orders"} 9\n', metrics)
        self.assertIn('sipeat_flow_later{group="orders"} 0\n', metrics)
        self.assertEqual(process.stop(), 0, process.tail())
        for topic in ("orders", "orders-retry-300", "orders-retry-1000"):
            self.assertEqual(self.wire.lag("orders", topic), 0)

    def test_what_waits_for_long_holds_up_nothing_and_survives_a_restart(self):
        """Far more events wait than may be in flight; max.poll.interval.ms passes meanwhile."""
        properties = ("-X", "session.timeout.ms=1500", "-X", "heartbeat.interval.ms=300",
                      "-X", "max.poll.interval.ms=3000")
        self.write([(n, 2) for n in range(EVENTS)])
        process = self.flow(2, "6s", properties=properties)
        wait_for(lambda: self.count("orders-retry-6000") >= EVENTS // 2, process.tail, 60)
        process.popen.kill()
        process.wait()
        process = self.flow(2, "6s", properties=properties)
        wait_for(lambda: self.count("orders-retry-6000") >= EVENTS, process.tail, 60)
        self.write([(EVENTS + n, 1) for n in range(100)])
        began = time.monotonic()
        wait_for(lambda: sum(1 for r in self.handled() if r["attempt"] == 1) >= 100, process.tail, 20)
        self.assertLess(time.monotonic() - began, 5)
        wait_for(lambda: len({r["n"] for r in self.handled()}) == EVENTS + 100, process.tail, 60)
        wait_for(lambda: self.wire.lag("orders", "orders-retry-6000") == 0, "everything committed")
        self.assertNotIn("max.poll", process.log)
        self.assertEqual(self.count("orders-dlt"), 0)
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
