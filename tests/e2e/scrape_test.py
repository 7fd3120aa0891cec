"""Whoever reads /metrics badly, or in a bad moment, holds nothing: events go on, memory stays, answers are whole."""

import json
import re
import socket
import threading

from support import harness
from support.harness import get, save

SERIES = 3000
SCRIPT = """
local sipeat = require "sipeat"
local VERSION = @VERSION@
local big = sipeat.metrics.counter("big", "Large.", { "name" }, { limit = 10000 })
for n = 1, @SERIES@ do
  big:add(1, ("x"):rep(100) .. n)
end
sipeat.metrics.gauge("version", "Of the script."):set(VERSION)
local handled = sipeat.metrics.counter("handled", "Events.")
sipeat.flow { topic = "many", group = "many", on = { ["*"] = function() handled:add() end } }
sipeat.http.route("GET /generation", function() return { json = { generation = VERSION } } end)
"""
SAMPLE = re.compile(r'[a-z_]+({[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*})? \S+( # {trace_id="\w+"} \S+ \S+)?')


class Scrapes(harness.Case):
    def run_script(self, *arguments):
        self.path = self.script(self.text(1))
        process = self.start("run", self.path, "--http", "127.0.0.1:0", *arguments)
        self.host = re.search(r"http://([0-9.]+:\d+)", process.wait_log("listening on"))[1]
        process.until(lambda: get(f"http://{self.host}/ready")[0] == 200, "readiness")
        return process

    @staticmethod
    def text(version):
        return SCRIPT.replace("@SERIES@", str(SERIES)).replace("@VERSION@", str(version))

    def scrape(self):
        status, body = get(f"http://{self.host}/metrics", timeout=30)
        self.assertEqual(status, 200, body)
        return body.decode()

    def generation(self):
        return json.loads(get(f"http://{self.host}/generation", timeout=30)[1])["generation"]

    def number(self, name):
        found = re.search(rf"^{name} (\S+)$", self.scrape(), re.M)
        return float(found[1]) if found else 0

    def check(self, body):
        """It is whole, and has each series once."""
        self.assertTrue(body.endswith("\n# EOF\n"), body[-200:])
        lines = [line for line in body.splitlines() if not line.startswith("#")]
        for line in lines:
            if not SAMPLE.fullmatch(line):
                self.fail(f"no sample: {line}")
        series = [line.split(" # ")[0].rsplit(" ", 1)[0] for line in lines]
        self.assertEqual(len(series), len(set(series)))
        self.assertEqual(sum(line.startswith("big_total{") for line in lines), SERIES)
        self.assertIn("# TYPE sipeat_flow_running gauge", body)

    def stuck(self):
        """A connection that asks a hundred times, and reads nothing."""
        host, port = self.host.split(":")
        one = self.enterContext(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(60)
        one.connect((host, int(port)))
        one.sendall(f"GET /metrics HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode() * 100)
        return one

    def test_those_that_do_not_read_hold_nothing(self):
        process = self.run_script("--no-watch")
        size = len(self.scrape())
        before = process.rss_mb()
        stuck = [self.stuck() for _ in range(20)]
        path = self.dir / "events.jsonl"
        path.write_text((json.dumps({"type": "one", "topic": "many", "data": {}}) + "\n") * 200)
        done = self.run_sipeat("publish", "--file", path)
        self.assertEqual(done.returncode, 0, done.log)
        process.until(lambda: self.number("handled_total") == 200, "events beside them")
        for _ in range(10):
            self.check(self.scrape())
        grown = process.rss_mb() - before
        self.assertLess(grown, 20 * 4 * size / 2**20 + 32, "an answer for each, at most, and its making")
        for one in stuck:
            one.close()
        self.assertEqual(process.stop(), 0)

    def test_one_in_the_middle_of_a_reload_is_answered_whole(self):
        process = self.run_script()
        over, wrong, count = threading.Event(), [], [0]

        def scrape():
            while not over.is_set():
                try:
                    self.check(self.scrape())
                    count[0] += 1
                except AssertionError as error:
                    wrong.append(error)
                    return

        readers = [threading.Thread(target=scrape) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for version in range(2, 8):
                asked = count[0]
                save(self.path, self.text(version))
                process.until(lambda v=version: wrong or self.generation() == v,
                              lambda v=version: f"version {v}: {wrong}")
                process.until(lambda n=asked: wrong or count[0] > n, "a scrape beside it")
        finally:
            over.set()
            for reader in readers:
                reader.join(60)
        self.assertEqual(wrong, [])
        self.assertEqual(self.number("version"), 7)
        self.assertGreaterEqual(self.number("sipeat_reloads_total"), 6)
        self.assertEqual(process.stop(), 0)


if __name__ == "__main__":
    harness.main()
