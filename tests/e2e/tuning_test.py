"""The preset of tuning, topics as a script declares them, and names with an asterisk, on a real Kafka."""

import struct

from support import kcat
from support.harness import Case, main
from support.kafka import Kafka

SNAPPY = 2
SCRIPT = """
local sipeat = require "sipeat"

sipeat.topics {
  ["order.created"] = { partitions = 3, retention = "7d" },
  ["order.table"] = { partitions = 2, compact = true, config = { ["min.insync.replicas"] = 1 } },
  ["order.old"] = { partitions = 5 },
  ["order.many"] = { replication = 3 },
}

sipeat.flow {
  topics = { "order.*" }, group = "g",
  on = {
    ["order.*"] = function(event, ctx)
      local left = math.ceil((ctx.deadline - sipeat.task.monotonic_ms()) / 1000)
      ctx:emit("out", "k", ("x"):rep(400) .. event.topic .. " " .. left)
    end,
  },
}
"""


class TuningTest(Case):
    def start_kafka(self):
        self.kafka = self.enterContext(Kafka())
        self.kafka.wire.create_topic("order.old", 1)
        for name in ("out", "order.created-dlt", "orders"):
            self.kafka.wire.create_topic(name, 1)

    def batches(self, topic):
        """Attributes and number of records of each batch in the broker's own file."""
        data = (self.kafka.directory / f"data/{topic}-0/00000000000000000000.log").read_bytes()
        at, found = 0, []
        while at + 61 <= len(data):
            length, attributes, count = (struct.unpack_from(form, data, at + place)[0]
                                         for form, place in ((">i", 8), (">h", 21), (">i", 57)))
            found.append((attributes, count))
            at += 12 + length
        return found

    def test_a_script_gets_its_topics_and_the_preset_counts_everywhere(self):
        self.start_kafka()
        process = self.start("run", self.script(SCRIPT), "--no-embedded",
                             env={"KAFKA_BROKERS": self.kafka.address, "KAFKA_TUNING": "throughput"})
        process.wait_log("created the topic order.created")
        process.wait_log("created the topic order.table")
        process.wait_log("the topic order.old has 1 partitions, and not 5 as declared")
        process.wait_log("the topic order.many cannot be created")
        wire = self.kafka.wire
        self.assertEqual({name: len(wire.leaders(name)) for name in ("order.created", "order.table")},
                         {"order.created": 3, "order.table": 2})
        self.assertEqual(wire.topic_config("order.created")["retention.ms"], str(7 * 24 * 3600 * 1000))
        self.assertEqual(wire.topic_config("order.table")["cleanup.policy"], "compact")
        for topic in ("order.created", "order.old", "order.created-dlt", "orders"):
            kcat.write(self.kafka.address, topic, [("k", '{"n": 1}')] * 20, headers=[("ce_type", b"order.x"), (
                "ce_id", b"1"), ("ce_source", b"s"), ("ce_specversion", b"1.0")])
        process.until(lambda: wire.count("out") == 40, lambda: f"40 outputs, {wire.count('out')}", 60)
        values = {record.value.decode().lstrip("x") for record in kcat.read(self.kafka.address, "out")}
        topics = ("order.created", "order.old")
        self.assertLessEqual(values, {f"{topic} {left}" for topic in topics for left in (29, 30)})
        batches = self.batches("out")
        self.assertEqual({attributes & 7 for attributes, _ in batches}, {SNAPPY})
        self.assertLess(len(batches), 40)
        self.assertEqual(process.stop(), 0)

    def test_a_preset_that_there_is_not_is_refused_at_the_start(self):
        done = self.run_sipeat("run", self.script(SCRIPT), "-X", "tuning=fast", "-b", "127.0.0.1:1")
        self.assertEqual(done.returncode, 5)
        self.assertIn("there is only", done.log)


if __name__ == "__main__":
    main()
