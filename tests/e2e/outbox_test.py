"""Outputs that go through the local disk: a broker that is away, kill -9, records that the broker refuses, a full
outbox and a full disk. What was acknowledged arrives, in order for each key.

The soak (SIPEAT_SOAK) has more records and more kills.
"""

import collections
import contextlib
import http.client
import json
import os
import re
import resource
import signal
import threading

from support import harness, kcat
from support.harness import get, wait_for
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
RECORDS, KILLS = (60_000, 100) if SOAK else (2_500, 4)  # of the test with kill -9
KEYS = 8
ROUTE = """
local sipeat = require "sipeat"
sipeat.outbox { %s }
sipeat.http.route("POST /orders", function(req)
  local order = req:json()
  local sent, message, code = sipeat.publish("order.created", { n = order.n, pad = order.pad },
    { topic = order.topic or "orders", key = order.key, outbox = true })
  if not sent then
    return { status = 503, json = { code = code, error = message } }
  end
  return { status = 202, json = sent }
end)
"""
FLOW = """
local sipeat = require "sipeat"
sipeat.flow {
  topic = "work", group = "edge", key = "data.key", outbox = true,
  retry = { attempts = 2, backoff = { "5ms", "20ms" } },
  on = { ["work.do"] = function(event, ctx)
    ctx:sleep "5ms"
    if event.data.n % 50 == 0 then
      error "always fails"
    end
    ctx:emit("done", event.key, tostring(event.data.n))
  end },
}
"""


class Edge:
    """A running program with a way to publish, and what it said of each record."""

    def __init__(self, case, script, address, **settings):
        self.process = case.start("run", script, "--no-watch", "-b", address, env=settings)
        self.url = re.search(r"http://([0-9.]+:\d+)", self.process.wait_log("listening on"))[1]
        self.process.wait_runs()

    def publish(self, connection=None, **order):
        """(status, answer); (0, "") when the program is gone."""
        made = connection or self.connection()
        try:
            made.request("POST", "/orders", json.dumps(order), {"content-type": "application/json"})
            answer = made.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            if connection is None:
                made.close()

    def connection(self):
        return http.client.HTTPConnection(self.url, timeout=20)

    def metric(self, name):
        body = get(f"http://{self.url}/metrics")[1].decode()
        found = re.search(rf"^sipeat_outbox_{name} ([0-9.]+)$", body, re.M)
        return float(found[1]) if found else None

    def drained(self, deadline=60):
        self.process.until(lambda: self.metric("queued_records") == 0,
                           lambda: f"an empty outbox: {self.metric('queued_records')}", deadline)


