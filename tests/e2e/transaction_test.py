"""Exactly once against real Kafka: a transactional flow that is killed, rebalanced and frozen in the middle.

Whoever reads committed records (kcat, an independent client) finds each id once, in the outputs or in the dead letters;
a reader of everything finds more, which shows that something was aborted. SIPEAT_SOAK=1 runs the full counts.
"""

import collections
import json
import os
import random
import signal

from support import harness, kcat
from support.harness import wait_for
from support.kafka import Kafka

SOAK = os.environ.get("SIPEAT_SOAK") == "1"
EVENTS = 100_000 if SOAK else 2000
KILLS = 100 if SOAK else 3
VISITS = 30 if SOAK else 1
OUTAGES = 10 if SOAK else 1
FREEZES = 10 if SOAK else 1
PARTITIONS, KEYS = 4, 101
SCRIPT = """
local sipeat = require "sipeat"

local function handle(event, ctx)
  local n = event.data.n
  ctx:emit("WORK-handled", event.key, event.id)
  if n % 10 == 0 then
    ctx:sleep("5ms")
  end
  if n % 37 == 0 and ctx.attempt == 1 then
    return nil, "not yet"
  elseif n % 50 == 7 then
    return nil, sipeat.permanent "poison"
  end
  ctx:emit("WORK-handled", event.key, event.id .. "/2")
end

sipeat.flow {
  topic = "WORK", group = "WORK", key = "data.key", concurrency = 16, transactional = true,
  batch = { events = 200, time = "50ms" },
  retry = { attempts = 3, backoff = { "5ms", "20ms" } }, on = { ["work.do"] = handle },
}
"""
# A killed member is missed after 1 s instead of 45 s, and its transaction after 4 s instead of 20 s.
SETTINGS = {"session.timeout.ms": 1000, "heartbeat.interval.ms": 300, "transaction.timeout.ms": 4000}
BROKER = {"group.min.session.timeout.ms": 500, "transaction.abort.timed.out.transaction.cleanup.interval.ms": 200}


