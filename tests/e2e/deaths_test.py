"""An event that takes the process with it: recognised at the next start, run alone, and in the end a dead letter."""

import json
import os
import pathlib
import signal

from support import harness, kcat
from support.harness import wait_for
from support.kafka import Kafka

EVENTS = 30000 if os.environ.get("SIPEAT_SOAK") else 300
POISON = 37
SCRIPT = """
local sipeat = require "sipeat"

local function handle(event, ctx)
  if event.data.n == %d then
    ctx.log:warn("the poison begins")
    %s
  end
  ctx:emit("handled", event.key, event.id)
end

sipeat.flow {
  topic = "work", group = "work", concurrency = 32, deaths = 3, on = { ["work.do"] = handle },
  budget = { instructions = 1 << 60, time = "%s" }, retry = { attempts = 2, backoff = { "20ms", "100ms" } },
}
"""
STUCK = 'string.find(("a"):rep(40), ("a*"):rep(20) .. "b")'
SPIN = "local till = os.clock() + 1 repeat until os.clock() > till"


class Deaths(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def setUp(self):
        super().setUp()
        wire = self.kafka.wire
        wire.create_topic("work", 2)
        for topic in ("handled", "work-dlt"):
            wire.create_topic(topic, 1)
        for topic in ("work", "handled", "work-dlt"):
            self.addCleanup(wire.delete_topic, topic)
        kcat.write(self.kafka.address, "work", [(f"k{n % 11}", json.dumps(
            {"id": f"e{n}", "type": "work.do", "data": {"n": n}})) for n in range(EVENTS)])

    def write(self, poison, time):
        self.path = self.script(SCRIPT % (POISON, poison, time))
        self.state = pathlib.Path(self.path).parent / "state"

    def begin(self):
        return self.start("run", self.path, "--http", "off", "--hard-limit", "300ms", "--state", str(self.state),
                          "-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=300",
                          env={"KAFKA_BROKERS": self.kafka.address})

    def suspects(self):
        path = self.state / "suspects"
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []

    def finish(self, dead):
        """A last run, in which everything comes to its end."""
        wire, process = self.kafka.wire, self.begin()
        wait_for(lambda: wire.lag("work", "work") == 0, lambda: f"lag 0\n{process.tail()}", 60)
        self.assertEqual(process.stop(), 0, process.tail())
        ids = {r.value.decode() for r in kcat.read(self.kafka.address, "handled")}
        self.assertEqual(ids, {f"e{n}" for n in range(EVENTS)} - {f"e{n}" for n in dead})
        letters = kcat.read(self.kafka.address, "work-dlt")
        self.assertEqual([json.loads(r.value)["data"]["n"] for r in letters], dead)
        self.assertEqual(self.suspects(), [], "forgotten at the end")
        self.assertEqual([p.name for p in self.state.iterdir() if p.name.startswith("running-")], [])
        return process, letters

    def check_letter(self, letters):
        headers = {name: value.decode("utf-8", "replace") for name, value in dict(letters[0].headers).items()}
        self.assertEqual(headers["sipeat-error-code"], "CRASHED")
        self.assertEqual(headers["sipeat-error-kind"], "bug")
        self.assertIn("died 3 times", headers["kafka_dlt-exception-message"])

    def test_a_call_that_never_returns(self):
        self.write(STUCK, "200ms")
        for death in (1, 2, 3):
            process = self.begin()
            self.assertEqual(process.wait(60), 6, process.tail())
            line = next(e for e in process.lines if e["module"] == "watchdog")["message"]
            self.assertRegex(line, r"work partition \d offset \d+ of group work, id e37, at .*script\.lua:\d+")
            if death > 1:
                process.wait_log("runs alone")
        self.check_letter(self.finish([POISON])[1])

    def test_kill_9_in_its_slice(self):
        self.write(SPIN, "10s")
        for _ in (1, 2, 3):
            process = self.begin()
            process.wait_log("the poison begins", 60)
            self.assertEqual(process.stop(signal.SIGKILL), -signal.SIGKILL)
        self.check_letter(self.finish([POISON])[1])

    def test_an_innocent_event_is_run_alone_and_forgotten(self):
        self.write(SPIN, "10s")
        process = self.begin()
        process.wait_log("the poison begins", 60)
        process.stop(signal.SIGKILL)
        process, _ = self.finish([])
        self.assertTrue(any("1 so far" in e["message"] for e in process.lines), process.tail())
        process.wait_log("runs alone")


if __name__ == "__main__":
    harness.main()