class Writers:
    """A thread for each key that publishes 0, 1, 2, … and goes on with a number until it is acknowledged."""

    def __init__(self, records):
        self.each, self.edge, self.acked = records // KEYS, None, [0] * KEYS
        self.threads = [threading.Thread(target=self.write, args=(key,), daemon=True) for key in range(KEYS)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def write(self, key):
        while self.acked[key] < self.each:
            edge = self.edge
            with contextlib.closing(edge.connection()) as connection:
                while self.acked[key] < self.each and self.publish(edge, connection, key):
                    self.acked[key] += 1
            if self.acked[key] < self.each:
                edge.process.popen.wait()  # killed; the next one is on its way
                wait_for(lambda edge=edge: self.edge is not edge, "another process", 60, every=0.01)

    def publish(self, edge, connection, key):
        return edge.publish(connection, key=f"k{key}", n=self.acked[key])[0] == 202

    def count(self):
        return sum(self.acked)


class Outbox(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def topic(self, name, partitions=1, **config):
        wait_for(lambda: self.answers(), "a broker")
        self.kafka.wire.create_topic(name, partitions, config or None)
        self.addCleanup(self.kafka.wire.delete_topic, name)

    def answers(self):
        try:
            return self.kafka.wire.topics() is not None
        except OSError:
            return False

    def away(self):
        """The broker stops, and is there again for the next test."""
        self.kafka.stop()
        self.addCleanup(lambda: self.kafka.process or self.kafka.start())

    def numbers(self, topic):
        """key -> numbers in the order of the topic, and how often an id came more than once."""
        numbers, ids = collections.defaultdict(list), collections.Counter()
        for record in kcat.read(self.kafka.address, topic):
            numbers[record.key.decode()].append(json.loads(record.value)["n"])
            ids[record.text("sipeat-outbox-id")] += 1
        self.assertNotIn("", ids)
        return numbers, sum(ids.values()) - len(ids)

    def check(self, numbers, counts):
        """Each number is there, and the first ones of each stand in order."""
        for key, count in counts.items():
            self.assertEqual(list(dict.fromkeys(numbers[key])), list(range(count)), f"order of {key}")

    def test_no_broker_and_kill_9_lose_nothing_and_reorder_nothing(self):
        self.topic("orders", 3)
        self.away()
        script, writers = self.script(ROUTE % ""), Writers(RECORDS)
        writers.edge = Edge(self, script, self.kafka.address)
        self.assertEqual(get(f"http://{writers.edge.url}/ready")[0], 200)
        writers.start()
        for number in range(KILLS):
            if number == KILLS // 2:  # from here on a broker is there: killed while it forwards, too
                self.kafka.start()
            goal = RECORDS * (number + 1) // (KILLS + 1)
            writers.edge.process.until(lambda goal=goal: writers.count() >= goal, f"{goal} records", 120, every=0.01)
            writers.edge.process.stop(signal.SIGKILL)
            writers.edge = Edge(self, script, self.kafka.address)
        for thread in writers.threads:
            thread.join(300)
        self.assertEqual(writers.acked, [RECORDS // KEYS] * KEYS)
        writers.edge.drained()
        self.assertEqual(writers.edge.process.stop(), 0, writers.edge.process.tail())
        numbers, repeats = self.numbers("orders")
        self.check(numbers, {f"k{key}": RECORDS // KEYS for key in range(KEYS)})
        total = sum(len(list_) for list_ in numbers.values())
        print(f"{RECORDS} records, {KILLS} kills: {repeats} sent again by the outbox, {total - repeats - RECORDS} "
              "published again by their writer", flush=True)

    def test_a_flow_goes_on_without_a_broker_and_its_dead_letters_too(self):
        self.flow_goes_on()

    def test_the_flows_of_two_workers_share_an_outbox(self):
        self.flow_goes_on("--workers", "2")

    def flow_goes_on(self, *options):
        events, dead = 600, 12
        for topic in ("work", "done", "work-dlt"):
            self.topic(topic, 2)
        edge = self.start("run", self.script(FLOW), "--http", "off", "-b", self.kafka.address,
                          "-X", "session.timeout.ms=6000", *options)
        edge.wait_log("joining the group")
        kcat.write(self.kafka.address, "work", [(f"k{n % 7}", json.dumps(
            {"id": f"e{n}", "type": "work.do", "data": {"n": n, "key": f"k{n % 7}"}})) for n in range(events)])
        edge.until(lambda: self.kafka.wire.count("done") > 20, "first results", 60, every=0.01)
        self.kafka.kill()
        self.kafka.start()
        edge.until(lambda: self.kafka.wire.lag("edge", "work") == 0, "no lag", 60)
        edge.until(lambda: self.kafka.wire.count("work-dlt") >= dead, "dead letters", 60)
        edge.until(lambda: self.kafka.wire.count("done") >= events - dead, "results", 60)
        self.assertEqual(edge.stop(), 0, edge.tail())
        seen = collections.defaultdict(list)
        for record in kcat.read(self.kafka.address, "done"):
            seen[record.key].append(int(record.value))
            self.assertNotEqual(record.text("sipeat-outbox-id"), "")
        for key, numbers in seen.items():
            firsts = list(dict.fromkeys(numbers))
            self.assertEqual(firsts, sorted(firsts), key)
        self.assertEqual({n for numbers in seen.values() for n in numbers},
                         {n for n in range(events) if n % 50})
        letters = {record.text("sipeat-event-id") for record in kcat.read(self.kafka.address, "work-dlt")}
        self.assertEqual(letters, {f"e{n}" for n in range(0, events, 50)})

    def test_what_the_broker_will_never_take_is_set_aside_until_somebody_decides(self):
        self.topic("orders")
        self.topic("small", **{"max.message.bytes": "2000"})
        edge = Edge(self, self.script(ROUTE % ""), self.kafka.address)
        writers = [threading.Thread(target=edge.publish, kwargs={"topic": "small", "key": "a", "n": n})
                   for n in range(30)]  # their batches are larger than the topic takes, none of them is
        writers.append(threading.Thread(target=edge.publish, kwargs={
            "topic": "small", "key": "b", "n": 1, "pad": "x" * 4000}))
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join(20)
        self.assertEqual(edge.publish(topic="not a topic", key="a", n=1)[0], 202)
        self.assertEqual(edge.publish(key="a", n=0)[0], 202)
        edge.process.until(lambda: edge.metric("refused_records") == 2 and edge.metric("queued_records") == 0,
                           "two refused ones and nothing else", 60)
        self.assertEqual(len(kcat.read(self.kafka.address, "small")), 30)
        self.assertEqual(len(kcat.read(self.kafka.address, "orders")), 1)
        listed = self.run_sipeat("outbox", "list", "--json")
        state, *records = map(json.loads, listed.out)
        self.assertEqual((state["queued"], state["refused"]), (0, 2))
        by_topic = {record["topic"]: record for record in records}
        self.assertEqual(by_topic["small"]["code"], "MSG_SIZE_TOO_LARGE")
        number = str(by_topic["small"]["number"])
        shown = self.run_sipeat("outbox", "show", number)
        self.assertIn("x" * 4000, shown.output)
        self.assertIn("header ce_type order.created", shown.output)
        self.kafka.wire.set_topic_config("small", **{"max.message.bytes": "100000"})
        self.assertEqual(self.run_sipeat("outbox", "retry", number).returncode, 0)
        edge.process.until(lambda: self.kafka.wire.count("small") == 31, "the one that was put back", 30)
        self.assertEqual(self.run_sipeat("outbox", "discard", "--all").returncode, 1)  # nobody to ask
        self.assertIn("1 records discarded", self.run_sipeat("outbox", "discard", "--all", "--yes").output)
        self.assertEqual(self.run_sipeat("outbox", "retry", number).returncode, 1)
        edge.process.until(lambda: edge.metric("refused_records") == 0, "nothing refused", 10)
        self.assertEqual(edge.process.stop(), 0, edge.process.tail())

    def fill(self, edge, code):
        """Publishes until it is refused with the code; how many were taken."""
        with contextlib.closing(edge.connection()) as connection:
            for taken in range(10_000):
                status, answer = edge.publish(connection, key="a", n=taken, pad="x" * 2000)
                if status != 202:
                    self.assertEqual((status, answer["code"]), (503, code), answer)
                    return taken
        raise AssertionError("it is never full")

    def test_a_full_outbox_refuses_and_takes_again_when_there_is_room(self):
        self.topic("orders")
        self.away()
        edge = Edge(self, self.script(ROUTE % 'max_bytes = "200kb"' + FLOW), self.kafka.address)
        self.assertEqual(get(f"http://{edge.url}/ready")[0], 200)  # though its flow has joined no group yet
        taken = self.fill(edge, "OUTBOX_FULL")
        self.assertGreater(taken, 50)
        edge.process.wait_log("is refused (is the broker there?")
        self.kafka.start()
        edge.drained()
        self.assertEqual(edge.publish(key="a", n=taken)[0], 202)
        edge.drained()
        self.check(self.numbers("orders")[0], {"a": taken + 1})
        self.assertEqual(edge.metric("full_total"), 1)

    def test_a_full_outbox_makes_its_writers_wait_where_that_is_wanted(self):
        self.topic("orders")
        self.away()
        options = 'max_bytes = "100kb", when_full = "wait"'
        edge, writers = Edge(self, self.script(ROUTE % options), self.kafka.address), Writers(2400)
        writers.edge = edge
        writers.start()
        edge.process.until(lambda: edge.metric("queued_bytes") > 98_000,
                           lambda: f"full: {edge.metric('queued_bytes')}", 20)
        self.assertLess(writers.count(), 2400)
        self.kafka.start()
        for thread in writers.threads:
            thread.join(60)
        self.assertEqual(writers.acked, [2400 // KEYS] * KEYS, edge.process.tail())  # and none was refused
        edge.drained()
        self.check(self.numbers("orders")[0], {f"k{key}": 2400 // KEYS for key in range(KEYS)})

    def test_a_full_disk_refuses_loses_nothing_and_goes_on_by_itself(self):
        self.topic("orders")
        self.away()
        edge = Edge(self, self.script(ROUTE % ""), self.kafka.address)
        pid, none = edge.process.popen.pid, resource.RLIM_INFINITY
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (400_000, none))  # no file grows beyond this
        taken = self.fill(edge, "OUTBOX_DISK_FULL")
        self.assertGreater(taken, 20)
        self.assertEqual(edge.metric("writable"), 0)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (none, none))
        edge.process.wait_log("it can be written again")
        self.assertEqual(edge.publish(key="a", n=taken)[0], 202)
        self.kafka.start()
        edge.drained()
        self.check(self.numbers("orders")[0], {"a": taken + 1})

    def test_a_second_process_is_refused_and_leaves_the_first_alone(self):
        script = self.script(ROUTE % "")
        edge = Edge(self, script, self.kafka.address)
        second = self.run_sipeat("run", script, "--http", "off", "-b", self.kafka.address)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn(f"process {edge.process.popen.pid} has it", second.log)
        other = self.start("run", self.script("return", "other.lua"), "--http", "off", "-b", self.kafka.address)
        other.wait_runs()  # one that wants none is not held up
        self.assertEqual(other.stop(), 0, other.tail())
        third = self.run_sipeat("run", script, "--http", "off", "--outbox", "none/box.db", "-b", self.kafka.address)
        self.assertIn("open none/box.db-lock", third.log)


if __name__ == "__main__":
    harness.main()