class Transaction(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka(BROKER))

    def setUp(self):
        super().setUp()
        self.wire = self.kafka.wire
        self.work = self._testMethodName  # a group and topics of its own
        self.handled, self.letters = f"{self.work}-handled", f"{self.work}-dlt"
        for topic, partitions in ((self.work, PARTITIONS), (self.handled, 2), (self.letters, PARTITIONS)):
            self.wire.create_topic(topic, partitions)
        self.path = self.script(SCRIPT.replace("WORK", self.work))
        self.written = 0

    def write(self, count):
        first, self.written = self.written, self.written + count
        kcat.write(self.kafka.address, self.work, [(f"k{n % KEYS}", json.dumps(
            {"id": f"e{n}", "type": "work.do", "data": {"n": n, "key": f"k{n % KEYS}"}}))
            for n in range(first, self.written)])

    def begin(self):
        options = [part for name, value in SETTINGS.items() for part in ("-X", f"{name}={value}")]
        return self.start("run", self.path, *options, env={"KAFKA_BROKERS": self.kafka.address})

    def read(self, topic, level="read_committed"):
        return kcat.read(self.kafka.address, topic, settings={"isolation.level": level})

    def middle(self, process, chance):
        """Waits until the process is somewhere in the middle of the events; false when they are over."""
        goal = self.wire.count(self.handled) + chance.randint(100, 2 * EVENTS // (KILLS + 1))
        process.until(lambda: self.wire.count(self.handled) >= goal or self.finished(), "some outputs", 60, every=0.005)
        return not self.finished()

    def is_open(self):
        """Whether a transaction has written something and is not over."""
        ends = [sum(self.wire.end_offsets(self.handled, isolation=level).values()) for level in (0, 1)]
        return ends[0] > ends[1]

    def freeze(self, process, chance):
        """Stops the process where it stands, in a transaction."""
        self.middle(process, chance)
        while True:
            process.until(self.is_open, "an open transaction", 30, every=0)
            process.popen.send_signal(signal.SIGSTOP)
            if self.is_open():
                return
            process.popen.send_signal(signal.SIGCONT)

    def finished(self):
        return self.wire.lag(self.work, self.work) == 0

    def finish(self, process):
        process.until(self.finished, lambda: f"lag 0, but {self.wire.lag(self.work, self.work)}", 600 if SOAK else 60)

    def settled(self):
        """What committed readers find, once no transaction is open: outputs, and the ids of dead letters."""
        wait_for(lambda: not self.is_open(), "no transaction is left open", 30)
        return ([r.value.decode() for r in self.read(self.handled)],
                [json.loads(r.value)["id"] for r in self.read(self.letters)])

    def check(self):
        """Each id is there once. How many more a reader of everything finds: the aborted ones."""
        outputs, letters = self.settled()
        dead = {f"e{n}" for n in range(self.written) if n % 50 == 7}
        alive = {f"e{n}" for n in range(self.written)} - dead
        expected = collections.Counter(alive | {f"{id}/2" for id in alive})
        found = collections.Counter(outputs)
        self.assertEqual({v: n for v, n in found.items() if expected[v] != n}, {}, "outputs that are there too often")
        self.assertEqual(sorted(expected - found), [], "outputs that are missing")
        self.assertEqual(collections.Counter(letters), collections.Counter(dead))
        everything = len(self.read(self.handled, "read_uncommitted")) + len(self.read(self.letters, "read_uncommitted"))
        more = everything - len(outputs) - len(letters)
        print(f"{len(outputs)} outputs, {len(letters)} dead letters, once each; {more} aborted ones unseen", flush=True)
        return more

    def test_kill_in_the_middle(self):
        chance, ended = random.Random(20260107), 0
        self.write(EVENTS)
        while ended < KILLS:
            process = self.begin()
            if self.finished():
                break
            self.freeze(process, chance)
            self.assertEqual(process.stop(signal.SIGKILL), -signal.SIGKILL)
            ended += 1
        self.assertGreaterEqual(ended, 3)
        process = self.begin()
        self.finish(process)
        self.assertEqual(process.stop(), 0, process.tail())
        self.assertGreater(self.check(), 0, "nothing was aborted: this has proved nothing")

    def test_members_come_and_go(self):
        chance = random.Random(20260108)
        self.write(EVENTS)
        first = self.begin()
        for _ in range(VISITS):
            self.middle(first, chance)
            second = self.begin()
            second.wait_log("joining the group")
            wait_for(lambda: self.wire.group_state(self.work) == ("Stable", 2) or self.finished(), second.tail, 30)
            self.middle(first, chance)
            self.assertEqual(second.stop(), 0, second.tail())
        self.finish(first)
        self.assertEqual(first.stop(), 0, first.tail())
        self.check()

    def test_frozen_process_that_wakes_finishes_nothing(self):
        chance = random.Random(20260109)
        for _ in range(FREEZES):
            self.write(EVENTS)
            frozen = self.begin()
            self.freeze(frozen, chance)
            other = self.begin()
            self.finish(other)
            frozen.popen.send_signal(signal.SIGCONT)
            self.write(EVENTS // 4)
            self.finish(other)
            wait_for(lambda: self.wire.group_state(self.work) == ("Stable", 2), frozen.tail, 60)
            for process in (frozen, other):
                self.assertEqual(process.stop(), 0, process.tail())
        self.assertGreater(self.check(), 0, "nothing was aborted: this has proved nothing")

    def test_broker_that_goes_and_comes(self):
        chance = random.Random(20260111)
        self.write(EVENTS)
        process = self.begin()
        for _ in range(OUTAGES):
            self.middle(process, chance)
            self.kafka.kill()
            self.kafka.start()
        self.finish(process)
        self.assertEqual(process.stop(), 0, process.tail())
        self.check()

    def test_sigterm_leaves_nothing_open_and_repeats_nothing(self):
        chance, ended = random.Random(20260110), 0
        self.write(EVENTS)
        while not self.finished():
            process = self.begin()
            if not self.middle(process, chance):
                process.stop()
                break
            self.assertEqual(process.stop(), 0, process.tail())
            self.assertFalse(self.is_open(), "a transaction is left open")
            ended += 1
        self.assertGreaterEqual(ended, 2)
        self.assertEqual(self.check(), 0, "something was aborted")


if __name__ == "__main__":
    harness.main()
