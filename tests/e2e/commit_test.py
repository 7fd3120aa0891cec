"""What a group has finished, as Kafka keeps it: committed offsets, their metadata, and who can go on from there."""

import base64
import collections
import json
import signal
import subprocess

from support import harness, kcat
from support.harness import wait_for
from support.kafka import Kafka

EVENTS, KEYS, IN_FLIGHT, BUSY = 3000, 60, 16, 150_000
# Whoever comes after a member that did not leave is that member: nobody waits for the end of a session, and on a busy
# machine none ends too early.
SAME_MEMBER = ("-X", "group.instance.id=one", "-X", "session.timeout.ms=10000")
SCRIPT = """
local sipeat = require "sipeat"

sipeat.flow {
  topic = "work", group = "%s", concurrency = %d,
  on = { ["*"] = function(event, ctx)
    if %s then
      ctx.log:info("waits for ever")
      ctx:sleep("1h")
    end
    ctx:emit("handled", event.key, event.id)
  end },
}
""".replace("%d", str(IN_FLIGHT))
TRANSACTION = {"transactional.id": "writer", "linger.ms": 1}


def events(first, last):
    return [(f"k{n % KEYS}", json.dumps({"id": f"e{n}", "type": "t", "data": {"n": n}})) for n in range(first, last)]


def finished(offset, metadata):
    """How many records of a partition a commit says are done: those before its offset, and the runs beyond it, as
    runtime/flow/ranges.c writes them."""
    numbers, value, shift = [], 0, 0
    for byte in base64.b64decode(metadata.partition(":")[2])[4:]:  # behind the checksum
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    return offset + sum(numbers[2::2])  # no key is held: pairs of a gap and a length follow that number


