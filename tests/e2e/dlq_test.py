"""Dead letters on a real Kafka: what is written, what happens when it cannot be, and `sipeat dlq`."""

import collections
import json
import os
import re
import signal

from support import harness, kcat
from support.harness import get, wait_for
from support.kafka import Kafka
from support.kafka_wire import WireError

SOAK = os.environ.get("SIPEAT_SOAK") is not None
LETTERS = 20000 if SOAK else 1000
SCRIPT = """
local sipeat = require "sipeat"

local function check(event)
  local what = event.data.what
  if what == "stock" then
    return nil, sipeat.permanent("no stock for " .. event.data.n, "NO_STOCK")
  elseif what == "raise" then
    local nothing
    return nothing.field
  elseif what == "slow" then
    return nil, "the provider did not answer", "ETIMEDOUT"
  end
end

sipeat.flow {
  topic = "orders", group = "orders", order = "none", park = %s,
  retry = { attempts = 2, backoff = { "1ms" } },
  on = { ["order.created"] = check, ["order.paid"] = check },
}
"""

SPRING = r"""
local sipeat = require "sipeat"
assert(sipeat.kafka.producer():send {
  topic = "orders.DLT", key = "k", value = '{"id":"s1","type":"order.paid","data":{}}',
  headers = {
    { "own", "kept" }, { "kafka_dlt-original-topic", "orders" },
    { "kafka_dlt-original-partition", (">i4"):pack(2) }, { "kafka_dlt-original-offset", (">i8"):pack(5) },
    { "kafka_dlt-original-timestamp", (">i8"):pack(1700000000123) },
    { "kafka_dlt-exception-fqcn", "org.springframework.kafka.listener.ListenerExecutionFailedException" },
    { "kafka_dlt-exception-cause-fqcn", "java.lang.IllegalStateException" },
    { "kafka_dlt-exception-message", "no luck" }, { "kafka_dlt-exception-stacktrace", "java.lang.X\n\tat a.b" },
    { "retry_topic-attempts", (">i4"):pack(4) },
  },
})
"""


