"""The wall clock jumps, an hour forward and two back, while a flow works: nothing is lost, repeated or late.

libfaketime gives the process a wall clock that this test sets; the monotonic one goes on as it is.
"""

import json
import pathlib
import time

from support import harness, kcat
from support.harness import save
from support.kafka import Kafka

HOUR = 3600
SCRIPT = """
local sipeat = require "sipeat"
local breaker = require "sipeat.breaker"
local rate_limit = require "sipeat.rate_limit"
local task = require "sipeat.task"

-- Fails at its first attempt, or at each, as the event says.
local function handle(event, ctx)
  ctx:sleep "5ms"
  if event.data.kind == "dead" or event.data.kind == "second" and ctx.attempt == 1 then
    return nil, "as asked", "AS_ASKED"
  end
  ctx:emit(event.topic .. "-out", event.key, ("%s %d"):format(event.id, task.now_ms()))
end

local guarded = rate_limit { name = "clock", rate = "100/s" }(
  breaker { name = "clock", ratio = 0.1, min_calls = 5, window = "1s", open = "100ms" }(handle))
local retry = { attempts = 2, backoff = { "200ms", "200ms" } }
sipeat.flow { topic = "plain", group = "plain", retry = retry, on = { ["*"] = handle } }
sipeat.flow { topic = "guarded", group = "guarded", on = { ["*"] = guarded },
  retry = { attempts = 100, backoff = { "100ms", "200ms" } } }
sipeat.flow { topic = "exact", group = "exact", retry = retry, transactional = true, on = { ["*"] = handle } }
sipeat.flow { topic = "later", group = "later", order = "none", on = { ["*"] = handle },
  retry = { attempts = 2, topics = { "1s" } } }
sipeat.flow { topic = "held", group = "held", retry = retry, after_dead = "hold", hold = { time = "1s" },
  on = { ["*"] = handle } }
sipeat.flow { topic = "boxed", group = "boxed", retry = retry, outbox = true, on = { ["*"] = handle } }
"""
FLOWS = ("plain", "guarded", "exact", "later", "held", "boxed")
KINDS = ("good", "second", "good", "good", "dead", "good")
BATCH = 48


def kind_of(flow, n):
    kind = KINDS[n % len(KINDS)]
    return "good" if flow == "guarded" and kind == "dead" else kind


class Clock(harness.Case):
    def setUp(self):
        super().setUp()
        self.kafka = self.enterContext(Kafka({"group.min.session.timeout.ms": 500}))
        self.wire = self.kafka.wire
        for flow in FLOWS:
            for topic in (flow, f"{flow}-out", f"{flow}-dlt"):
                self.wire.create_topic(topic, 2)
        self.written = 0

    def set_clock(self, seconds):
        """The process's wall clock is that much ahead from now on."""
        save(self.dir / "clock", f"{seconds:+d}\n")

    def write(self):
        """A batch for each flow; each event has a key of its own, so none is held back by another."""
        numbers = range(self.written, self.written + BATCH)
        for flow in FLOWS:
            kcat.write(self.kafka.address, flow, [(f"k{n}", json.dumps(
                {"id": f"e{n}", "type": "t", "data": {"kind": kind_of(flow, n)}})) for n in numbers])
        self.written += BATCH

    def outputs(self, flow):
        """(id, the clock when it was handled, in seconds) of each output."""
        found = [r.value.decode().split() for r in kcat.read(self.kafka.address, f"{flow}-out")]
        return [(name, int(ms) / 1000) for name, ms in found]

    def letters(self, flow):
        return sorted(json.loads(r.value)["id"] for r in kcat.read(self.kafka.address, f"{flow}-dlt"))

    def expected(self, flow, *kinds):
        return sorted(f"e{n}" for n in range(self.written) if kind_of(flow, n) in kinds)

    def undone(self):
        """(flow, lag, outputs that are missing) of those that have not finished all that was written."""
        found = []
        for flow in FLOWS:
            lag = self.wire.lag(flow, flow) + (self.wire.lag(flow, "later-retry-1000") if flow == "later" else 0)
            missing = len(self.expected(flow, "good", "second")) - self.wire.count(f"{flow}-out")
            found += [(flow, lag, missing)] if lag > 0 or missing > 0 else []
        return found

    def test_an_hour_forward_and_two_back(self):
        self.set_clock(0)
        library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        process = self.start(
            "run", self.script(SCRIPT), "--no-watch", "--log-format", "json", "-X", "session.timeout.ms=6000", "-X",
            "heartbeat.interval.ms=500",
            env={"KAFKA_BROKERS": self.kafka.address, "LD_PRELOAD": library, "NO_FAKE_STAT": 1,
                 "FAKETIME_DONT_FAKE_MONOTONIC": 1, "FAKETIME_NO_CACHE": 1,
                 "FAKETIME_TIMESTAMP_FILE": self.dir / "clock"})
        for ahead in (0, HOUR, -HOUR, 0):
            self.write()
            before = self.written * 5 // 6 - BATCH // 2
            process.until(lambda: self.wire.count("plain-out") >= before, "it works")
            self.set_clock(ahead)  # events wait now: for a second attempt, in a retry topic, for a commit
            self.write()
            process.until(lambda: not self.undone(), lambda: f"done, {ahead} s ahead: {self.undone()}", 15)
        for flow in FLOWS:
            outputs = self.outputs(flow)
            self.assertEqual(sorted(name for name, _ in outputs), self.expected(flow, "good", "second"), flow)
            self.assertEqual(self.letters(flow), self.expected(flow, "dead"), flow)
            self.assertEqual({round((at - time.time()) / HOUR) for _, at in outputs}, {-1, 0, 1}, "it did jump")
        self.assertNotIn("SESSTMOUT", process.log)
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
