"""Bad days of topics and offsets: a topic deleted and made again, or gaining partitions; offsets that were reset or are
gone; keys that are missing or huge."""

import json
import os
import re
import signal

from support import harness, kcat
from support.harness import get, wait_for
from support.kafka import Kafka

ROUNDS = 20 if os.environ.get("SIPEAT_SOAK") else 1
QUICK = ("-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=300",
         "-X", "topic.metadata.refresh.interval.ms=500")
SCRIPT = """
local sipeat = require "sipeat"

sipeat.flow {
  topic = "work", group = "work", concurrency = 16, %s
  on = { ["*"] = function(event, ctx)
    if event.data.stuck then
      ctx:sleep("1h")
    end
    ctx:emit("handled", nil, event.id)
  end },
}
"""


def body(name, **data):
    return json.dumps({"id": name, "type": "t", "data": data})


def events(first, last):
    return [(f"k{n}", body(f"e{n}")) for n in range(first, last)]


def names(first, last):
    return {f"e{n}" for n in range(first, last)}


MISSED, RESET = "Subscribed topic not available", "to BEGINNING"


class Topics(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def setUp(self):
        super().setUp()
        for topic, partitions in {"work": 2, "handled": 1}.items():
            self.kafka.wire.create_topic(topic, partitions, {"max.message.bytes": 4_000_000})
            self.addCleanup(self.forget, topic)

    def forget(self, topic):
        if topic in self.kafka.wire.topics():
            self.kafka.wire.delete_topic(topic)

    def begin(self, options="", *extra):
        return self.start("run", self.script(SCRIPT % options), *QUICK, *extra,
                          env={"KAFKA_BROKERS": self.kafka.address})

    def write(self, records):
        kcat.write(self.kafka.address, "work", records)

    def handled(self):
        return [r.value.decode() for r in kcat.read(self.kafka.address, "handled")]

    def until(self, process, expected):
        process.until(lambda: set(self.handled()) >= expected, lambda: f"all of {sorted(expected)[:5]}…, but "
                      f"{sorted(expected - set(self.handled()))[:10]}", 40, every=0.3)

    def none_left(self, process):
        process.until(lambda: self.kafka.wire.lag("work", "work") == 0,
                      lambda: f"lag 0, but {self.kafka.wire.committed('work', 'work')}", 30)

    def partitions(self, process):
        """How many it holds now."""
        address = re.search(r"listening on (http://[\w.:]+)", process.wait_log("listening on "))[1]
        page = get(address + "/metrics")[1].decode()
        return int(re.search(r'^sipeat_flow_partitions{group="work"} (\d+)$', page, re.M)[1])

    def made_again(self, process, long):
        """The topic, deleted and made again, as soon as that can be seen; long: once it has been missed."""
        missed, reset = (process.log.count(text) for text in (MISSED, RESET))
        self.kafka.wire.delete_topic("work")
        if long:
            process.until(lambda: self.partitions(process) == 0, "the topic is missed")
        self.kafka.wire.create_topic("work", 2, {"max.message.bytes": 4_000_000})
        # A topic that soon has more than was read of the old one looks like that one, unless it was missed.
        process.until(lambda: long or process.log.count(MISSED) > missed or process.log.count(RESET) > reset + 1,
                      "both partitions are new")

    def test_a_topic_that_is_deleted_and_made_again_is_read_from_its_beginning(self):
        expected = names(0, 100)
        self.write(events(0, 100))
        for number in range(ROUNDS):
            # A member that is late on a busy machine would be given partitions without offsets, and say nothing.
            process = self.begin("", "-X", "session.timeout.ms=30000")
            self.until(process, expected)
            self.none_left(process)
            for long in (False, True):
                self.made_again(process, long)
                first = 1000 * (2 * number + long + 1)
                self.write(events(first, first + 10))
                expected |= names(first, first + 10)
                self.until(process, expected)
                self.none_left(process)
            self.assertEqual(process.stop(), 0, process.tail())
        self.assertEqual(set(self.handled()), expected)

    def gain(self, options):
        wire = self.kafka.wire
        process = self.begin(options)
        process.until(lambda: wire.group_state("work") == ("Stable", 1), "a member")
        process.until(lambda: all(offset >= 0 for offset, _ in wire.committed("work", "work").values()),
                      "the end is committed")
        expected = set()
        for number in range(ROUNDS):
            wire.add_partitions("work", 2 + 4 * (number + 1))
            self.write(events(50 * number, 50 * number + 50))  # before anybody knows
            expected |= names(50 * number, 50 * number + 50)
            self.until(process, expected)
            self.none_left(process)
        self.assertEqual(process.stop(), 0, process.tail())
        self.assertEqual(sorted(self.handled()), sorted(expected))

    def test_new_partitions_are_read_from_their_beginning(self):
        self.gain("")

    def test_new_partitions_are_read_from_their_beginning_by_a_group_that_began_at_the_end(self):
        self.gain('from = "end",')

    def test_a_reset_group_repeats_what_it_was_told_to(self):
        self.write([("stuck", body("stuck", stuck=True)), *events(0, 40)])
        process = self.begin()
        self.until(process, names(0, 40))
        wait_for(lambda: any(text for _, text in self.kafka.wire.committed("work", "work").values()), process.tail)
        self.assertEqual(process.stop(signal.SIGKILL), -signal.SIGKILL)
        wait_for(lambda: self.kafka.wire.group_state("work")[1] == 0, "the member is missed", 20)
        done = self.run_sipeat("group", "reset", "work", "--topic", "work", "--to", "beginning", "--yes",
                               env={"KAFKA_BROKERS": self.kafka.address})
        self.assertEqual(done.returncode, 0, done.tail())
        process = self.begin()
        process.until(lambda: len(self.handled()) == 80, "all of them again")
        self.assertEqual(process.stop(signal.SIGKILL), -signal.SIGKILL)

    def test_offsets_that_are_gone_are_followed_by_what_is_there(self):
        wire = self.kafka.wire
        self.write(events(0, 20))
        process = self.begin()
        self.until(process, names(0, 20))
        self.none_left(process)
        self.assertEqual(process.stop(), 0, process.tail())
        self.write(events(20, 60))
        wire.delete_records("work", wire.end_offsets("work"))
        self.write(events(60, 70))
        process = self.begin()
        self.until(process, names(60, 70))
        self.none_left(process)
        self.assertEqual(process.stop(), 0, process.tail())
        self.assertEqual(set(self.handled()), names(0, 20) | names(60, 70))

    def test_keys_that_are_null_or_a_megabyte(self):
        huge = "k" * (1 << 20)
        self.write([(huge, body(f"h{n}")) for n in range(3)] + [(None, body(f"n{n}")) for n in range(50)])
        process = self.begin()
        self.until(process, {f"h{n}" for n in range(3)} | {f"n{n}" for n in range(50)})
        self.none_left(process)
        self.assertEqual(process.stop(), 0, process.tail())
        self.assertEqual([name for name in self.handled() if name[0] == "h"], ["h0", "h1", "h2"])
        self.assertEqual(len(self.handled()), 53)


if __name__ == "__main__":
    harness.main()
