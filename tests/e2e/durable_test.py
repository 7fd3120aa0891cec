"""Chains in a journal: what was begun goes on after kill -9, and nothing is done twice."""

import contextlib
import http.server
import json
import pathlib
import signal
import sqlite3
import threading
import time

from support import harness, kcat
from support.harness import wait_for
from support.kafka import Kafka

CHAIN = """
local sipeat = require "sipeat"
local http = sipeat.http

local function call(name)
  return function(args, ctx)
    local answer, message, code = http.post(os.getenv "WORLD" .. "/" .. name, {
      body = ctx.key, headers = { ["idempotency-key"] = ctx.key }, timeout = "30s",
    })
    if not answer then
      return nil, message, code
    elseif answer.status >= 300 then
      return nil, sipeat.permanent(name .. " says " .. answer.status)
    end
    return { status = answer.status }
  end
end

sipeat.flow {
  topic = "work", group = "work", retry = { attempts = 3, backoff = { "50ms", "200ms" } },
  on = { ["work.do"] = sipeat.chain "work" {
    { "reserve", run = call "reserve", undo = call "release", effect = "local" },
    { "pay", run = call "pay", undo = call "refund", effect = "idempotent" },
    { "vend", run = call "vend", effect = "at_most_once" %s },
    { "tell", run = call "tell", effect = "repeatable" },
  } },
}
"""
RECONCILE = """, reconcile = function(args, ctx)
      local answer = http.get(os.getenv "WORLD" .. "/vended")
      return answer and (answer.body == "yes" and "done" or "not_done") or "unknown"
    end"""