class Commit(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def setUp(self):
        super().setUp()
        self.group = self._testMethodName
        for topic, partitions in {"work": 2, "handled": 1}.items():
            self.kafka.wire.create_topic(topic, partitions)
            self.addCleanup(self.kafka.wire.delete_topic, topic)

    def begin(self, stuck="false", member=()):
        """A process whose handler waits for ever when `stuck` is true of the event."""
        script = self.script(SCRIPT % (self.group, stuck))
        return self.start("run", script, *member, env={"KAFKA_BROKERS": self.kafka.address})

    def write(self, first=0, last=EVENTS):
        kcat.write(self.kafka.address, "work", events(first, last))

    def handled(self):
        return collections.Counter(r.value.decode() for r in kcat.read(self.kafka.address, "handled"))

    def committed(self):
        return self.kafka.wire.committed(self.group, "work")

    def none_left(self, process):
        process.until(lambda: self.kafka.wire.lag(self.group, "work") == 0, lambda: f"lag 0: {self.committed()}", 30)

    def each_once(self):
        handled = self.handled()
        self.assertEqual(set(handled), {f"e{n}" for n in range(EVENTS)})
        self.assertEqual(sum(handled.values()), EVENTS, "handled again")

    def test_what_finished_beyond_a_stuck_event_survives_a_kill(self):
        wire = self.kafka.wire
        self.write()
        process = self.begin("event.data.n == 7 or event.data.n == 8 or event.data.n == 1500", SAME_MEMBER)
        waiting = sum(n % KEYS in (7, 8) or n >= 1500 and n % KEYS == 0 for n in range(EVENTS))
        wait_for(lambda: wire.count("handled") == EVENTS - waiting, process.tail, 60)
        wait_for(lambda: sum(finished(*at) for at in self.committed().values()) == EVENTS - waiting,
                 lambda: f"all of it is committed: {self.committed()}\n{process.tail()}", 20)
        committed = self.committed()
        self.assertLess(sum(offset for offset, _ in committed.values()), sum(wire.end_offsets("work").values()))
        for _, metadata in committed.values():
            self.assertRegex(metadata, r"^1:[A-Za-z0-9+/]+={0,2}$")
            self.assertLessEqual(len(metadata), 4096)
        self.assertEqual(process.stop(signal.SIGKILL), -signal.SIGKILL)
        process = self.begin(member=SAME_MEMBER)
        self.none_left(process)
        self.assertEqual({metadata for _, metadata in self.committed().values()}, {""})
        self.assertEqual(process.stop(), 0, process.tail())
        self.each_once()

    def test_a_second_signal_stops_at_once_and_loses_nothing(self):
        self.write()
        process = self.begin("event.data.n == 7", SAME_MEMBER)
        wait_for(lambda: self.kafka.wire.count("handled") > EVENTS / 2, process.tail, 60)
        process.wait_log("waits for ever")
        process.popen.send_signal(signal.SIGTERM)
        process.wait_log("finishing what is in flight")
        self.assertEqual(process.stop(deadline=5), 128 + signal.SIGTERM, process.tail())
        process = self.begin(member=SAME_MEMBER)
        self.none_left(process)
        self.assertEqual(process.stop(), 0, process.tail())
        handled = self.handled()
        self.assertEqual(set(handled), {f"e{n}" for n in range(EVENTS)}, "lost")
        self.assertLessEqual(sum(handled.values()), EVENTS + IN_FLIGHT, "more again than was in flight")

    def test_a_member_that_joins_costs_the_others_nothing(self):
        """Commits that are made while the group forms anew would be refused, and everything given up with them."""
        self.write(0, BUSY)
        seldom = ("-X", "heartbeat.interval.ms=1500")  # so long does one wait for the other
        first = self.begin(member=seldom)
        wait_for(lambda: self.kafka.wire.count("handled") > BUSY / 10, first.tail, 60)
        second = self.begin(member=seldom)
        second.until(lambda: self.kafka.wire.group_state(self.group) == ("Stable", 2), "two members", 30)
        self.none_left(second)
        for process in (first, second):
            self.assertEqual(process.stop(), 0, process.tail())
        handled = self.handled()
        self.assertEqual(set(handled), {f"e{n}" for n in range(BUSY)}, "lost")
        self.assertEqual(sum(handled.values()), BUSY, "handled again")

    def test_other_clients_and_this_one_take_over_from_each_other(self):
        wire = self.kafka.wire
        self.write(0, 200)
        ends = wire.end_offsets("work")
        wire.commit(self.group, "work", {0: (ends[0] - 10, "another program\u2019s"), 1: (ends[1] - 5, "1:AAAAAAAA")})
        process = self.begin()
        self.none_left(process)
        self.assertIn("cannot be read", process.log)  # the second one claims to be ours
        self.assertNotIn("partition 0 cannot be read", process.log)
        wait_for(lambda: sum(self.handled().values()) == 15, process.tail)
        self.assertEqual(process.stop(), 0, process.tail())
        told = subprocess.run(
            self.kafka.java("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server",
                            self.kafka.address, "--describe", "--group", self.group),
            capture_output=True, text=True, timeout=60, check=True).stdout
        rows = [line.split() for line in told.splitlines() if line.startswith(f"{self.group} ")]
        self.assertEqual({(int(row[2]), int(row[3]), int(row[5])) for row in rows},
                         {(index, end, 0) for index, end in ends.items()}, told)
        self.write(200, 210)
        out = kcat.run(self.kafka.address, "-G", self.group, "-c", "10", "-q", "-f", "%s\\n", "work",
                       settings={"auto.offset.reset": "error"})
        self.assertEqual({json.loads(line)["id"] for line in out.splitlines()}, {f"e{n}" for n in range(200, 210)})

    def test_aborted_and_control_records_are_passed(self):
        wire = self.kafka.wire
        kcat.write(self.kafka.address, "work", events(0, 50), settings=TRANSACTION)
        aborted = subprocess.Popen(
            ["kcat", "-b", self.kafka.address, "-P", "-t", "work", "-K", ":", "-X", "transactional.id=writer", "-X",
             "linger.ms=1"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        ends = sum(wire.end_offsets("work").values())
        aborted.stdin.write("".join(f"{key}:{value}\n" for key, value in events(50, 100)).encode())
        aborted.stdin.flush()
        wait_for(lambda: sum(wire.end_offsets("work").values()) > ends, "the records of the transaction are there")
        aborted.kill()
        aborted.communicate(timeout=20)
        process = self.begin()
        wait_for(lambda: len(self.handled()) == 50, process.tail)
        kcat.write(self.kafka.address, "work", events(100, 150), settings=TRANSACTION)  # its begin aborts the other
        self.none_left(process)
        self.assertEqual(set(self.handled()), {f"e{n}" for n in [*range(50), *range(100, 150)]})
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
