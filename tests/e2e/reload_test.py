"""Editing a handler while 500 events/s flow: see the class's tests. The soak (SIPEAT_SOAK) edits 200 times."""

import json
import os
import signal
import statistics
import subprocess
import threading
import time
import urllib.request

from support import harness, kcat
from support.harness import save, wait_for
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
RATE = 500
EDITS, WARM = (200, 40) if SOAK else (60, 40)  # memory is compared with what it was after WARM edits
SCRIPT = """
local sipeat = require "sipeat"
local words = require "words"

local function handle(event, ctx)
  local before = words.version()
  ctx:sleep("20ms")
  ctx:emit("seen-TEST", event.key, before .. " " .. %s .. " " .. words.version())
end

sipeat.flow { topic = "edited-TEST", group = "edited", key = "data.n", concurrency = 64, on = { ["edit.me"] = handle } }
"""
WORDS = """return { version = function() return "%s" end }
"""


class Writer(threading.Thread):
    """Writes RATE events a second: a tenth of them ten times, each time with a kcat (it does not stream its input)."""

    def __init__(self, address, topic):
        super().__init__(daemon=True)
        self.address, self.topic, self.sent, self.stop = address, topic, 0, threading.Event()
        self.batches = []  # (number of the first event, when its kcat was begun)

    def run(self):
        began = time.monotonic()
        while not self.stop.is_set():
            due = int((time.monotonic() - began) * RATE)
            self.batches.append((self.sent, time.monotonic()))
            kcat.write(self.address, self.topic, [(f"k{n % 97}", json.dumps(
                {"id": f"e{n}", "type": "edit.me", "data": {"n": n % 97}})) for n in range(self.sent, due)])
            self.sent = due
            self.stop.wait(0.1)

    def finish(self):
        self.stop.set()
        self.join()

    def written(self, number):
        """No event was written before this."""
        return next(when for first, when in reversed(self.batches) if first <= number)


class Reader:
    """A kcat that follows the topic of outputs: (time seen, before, middle, after) of each."""

    def __init__(self, address, topic):
        self.kcat = subprocess.Popen(
            ["kcat", "-b", address, "-C", "-t", topic, "-o", "beginning", "-u", "-q",
             "-X", "fetch.wait.max.ms=20"], stdout=subprocess.PIPE)
        self.seen = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for line in self.kcat.stdout:
            self.seen.append((time.monotonic(), *line.decode().split()))

    def close(self):
        self.kcat.terminate()
        self.kcat.wait(10)
        self.kcat.stdout.close()


class Reload(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def setUp(self):
        super().setUp()
        # Names of its own: a topic that is made again under a name just deleted is not known everywhere at once.
        name = self.id().rpartition("_")[2]
        self.edited, self.seen = f"edited-{name}", f"seen-{name}"
        for topic in (self.edited, self.seen):
            self.kafka.wire.create_topic(topic, 4)
        self.words = self.script(WORDS % "one", "words.lua")
        self.name = name
        self.path = self.script(self.source("event.id"))
        self.http = f"127.0.0.1:{harness.free_ports(1)[0]}"
        self.process = self.start("run", self.path, "--http", self.http, env={"KAFKA_BROKERS": self.kafka.address})
        self.reader = Reader(self.kafka.address, self.seen)
        self.addCleanup(self.reader.close)
        self.writer = Writer(self.kafka.address, self.edited)
        self.addCleanup(self.writer.stop.set)

    def source(self, middle):
        return (SCRIPT % middle).replace("TEST", self.name)

    def wait_version(self, version, after=0.0):
        return wait_for(lambda: next((s for s in list(self.reader.seen) if s[1] == version and s[0] > after), None),
                        lambda: f"version {version} seen; last {self.reader.seen[-3:]}, "
                                f"kcat {self.reader.kcat.poll()}\n{self.process.tail()}",
                        every=0.01)

    def finish(self):
        """Ends the stream, and looks at each event: there, once, and of one version."""
        self.writer.finish()
        sent = self.writer.sent
        wait_for(lambda: len(self.reader.seen) >= sent,
                 lambda: f"{sent} outputs, but {len(self.reader.seen)}\n{self.process.tail()}")
        seen = list(self.reader.seen)
        ids = [middle for _, _, middle, _ in seen]
        self.assertEqual(set(ids), {f"e{n}" for n in range(sent)})
        self.assertEqual(len(ids), len(set(ids)), "an event was handled twice")
        self.assertEqual([s for s in seen if s[1] != s[3]], [], "half of each version")
        self.assertEqual(self.process.stop(), 0, self.process.tail())
        self.assertEqual(self.kafka.wire.lag("edited", self.edited), 0)

    def test_new_behaviour_within_a_second_and_no_event_lost_or_mixed(self):
        self.writer.start()
        self.wait_version("one")
        delays, saved, old = [], {}, "one"
        for version in ("two", "three", "four"):
            more = len(self.reader.seen) + RATE // 2
            wait_for(lambda: len(self.reader.seen) > more, lambda: f"events flow\n{self.process.tail()}")
            save(self.words, WORDS % version)
            saved[old] = time.monotonic()
            delays.append(self.wait_version(version)[0] - saved[old])
            old = version
        print(f"new behaviour seen after {', '.join(f'{d:.3f} s' for d in delays)}", flush=True)
        self.finish()
        # How long an event takes to come here and back is not the reload's: what counts is when it was written.
        late = [(version, number) for _, version, number, _ in self.reader.seen
                if version in saved and self.writer.written(int(number[1:])) > saved[version] + 1.0]
        self.assertEqual(late, [], "written a second after the save, and handled as before")

    def test_memory_returns_to_where_it_was_after_many_edits(self):
        self.writer.start()
        self.wait_version("one")
        sizes = []
        for number in range(EDITS):
            # What only waits for the collector is none of what is looked for.
            save(self.words, "collectgarbage()\n" + WORDS % f"v{number}")
            self.wait_version(f"v{number}")
            sizes.append(self.process.rss_mb())
        before, after = max(sizes[WARM // 2:WARM]), statistics.median(sizes[-5:])
        print(f"{EDITS} edits: {before:.1f} MB after {WARM}, {after:.1f} MB at the end", flush=True)
        self.assertLess(after, before * 1.05)
        self.finish()

    def test_a_syntax_error_changes_nothing_but_a_message(self):
        self.writer.start()
        self.wait_version("one")
        save(self.path, "sipeat.flow { this is no Lua\n")
        line = self.process.wait_log("script.lua:1:")
        self.assertIn("near", line)
        self.wait_version("one", after=time.monotonic() + 0.5)
        save(self.path, self.source("event.id"))
        save(self.words, "return { version = ")
        self.process.wait_log("words.lua:1:")
        save(self.words, 'error("refused at load")\n')
        self.process.wait_log("refused at load")
        self.wait_version("one", after=time.monotonic() + 0.5)
        self.assertNotIn("two", {s[1] for s in self.reader.seen})
        save(self.words, WORDS % "two")
        self.wait_version("two")
        self.finish()

    def test_a_reload_by_signal_and_by_request(self):
        self.writer.start()
        self.wait_version("one")
        self.process.popen.send_signal(signal.SIGHUP)
        wait_for(lambda: self.process.log.count("runs (loaded") == 1, self.process.tail)
        request = urllib.request.Request(f"http://{self.http}/admin/reload", b"", {"X-Sipeat": "reload"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.assertEqual(answer.status, 200)
        wait_for(lambda: self.process.log.count("runs (loaded") == 2, self.process.tail)
        self.wait_version("one", after=time.monotonic() + 0.5)
        self.finish()


if __name__ == "__main__":
    harness.main()
