"""SIGTERM in the middle of a run, and a restart: nothing is lost, nothing is done twice."""

import json
import random

from support import harness, kcat
from support.harness import wait_for
from support.kafka import Kafka

EVENTS = 12000
SCRIPT = """
local sipeat = require "sipeat"

local function handle(event, ctx)
  if event.data.n % 10 == 0 then
    ctx:sleep("30ms")
  end
  if event.data.n % 37 == 0 and ctx.attempt == 1 then
    return nil, "not yet"
  end
  ctx:emit("handled", event.key, event.id)
end

sipeat.flow {
  topic = "work", group = "work", key = "data.key", concurrency = 32, dead_letter = true,
  retry = { attempts = 5, backoff = { "20ms", "100ms" } }, on = { ["work.do"] = handle },
}
"""


class Restart(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def setUp(self):
        super().setUp()
        wire = self.kafka.wire
        wire.create_topic("work", 3)
        for topic in ("handled", "work-dlt"):
            wire.create_topic(topic, 1)
        for topic in ("work", "handled", "work-dlt"):
            self.addCleanup(wire.delete_topic, topic)
        self.path = self.script(SCRIPT)
        kcat.write(self.kafka.address, "work", [(f"k{n % 101}", json.dumps(
            {"id": f"e{n}", "type": "work.do", "data": {"n": n, "key": f"k{n % 101}"}})) for n in range(EVENTS)])

    def begin(self):
        process = self.start("run", self.path, env={"KAFKA_BROKERS": self.kafka.address})
        process.wait_log("joining the group")  # from here on it has taken over SIGTERM
        return process

    def test_sigterm_in_the_middle_loses_nothing_and_repeats_nothing(self):
        wire, seed = self.kafka.wire, 20260102
        chance, ended = random.Random(seed), 0
        print(f"seed {seed}", flush=True)
        while True:
            process = self.begin()
            goal = wire.count("handled") + chance.randint(200, 900)
            wait_for(lambda: wire.count("handled") >= min(goal, EVENTS), process.tail, 60, every=0.01)
            if wire.count("handled") >= EVENTS:
                break
            self.assertEqual(process.stop(), 0, process.tail())
            ended += 1
        wait_for(lambda: wire.lag("work", "work") == 0, lambda: f"lag 0\n{process.tail()}", 60)
        self.assertEqual(process.stop(), 0, process.tail())
        self.assertGreaterEqual(ended, 3)
        self.assertEqual(wire.count("work-dlt"), 0)
        ids = [r.value.decode() for r in kcat.read(self.kafka.address, "handled")]
        self.assertEqual(set(ids), {f"e{n}" for n in range(EVENTS)})
        logs = "\n".join(line for process in self.processes for line in process.raw)
        self.assertEqual(len(ids), EVENTS, f"some were handled twice\n{logs}")


if __name__ == "__main__":
    harness.main()
