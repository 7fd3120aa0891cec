"""Events that misbehave: poison among many, keys that always fail, handlers that emit too much. The others do not wait.

The soak (SIPEAT_SOAK) has ten times as many events.
"""

import json
import os
import re

from support import harness, kcat, stream
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
MANY = 100_000 if SOAK else 10_000
LARGE = 10_000 if SOAK else 1_000
FLOW = """
local sipeat = require "sipeat"

sipeat.flow {
  topic = "in", group = "in", key = "data.key", concurrency = 32, %s
  retry = { attempts = 4, backoff = { %s } },
  on = { ["test.event"] = function(event, ctx)
    %s
  end },
}
"""


class Events(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def setUp(self):
        super().setUp()
        for topic, partitions in {"in": 1, "out": 1, "in-dlt": 1}.items():
            self.kafka.wire.create_topic(topic, partitions)
            self.addCleanup(self.kafka.wire.delete_topic, topic)

    def write(self, count, key):
        kcat.write(self.kafka.address, "in", [(key(n), json.dumps(
            {"id": f"e{n}", "type": "test.event", "data": {"n": n, "key": key(n)}})) for n in range(count)])

    def begin(self, body, *arguments, options="", backoff='"400ms", "900ms"'):
        path = self.script(FLOW % (options and options + ",", backoff, body))
        return self.start("run", path, *arguments, env={"KAFKA_BROKERS": self.kafka.address})

    def read(self, topic="out"):
        return [record.value.decode() for record in kcat.read(self.kafka.address, topic)]

    def finish(self, process, deadline=60):
        stream.finish(self, self.kafka, process, "in", "in", deadline)

    def test_one_poison_event_among_many_on_one_partition(self):
        self.write(MANY, lambda n: f"k{n % 997}")
        process = self.begin("""if event.data.n == 10 then error("poison") end
            ctx:emit("out", event.key, event.id)""", backoff='"20s", "30s"' if SOAK else '"400ms", "900ms"')
        process.until(lambda: self.kafka.wire.count("in-dlt") == 1, "the dead letter", 120, every=0.02)
        # All but the followers of its key are done while it is still tried: they did not wait for it.
        self.assertGreaterEqual(self.kafka.wire.count("out"), MANY - 1 - MANY // 997 - 1)
        self.finish(process)
        self.assertEqual(set(self.read()), {f"e{n}" for n in range(MANY) if n != 10})

    def test_a_key_that_always_fails_holds_only_itself(self):
        self.write(1000, lambda n: "bad" if n % 100 == 0 else f"k{n % 50}")
        process = self.begin("""if event.key == "bad" then return nil, "its backend is away" end
            ctx:emit("out", event.key, event.id)""")
        process.until(lambda: self.kafka.wire.count("out") == 990, "the others", 30)
        self.assertLess(self.kafka.wire.count("in-dlt"), 10)
        self.finish(process)
        dead = [json.loads(value)["data"]["n"] for value in self.read("in-dlt")]
        self.assertEqual(dead, list(range(0, 1000, 100)), "in their order, each once")

    def test_a_handler_that_emits_10000_outputs(self):
        self.write(3, lambda n: f"k{n}")
        process = self.begin("""for i = 1, 10000 do
            assert(ctx:emit("out", event.key, event.id .. "-" .. i)) end""")
        self.finish(process)
        self.assertEqual(sorted(self.read()), sorted(f"e{n}-{i}" for n in range(3) for i in range(1, 10001)))
        self.assertEqual(self.kafka.wire.count("in-dlt"), 0)

    def test_a_producer_queue_that_is_full(self):
        self.write(500, lambda n: f"k{n % 50}")
        process = self.begin("""for i = 1, 20 do
            assert(ctx:emit("out", event.key, event.id .. "-" .. i)) end""",
                             "-X", "queue.buffering.max.messages=100")
        self.finish(process)
        found = self.read()
        self.assertEqual(len(found), 500 * 20)
        self.assertEqual(set(found), {f"e{n}-{i}" for n in range(500) for i in range(1, 21)})

    def test_an_output_of_2_mb_is_refused_and_the_event_is_a_dead_letter(self):
        self.write(20, lambda n: f"k{n}")
        process = self.begin("""ctx:emit("out", event.key, event.data.n == 7 and ("x"):rep(2 << 20) or event.id)""")
        self.finish(process)
        self.assertEqual(set(self.read()), {f"e{n}" for n in range(20) if n != 7})
        dead, = kcat.read(self.kafka.address, "in-dlt")
        self.assertEqual(json.loads(dead.value)["id"], "e7")
        self.assertIn("output", dead.text("kafka_dlt-exception-message"))

    def test_large_events_stay_within_max_bytes(self):
        """100 MB pass in events of 100 kB, of which 2 MB have room."""
        text = "x" * 99_900
        for n in range(0, LARGE, 100):
            kcat.write(self.kafka.address, "in", [(f"k{m}", json.dumps(
                {"id": f"e{m}", "type": "test.event", "data": {"key": f"k{m}", "text": text}}))
                for m in range(n, n + 100)])
        process = self.begin('ctx:sleep "30ms"; ctx:emit("out", event.key, tostring(#event.data.text))',
                             options='max_bytes = "2mb"')
        url = re.search(r"http://[0-9.:]+", process.wait_log("listening on http://"))[0]
        seen = []

        def look():
            page = harness.get(url + "/metrics")[1].decode()
            found = re.search(r'^sipeat_flow_bytes{group="in"} (\d+)$', page, re.M)
            seen.append((int(found[1]) if found else 0, process.rss_mb()))
            return self.kafka.wire.count("out") == LARGE

        process.until(look, f"{LARGE} outputs", 60, 0.02)
        most = max(held for held, _ in seen)
        self.assertLessEqual(most, 2 << 20)
        self.assertGreater(most, 1 << 20)  # it was full
        self.assertLess(max(mb for _, mb in seen), 64)
        self.finish(process)

    def test_50000_keys(self):
        count = 50_000
        self.write(count, lambda n: f"key-{n}")
        process = self.begin("""if event.data.n % 100 == 0 then ctx:sleep("20ms") end
            ctx:emit("out", event.key, event.id)""")
        self.finish(process, 120)
        found = self.read()
        self.assertEqual(len(found), count)
        self.assertEqual(set(found), {f"e{n}" for n in range(count)})


if __name__ == "__main__":
    harness.main()