class World(http.server.ThreadingHTTPServer):
    """Counts what is asked of it. A name in `held` gets no answer before it is let go."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls, self.held, self.refused = [], {}, set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def count(self, name):
        return sum(1 for call in self.calls if call == name)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        name = self.path[1:]
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.server.calls.append(name)
        gate = self.server.held.get(name)
        if gate is not None:
            gate.wait(30)
        self.answer(409 if name in self.server.refused else 200, b"ok")

    def do_GET(self):
        self.answer(200, b"yes" if self.server.count("vend") else b"no")

    def answer(self, status, body):
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # it was killed meanwhile

    def log_message(self, *unused):
        pass


class Durable(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka({"group.min.session.timeout.ms": 500}))

    def setUp(self):
        super().setUp()
        self.world = World()
        self.addCleanup(self.world.server_close)
        self.addCleanup(self.world.shutdown)
        for topic in ("work", "work-dlt"):
            self.kafka.wire.create_topic(topic, 1)
            self.addCleanup(self.kafka.wire.delete_topic, topic)
        self.journal = pathlib.Path(self.dir) / "journal.db"

    def begin(self, path):
        return self.start("run", path, "-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=300",
                          "--journal", str(self.journal),
                          env={"KAFKA_BROKERS": self.kafka.address, "WORLD": self.world.url})

    def publish(self, *ids):
        kcat.write(self.kafka.address, "work", [("k", json.dumps(
            {"id": one, "type": "work.do", "data": {"id": one}})) for one in ids])

    def runs(self):
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True, timeout=10)) as db:
                return db.execute("SELECT event_id, state, why FROM run ORDER BY id").fetchall()
        except sqlite3.OperationalError:
            return []  # it is being made

    def kill_in(self, name, path):
        """Kills the process while it waits for the answer of that call."""
        gate = self.world.held[name] = threading.Event()
        process = self.begin(path)
        self.publish("e1")
        wait_for(lambda: self.world.count(name) == 1, process.tail, 30)
        process.stop(signal.SIGKILL)
        gate.set()
        del self.world.held[name]

    def settled(self, process):
        wait_for(lambda: self.kafka.wire.lag("work", "work") == 0 and self.runs() and
                 all(state >= 10 or state == 5 for _, state, _ in self.runs()),
                 lambda: f"{self.runs()}\n{process.tail()}", 40)

    def test_a_chain_goes_on_where_it_stood_when_the_process_was_killed(self):
        path = self.script(CHAIN % RECONCILE)
        self.kill_in("pay", path)
        process = self.begin(path)
        self.settled(process)
        self.assertEqual(self.runs(), [("e1", 10, None)])
        self.assertEqual(self.world.calls, ["reserve", "pay", "pay", "vend", "tell"], process.tail())
        self.assertEqual(process.stop(), 0, process.tail())

    def test_an_effect_that_may_have_happened_is_asked_for_and_not_repeated(self):
        path = self.script(CHAIN % RECONCILE)
        self.kill_in("vend", path)
        process = self.begin(path)
        self.settled(process)
        self.assertEqual(self.runs(), [("e1", 10, None)])
        self.assertEqual(self.world.calls, ["reserve", "pay", "vend", "tell"], process.tail())

    def test_without_an_answer_it_is_parked(self):
        path = self.script(CHAIN % "")
        self.kill_in("vend", path)
        process = self.begin(path)
        self.settled(process)
        ((_, state, why),) = self.runs()
        self.assertEqual(state, 5)
        self.assertIn("outcome unknown", why)
        self.assertEqual(self.world.calls, ["reserve", "pay", "vend"], process.tail())
        self.assertEqual(self.kafka.wire.count("work-dlt"), 0)

    def test_an_undo_goes_on_too(self):
        path = self.script(CHAIN % RECONCILE)
        self.world.refused.add("vend")
        self.kill_in("refund", path)
        process = self.begin(path)
        self.settled(process)
        self.assertEqual([state for _, state, _ in self.runs()], [11])
        self.assertEqual(self.world.calls, ["reserve", "pay", "vend", "refund", "refund", "release"], process.tail())
        self.assertEqual(self.kafka.wire.count("work-dlt"), 1)

    def test_a_long_sleep_leaves_memory_and_is_over_after_a_restart(self):
        path = self.script("""
            local sipeat = require "sipeat"
            sipeat.flow { topic = "work", group = "work", journal = true, on = { ["work.do"] = function(event, ctx)
              assert(ctx:sleep("12s"))
              sipeat.http.post(os.getenv "WORLD" .. "/woken", { body = event.id })
            end } }
        """)
        process = self.begin(path)
        self.publish("e1", "e2")
        wait_for(lambda: self.kafka.wire.lag("work", "work") == 0, process.tail, 30)
        self.assertEqual([state for _, state, _ in self.runs()], [2, 2])
        process.stop(signal.SIGKILL)
        self.assertEqual(self.world.calls, [])
        began = time.monotonic()
        process = self.begin(path)
        wait_for(lambda: self.world.count("woken") == 2, process.tail, 30)
        self.settled(process)
        self.assertLess(time.monotonic() - began, 14)
        self.assertEqual(self.world.count("woken"), 2)

    def test_what_waits_goes_on_when_it_is_signalled_or_late(self):
        path = self.script("""
            local sipeat = require "sipeat"
            sipeat.flow { topic = "work", group = "work", journal = true, on = {
              ["work.do"] = function(event, ctx)
                local body, message, code = ctx:wait("paid", event.id, { timeout = "3s" })
                sipeat.http.post(os.getenv "WORLD" .. "/" .. (body and body.by or code), { body = event.id })
              end,
              ["work.paid"] = function(event) return sipeat.signal("paid", event.data.order, { by = "card" }) end,
            } }
        """)
        process = self.begin(path)
        self.publish("e1", "e2")
        wait_for(lambda: [state for _, state, _ in self.runs()] == [3, 3], process.tail, 30)
        process.stop(signal.SIGKILL)
        process = self.begin(path)
        kcat.write(self.kafka.address, "work", [("p", json.dumps(
            {"id": "p1", "type": "work.paid", "data": {"order": "e2"}}))])
        wait_for(lambda: sorted(self.world.calls) == ["TIMEOUT", "card"], process.tail, 30)
        self.settled(process)

    def test_a_key_that_is_held_for_long_is_the_journals(self):
        path = self.script("""
            local sipeat = require "sipeat"
            sipeat.flow { topic = "work", group = "work", journal = true, hold = { time = "300ms" },
              retry = { attempts = 100, backoff = { "200ms", "1s" } }, on = { ["work.do"] = function(event)
                local answer = sipeat.http.post(os.getenv "WORLD" .. "/" .. event.id, { body = event.id })
                assert(answer.status == 200, "refused")
              end } }
        """)
        self.world.refused.add("e1")
        process = self.begin(path)
        self.publish("e1", "e2", "e3")
        wait_for(lambda: self.kafka.wire.lag("work", "work") == 0, process.tail, 30)
        wait_for(lambda: [state for _, state, _ in self.runs()] == [4, 4, 4],
                 lambda: f"{self.runs()} {process.tail()}", 10)
        process.stop(signal.SIGKILL)
        process = self.begin(path)
        before = self.world.count("e1")
        wait_for(lambda: self.world.count("e1") > before + 1, process.tail, 30)
        self.assertEqual(self.world.count("e2"), 0)
        self.world.refused.clear()
        self.settled(process)
        self.assertEqual(self.world.calls[-2:], ["e2", "e3"])
        self.assertEqual([state for _, state, _ in self.runs()], [10, 10, 10])

    def test_what_is_between_two_attempts_goes_on_when_its_partition_is_lost(self):
        path = self.script("""
            local sipeat = require "sipeat"
            local function pay(_, ctx)
              local answer = sipeat.http.post(os.getenv "WORLD" .. "/pay", { body = ctx.key })
              return answer and answer.status == 200 or nil, "refused"
            end
            sipeat.flow {
              topic = "work", group = "work", retry = { attempts = 100, backoff = { "60s", "60s" } },
              on = { ["work.do"] = sipeat.chain "work" { { "pay", run = pay, effect = "idempotent" } } },
            }
        """)
        self.world.refused.add("pay")
        process = self.begin(path)
        self.publish("e1")
        process.wait_log("attempt 1 of 100 failed")
        process.popen.send_signal(signal.SIGSTOP)
        self.addCleanup(process.popen.send_signal, signal.SIGCONT)
        wait_for(lambda: self.kafka.wire.group_state("work")[1] == 0, "the group has let it go", 30)
        self.world.refused.clear()
        process.popen.send_signal(signal.SIGCONT)
        self.settled(process)
        self.assertEqual([state for _, state, _ in self.runs()], [10])
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