class Dlq(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def setUp(self):
        super().setUp()
        self.env = {"KAFKA_BROKERS": self.kafka.address, "SIPEAT_PARK_DIR": self.dir / "parked"}
        self.wire = self.kafka.wire
        self.wire.create_topic("orders", 3)
        self.addCleanup(self.remove_topics)

    def remove_topics(self):
        for topic in self.wire.topics():
            self.wire.delete_topic(topic)

    def dlq(self, *arguments, env=None):
        return self.run_sipeat("dlq", *arguments, env={**self.env, **(env or {})})

    def lines(self, *arguments):
        process = self.dlq(*arguments, "--json")
        self.assertEqual(process.returncode, 0, process.tail())
        return [json.loads(line) for line in process.out]

    def flow(self, *arguments, park="false", env=None):
        process = self.start("run", self.script(SCRIPT % park), "--log-format", "json", "--drain", "1s", *arguments,
                             env={**self.env, **(env or {})})
        self.addCleanup(process.stop)  # leaves the group: the next test need not wait for it
        process.http = process.wait_log("listening on http://").split("http://")[1].split('"')[0]
        return process

    def write(self, records, headers=None):
        """records: (n, what, type)"""
        kcat.write(self.kafka.address, "orders", [
            (f"k{n % 50}", json.dumps({"id": f"e{n}", "type": kind, "data": {"n": n, "what": what}}))
            for n, what, kind in records], headers)

    def letters(self, topic="orders-dlt"):
        """How many records the topic has; 0 while it is being made."""
        try:
            return self.wire.count(topic)
        except WireError:
            return 0

    def make_letters(self, count):
        """count letters: two thirds NO_STOCK, the rest ETIMEDOUT; every fourth is order.paid."""
        self.write([(n, "slow" if n % 3 == 0 else "stock", "order.paid" if n % 4 == 0 else "order.created")
                    for n in range(count)], [("tenant", "blue"), ("raw", b"\x01\xff\xfe")])
        process = self.flow()
        wait_for(lambda: self.letters() == count, lambda: self.letters(), 120)
        wait_for(lambda: self.wire.lag("orders", "orders") == 0, "everything committed")
        self.assertEqual(process.stop(), 0, process.tail())

    def replayed(self):
        """The records of the original topic that came from a replay."""
        return [r for r in kcat.read(self.kafka.address, "orders") if "sipeat-replay-origin" in r.headers]

    def test_a_letter_tells_everything_and_shows_the_lines_of_the_script(self):
        self.write([(7, "raise", "order.created")], [("tenant", "blue")])
        process = self.flow()
        wait_for(lambda: self.letters() == 1, process.tail)
        process.stop()
        letter = self.lines("list", "orders-dlt")[0]
        self.assertEqual((letter["reason"], letter["kind"], letter["type"], letter["attempts"]),
                         ("SCRIPT_ERROR", "bug", "order.created", 2))
        self.assertEqual((letter["key"], letter["group"], letter["event_id"]), ("k7", "orders", "e7"))
        self.assertLessEqual(letter["first_failed_at"], letter["failed_at"])
        place = f'{letter["partition"]}:{letter["offset"]}'
        shown = self.dlq("show", "orders-dlt", place)
        self.assertEqual(shown.returncode, 0, shown.tail())
        for part in ("attempt to index a nil value", "script.lua:10:", "stack traceback:", "tenant = blue",
                     f'kafka_dlt-original-partition = {letter["original"]["partition"]}',
                     "retry_topic-attempts = 2", '    "data": {', '      "n": 7,'):
            self.assertIn(part, shown.output.replace("\n  ", "\n  "), shown.output)
        body = json.loads(self.dlq("show", "orders-dlt", place, "--json").output)
        self.assertEqual(json.loads(body["body"])["data"]["n"], 7)
        self.assertEqual(body["headers"]["kafka_dlt-original-offset"], letter["original"]["offset"])
        summary = self.lines("list")
        self.assertEqual([(t["topic"], t["letters"], t["reasons"]) for t in summary],
                         [("orders-dlt", 1, {"SCRIPT_ERROR": 1})])
        self.assertEqual(self.dlq("show", "orders-dlt", "0:99").returncode, 1)
        self.assertEqual(self.dlq("show", "orders-dlt", "there").returncode, 2)
        self.assertEqual(self.dlq("list", "orders-dlt", "--since", "yesterday").returncode, 2)
        self.assertEqual(self.dlq("replay").returncode, 2)

    def test_letters_are_replayed_once_with_filters_a_dry_run_and_a_limit(self):
        self.make_letters(LETTERS)
        before = {(r.key, r.value) for r in kcat.read(self.kafka.address, "orders")}
        slow = sum(1 for n in range(LETTERS) if n % 3 == 0)
        slow_paid = sum(1 for n in range(LETTERS) if n % 12 == 0)
        dry = self.dlq("replay", "orders-dlt", "--reason", "ETIMEDOUT", "--dry-run")
        self.assertEqual(dry.returncode, 0, dry.tail())
        self.assertIn(f"{slow} would be replayed", dry.log)
        self.assertEqual(self.replayed(), [])
        self.assertNotIn("sipeat-dlq-replays", self.wire.topics())

        process = self.dlq("replay", "orders-dlt", "--reason", "ETIMEDOUT", "--type", "order.paid", "--max", "20")
        self.assertEqual(process.returncode, 0, process.tail())
        self.assertIn("20 replayed, 0 replayed before", process.log)
        process = self.dlq("replay", "orders-dlt", "--reason", "ETIMEDOUT", "--type", "order.paid")
        self.assertIn(f"{slow_paid - 20} replayed, 20 replayed before", process.log)
        process = self.dlq("replay", "orders-dlt", "--since", "1h", "--rate", "100000/s")
        self.assertIn(f"{LETTERS - slow_paid} replayed, {slow_paid} replayed before", process.log)
        process = self.dlq("replay", "orders-dlt")
        self.assertIn(f"0 replayed, {LETTERS} replayed before", process.log)

        came = self.replayed()
        self.assertEqual(len(came), LETTERS)
        self.assertEqual({(r.key, r.value) for r in came}, before)
        self.assertEqual(len({r.headers["sipeat-replay-origin"] for r in came}), LETTERS)
        for r in came[:50]:
            self.assertEqual(sorted(r.headers), ["raw", "sipeat-replay-origin", "sipeat-replayed", "tenant"])
            self.assertEqual((r.headers["raw"], r.headers["sipeat-replayed"]), (b"\x01\xff\xfe", b"1"))
        listed = self.lines("list", "orders-dlt", "--max", "5")
        self.assertEqual([one["was_replayed"] for one in listed], [True] * 5)

    def test_an_event_that_comes_back_again_and_again_is_refused(self):
        self.write([(1, "stock", "order.created")])
        process = self.flow()
        for n in range(1, 4):
            wait_for(lambda n=n: self.letters() == n, process.tail)
            replay = self.dlq("replay", "orders-dlt")
            self.assertIn(f"1 replayed, {n - 1} replayed before", replay.log, replay.tail())
        wait_for(lambda: self.letters() == 4, process.tail)
        replay = self.dlq("replay", "orders-dlt")
        self.assertEqual(replay.returncode, 1, replay.tail())
        self.assertIn("replayed 3 times already", replay.log)
        self.assertIn("0 replayed, 3 replayed before, 1 refused, 0 failed", replay.log)
        replay = self.dlq("replay", "orders-dlt", "--limit", "9", "--max", "1")
        self.assertEqual(replay.returncode, 0, replay.tail())
        again = self.dlq("replay", "orders-dlt", "--again", "--dry-run", "--limit", "9")
        self.assertIn(" would be replayed, 0 replayed before", again.log)

    def test_a_replay_that_was_killed_and_repeated_replays_nothing_twice(self):
        self.make_letters(LETTERS)
        for sig in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            at = len(self.replayed())
            process = self.start("dlq", "replay", "orders-dlt", "--rate", f"{LETTERS // 4}/s", env=self.env)
            wait_for(lambda at=at: self.wire.count("orders") >= LETTERS + at + LETTERS // 8, process.tail)
            code = process.stop(sig)
            self.assertEqual(code, -9 if sig == signal.SIGKILL else 130, process.tail())
        done = len(self.replayed())
        self.assertLess(done, LETTERS)
        process = self.dlq("replay", "orders-dlt")
        self.assertEqual(process.returncode, 0, process.tail())
        self.assertIn(f"{LETTERS - done} replayed, {done} replayed before", process.log)
        counts = collections.Counter(r.headers["sipeat-replay-origin"] for r in self.replayed())
        self.assertEqual((len(counts), max(counts.values())), (LETTERS, 1))

    def test_letters_of_spring_are_read_and_replayed(self):
        self.wire.create_topic("orders.DLT", 1)
        process = self.start("run", self.script(SPRING), "--http", "off", env=self.env)
        wait_for(lambda: self.letters("orders.DLT") == 1, process.tail)
        letter = self.lines("list", "orders.DLT", "--reason", "IllegalStateException")[0]
        self.assertEqual((letter["type"], letter["attempts"], letter["message"]), ("order.paid", 4, "no luck"))
        self.assertEqual(letter["original"], {"topic": "orders", "partition": 2, "offset": 5,
                                              "timestamp": 1700000000123})
        self.assertEqual(self.dlq("replay", "orders.DLT").returncode, 0)
        came = self.replayed()
        self.assertEqual([(r.partition, r.key, sorted(r.headers)) for r in came],
                         [(2, b"k", ["own", "sipeat-replay-origin", "sipeat-replayed"])])

    def test_a_letter_that_is_too_large_is_replayed_from_its_file(self):
        self.wire.create_topic("orders-dlt", 3)
        self.wire.set_topic_config("orders-dlt", max_message_bytes=4000)
        kcat.write(self.kafka.address, "orders", [("k1", json.dumps(
            {"id": "e1", "type": "order.created", "data": {"n": 1, "what": "stock", "pad": "x" * 20000}}))])
        process = self.flow()
        wait_for(lambda: self.letters() == 1, process.tail)
        process.stop()
        letter = self.lines("list", "orders-dlt")[0]
        place = f'{letter["partition"]}:{letter["offset"]}'
        shown = json.loads(self.dlq("show", "orders-dlt", place, "--json").output)
        self.assertEqual(len(json.loads(shown["body"])["data"]["pad"]), 20000)
        path = self.dir / shown["pointer"]
        text = path.read_text()
        path.write_text(text.replace("xx", "yy", 1))
        failed = self.dlq("replay", "orders-dlt")
        self.assertEqual(failed.returncode, 1, failed.tail())
        self.assertIn("checksum", failed.log)
        path.write_text(text)
        self.assertEqual(self.dlq("replay", "orders-dlt").returncode, 0)
        self.assertEqual([r.value.decode() for r in self.replayed()], [text])

    def test_a_missing_topic_is_made_although_the_broker_creates_none(self):
        self.write([(1, "stock", "order.created")])
        process = self.flow()
        wait_for(lambda: self.wire.topics().get("orders-dlt") == [0, 1, 2], process.tail)
        wait_for(lambda: self.letters() == 1, process.tail)
        wait_for(lambda: self.wire.lag("orders", "orders") == 0, process.tail)
        self.assertEqual(self.wire.topic_config("orders-dlt")["retention.ms"], "-1")  # letters are as old as events

    def test_a_topic_that_refuses_letters_is_told_about_and_parked_when_the_flow_wants_it(self):
        self.wire.create_topic("orders-dlt", 3)
        self.wire.set_topic_config("orders-dlt", cleanup_policy="compact")  # refuses records without a key
        kcat.write(self.kafka.address, "orders", [(None, json.dumps(
            {"id": f"e{n}", "type": "order.created", "data": {"n": n, "what": "stock"}})) for n in range(5)])
        waiting = self.flow()

        def warned():
            _, answer = get("http://" + waiting.http + "/ready")
            warning = next(iter(json.loads(answer).get("warnings") or []), "")
            return warning if ": 5 wait" in warning else None  # their retries end at different times

        warning = waiting.until(warned, "a warning for all five")
        self.assertRegex(warning, r"^dead letters cannot be written: 5 wait, the first one for \d+ s: ")
        metrics = get("http://" + waiting.http + "/metrics")[1].decode()
        self.assertIn("\nsipeat_dead_letters_waiting 5\n", metrics)
        self.assertGreater(int(re.search(r"\nsipeat_dead_letter_failures_total (\d+)", metrics)[1]), 0)
        self.assertEqual(self.wire.lag("orders", "orders"), 5)
        self.assertLess(waiting.log.count("the dead letter cannot be written"), 4)
        waiting.stop()
        self.assertEqual(self.wire.lag("orders", "orders"), 5)

        parking = self.flow(park='"2s"')
        parking.until(lambda: self.wire.lag("orders", "orders") == 0, "everything committed")
        parking.stop()
        self.assertEqual(self.letters(), 0)
        self.assertEqual(len(self.lines("list", "--parked")), 1)
        parked = self.lines("list", "orders-dlt", "--parked")
        self.assertEqual(sorted(one["event_id"] for one in parked), [f"e{n}" for n in range(5)])
        self.assertIn("no stock for", self.dlq("show", parked[0]["id"], env={"KAFKA_BROKERS": None}).output)
        replay = self.dlq("replay", "--parked", "--reason", "NO_STOCK")
        self.assertEqual(replay.returncode, 0, replay.tail())
        self.assertIn("5 replayed", replay.log)
        self.assertIn("5 replayed before", self.dlq("replay", "--parked").log)
        self.assertEqual([one["was_replayed"] for one in self.lines("list", "orders-dlt", "--parked")], [True] * 5)
        self.assertEqual(len({r.value for r in self.replayed()}), 5)


if __name__ == "__main__":
    harness.main()
