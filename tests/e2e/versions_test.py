"""A run goes on under the version of the script that it began with, after kill -9 and edits: see the tests."""

import contextlib
import http.server
import json
import pathlib
import signal
import sqlite3
import threading

from support import harness, kcat
from support.harness import save, wait_for
from support.kafka import Kafka

DONE = 10
SCRIPT = """
local sipeat = require "sipeat"
local words = require "parts.words"

local function tell(what)
  local answer = assert(sipeat.http.post(os.getenv "WORLD" .. "/" .. what, { body = "x", timeout = "30s" }))
  return { status = answer.status }
end

sipeat.every("20ms", function() tell("tick-" .. words.version) end)
sipeat.flow { topic = "work", group = "work", on = { ["work.do"] = sipeat.chain "work" {
  { "one", effect = "idempotent", run = function() return tell("one-" .. words.version) end },
  { "two", effect = "idempotent", run = function() return tell("two-" .. require "late".version) end },
} } }
"""
WORDS = 'return { version = "%s" }\n'


class World(http.server.ThreadingHTTPServer):
    """Notes what is asked of it. A name in `held` gets no answer before it is let go."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls, self.held = [], {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def told(self):
        return [call for call in self.calls if not call.startswith("tick")]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        name = self.path[1:]
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.server.calls.append(name)
        gate = self.server.held.get(name)
        if gate is not None:
            gate.wait(30)
        with contextlib.suppress(OSError):  # it was killed meanwhile
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    def log_message(self, *unused):
        pass


class Versions(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def setUp(self):
        super().setUp()
        self.world = World()
        self.addCleanup(self.world.server_close)
        self.addCleanup(self.world.shutdown)
        self.kafka.wire.create_topic("work", 1)
        self.addCleanup(self.kafka.wire.delete_topic, "work")
        self.journal = pathlib.Path(self.dir) / "journal.db"
        (pathlib.Path(self.dir) / "parts").mkdir()
        self.path = self.script(SCRIPT)
        self.edit("old")

    def edit(self, version):
        save(pathlib.Path(self.dir) / "late.lua", WORDS % version)
        save(pathlib.Path(self.dir) / "parts" / "words.lua", WORDS % version)

    def begin(self):
        # One after the other, all are the same member: none waits for the session of one that was killed.
        return self.start("run", self.path, "-X", "group.instance.id=one", "-X", "session.timeout.ms=10000",
                          "--journal", str(self.journal),
                          env={"KAFKA_BROKERS": self.kafka.address, "WORLD": self.world.url})

    def publish(self, key):
        kcat.write(self.kafka.address, "work", [(key, json.dumps({"id": key, "type": "work.do", "data": {}}))])

    def ask(self, sql):
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(sql).fetchall()

    def runs(self):
        try:
            return self.ask("SELECT event_id, state, why FROM run ORDER BY id")
        except sqlite3.OperationalError:
            return []  # it is being made

    def kill_in(self, name):
        """Begins a run and kills the process while it waits for the answer of that call."""
        gate = self.world.held[name] = threading.Event()
        process = self.begin()
        self.publish("e1")
        wait_for(lambda: name in self.world.calls, process.tail, 30)
        process.stop(signal.SIGKILL)
        del self.world.held[name]
        gate.set()
        self.world.calls.clear()

    def settled(self, process, states):
        wait_for(lambda: [state for _, state, _ in self.runs()] == states,
                 lambda: f"{self.runs()} {self.world.told()}\n{process.tail()}", 40)

    def test_after_a_restart_and_an_edit_it_goes_on_as_it_began(self):
        self.kill_in("one-old")
        self.edit("new")
        process = self.begin()
        self.settled(process, [DONE])
        self.publish("e2")
        self.settled(process, [DONE, DONE])
        self.assertEqual(self.world.told(), ["one-old", "two-old", "one-new", "two-new"], process.tail())
        wait_for(lambda: "tick-new" in self.world.calls, process.tail)
        self.assertNotIn("tick-old", self.world.calls, "a timer of the older version runs")
        self.assertEqual(len(self.ask("SELECT hash FROM script")), 2)
        self.assertEqual(process.stop(), 0, process.tail())

    def test_a_reload_leaves_what_is_in_flight_where_it_began(self):
        gate = self.world.held["one-old"] = threading.Event()
        process = self.begin()
        self.publish("e1")
        wait_for(lambda: "one-old" in self.world.calls, process.tail, 30)
        self.edit("new")
        wait_for(lambda: "tick-new" in self.world.calls, process.tail, 10)
        self.publish("e2")
        wait_for(lambda: "two-new" in self.world.calls, process.tail, 30)
        gate.set()
        self.settled(process, [DONE, DONE])
        self.assertEqual(sorted(self.world.told()), ["one-new", "one-old", "two-new", "two-old"], process.tail())
        pinned = dict(self.ask("SELECT event_id, hex(script) FROM run"))
        self.assertNotEqual(pinned["e1"], pinned["e2"])
        self.assertEqual({row[0] for row in self.ask("SELECT hex(hash) FROM script")}, set(pinned.values()))


if __name__ == "__main__":
    harness.main()
