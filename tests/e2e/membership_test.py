"""Members of a group: those that keep their name across restarts, a name that two have, and slow handlers."""

import json
import signal
import time

from support import harness, kcat
from support.harness import wait_for
from support.kafka import Kafka

QUICK = ("-X", "session.timeout.ms=3000", "-X", "heartbeat.interval.ms=300")
SCRIPT = """
local sipeat = require "sipeat"

for _, topic in ipairs { %s } do
  sipeat.flow {
    topic = topic, group = "%s", %s
    on = { ["*"] = function(event, ctx)
      ctx:sleep("%s")
      ctx:emit("handled", event.key, event.id)
    end },
  }
end
"""


def events(first, last):
    return [(f"k{n}", json.dumps({"id": f"e{n}", "type": "t", "data": {}})) for n in range(first, last)]


class Membership(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def setUp(self):
        super().setUp()
        self.group = self._testMethodName  # static members of a test before this one are missed only after a while
        for topic, partitions in {"work": 4, "more": 1, "handled": 1}.items():
            self.kafka.wire.create_topic(topic, partitions)
            self.addCleanup(self.kafka.wire.delete_topic, topic)

    def begin(self, *extra, topics='"work"', options="", pause="1ms", **env):
        path = self.script(SCRIPT % (topics, self.group, options, pause), f"script{len(self.processes)}.lua")
        return self.start("run", path, *QUICK, *extra, env={"KAFKA_BROKERS": self.kafka.address, **env})

    def handled(self):
        return sorted(r.value.decode() for r in kcat.read(self.kafka.address, "handled"))

    def members(self, count):
        return lambda: self.kafka.wire.group_state(self.group) == ("Stable", count)

    def test_a_static_member_is_not_missed_while_it_restarts(self):
        wire = self.kafka.wire
        first = self.begin(options='instance = "first",')
        second = self.begin(KAFKA_GROUP_INSTANCE_ID="second")
        second.until(self.members(2), "two members")
        kcat.write(self.kafka.address, "work", events(0, 40))
        wait_for(lambda: wire.lag(self.group, "work") == 0, first.tail)
        self.assertEqual(first.stop(deadline=3), 0, first.tail())
        self.assertEqual(wire.group_state(self.group), ("Stable", 2))
        kcat.write(self.kafka.address, "work", events(40, 80))
        wait_for(lambda: wire.count("handled") > 40, second.tail)
        self.assertLess(wire.count("handled"), 80)  # what the other owns waits for it
        self.assertEqual(wire.group_state(self.group), ("Stable", 2))
        again = self.begin(options='instance = "first",')
        wait_for(lambda: wire.lag(self.group, "work") == 0, again.tail)
        self.assertEqual(again.stop(), 0, again.tail())
        self.assertEqual(second.stop(), 0, second.tail())
        self.assertEqual(self.handled(), sorted(f"e{n}" for n in range(80)))

    def test_a_name_that_two_have_is_the_younger_ones(self):
        wire = self.kafka.wire
        older = self.begin(options='instance = "same",')
        older.until(self.members(1), "a member")
        kcat.write(self.kafka.address, "work", events(0, 20))
        wait_for(lambda: wire.lag(self.group, "work") == 0, older.tail)
        younger = self.begin(options='instance = "same",')
        line = older.wait_log("takes nothing until the program is started again")
        self.assertIn("group.instance.id", line)
        self.assertIn("instance same", line)
        kcat.write(self.kafka.address, "work", events(20, 40))
        wait_for(lambda: wire.lag(self.group, "work") == 0, younger.tail)
        deadline = time.monotonic() + 4  # longer than a flow waits before it joins again
        while time.monotonic() < deadline:
            self.assertIsNone(younger.popen.poll())
            self.assertEqual(wire.group_state(self.group)[1], 1)
        self.assertNotIn("takes nothing", younger.log)
        self.assertEqual(older.stop(), 0, older.tail())
        self.assertEqual(younger.stop(), 0, younger.tail())
        self.assertEqual(self.handled(), sorted(f"e{n}" for n in range(40)))

    def test_two_flows_of_one_group_have_a_name_each(self):
        process = self.begin("-X", "group.instance.id=here", topics='"work", "more"')
        process.until(self.members(2), "two members")
        kcat.write(self.kafka.address, "work", events(0, 20))
        kcat.write(self.kafka.address, "more", events(20, 25))
        wait_for(lambda: len(self.handled()) == 25, process.tail)
        self.assertEqual(process.stop(), 0, process.tail())
        self.assertNotIn("fenced", process.log.lower())

    def test_handlers_slower_than_the_longest_poll_interval_keep_their_partitions(self):
        wire = self.kafka.wire
        process = self.begin("-X", "max.poll.interval.ms=3000", options="concurrency = 4, max_in_flight = 4,",
                             pause="5s")
        other = self.begin("-X", "max.poll.interval.ms=3000", options="concurrency = 4, max_in_flight = 4,",
                           pause="5s")
        process.until(self.members(2), "two members")
        kcat.write(self.kafka.address, "work", events(0, 16))

        def steady():
            self.assertEqual(wire.group_state(self.group), ("Stable", 2))
            return wire.lag(self.group, "work") == 0

        process.until(steady, "lag 0", 40)
        for each in (process, other):
            self.assertNotIn("MAX_POLL", each.log.upper())
            self.assertEqual(each.stop(signal.SIGTERM), 0, each.tail())
        self.assertEqual(self.handled(), sorted(f"e{n}" for n in range(16)))


if __name__ == "__main__":
    harness.main()
