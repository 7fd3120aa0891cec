"""A real Prometheus scrapes a program on which everything goes wrong at once: each alert of deploy/prometheus fires on
its fault; the dashboard asks for nothing that is not served; docs/metrics.md lists what is served, no more and no less.
"""

import json
import os
import pathlib
import re
import resource
import subprocess

from support import harness, kcat
from support.harness import SOURCE, get, save, wait_for
from support.prometheus import Prometheus

RULES = pathlib.Path(SOURCE, "deploy/prometheus/sipeat.rules.yml")
SCRIPT = """
local sipeat = require "sipeat"
local metrics, task = sipeat.metrics, sipeat.task

local ids = metrics.counter("by_id", "Without end.", { "id" }, { limit = 2 })
local stripe = sipeat.breaker { name = "stripe", failures = 1, open = "1h" }(function()
  return nil, "no answer", "ETIMEDOUT"
end)
sipeat.rate_limit { name = "r", rate = "100/s" }(print)
sipeat.bulkhead { name = "b", limit = 10 }(print)
local sendings = 0
local figures = sipeat.batch.new {
  name = "figures", flush = "50ms", retry = { backoff = { "10ms", "10ms" } },
  send = function()
    sendings = sendings + 1
    if sendings == 1 then
      return nil, "no answer", "ETIMEDOUT"
    end
    return true
  end,
}
sipeat.outbox {}
assert(sipeat.vending.attach { machine = "M-1", driver = "simulated", settings = { slots = { 5 } } })
require("sipeat.serial").open { port = "@PORT@", patient = true, keep = true }
sipeat.http.route("GET /hello", function() return "hello" end)
local db = assert(require("sipeat.sql").open "relay.db")
local relay = require("sipeat.relay").new { db = db, every = "1h" }
assert(relay:start())
local function tell()
  return db:transaction(function(tx)
    return relay:add(tx, "told.do", { n = 1 }, { topic = "told" })
  end)
end
assert(tell())
relay:wake()
sipeat.http.route("POST /forgotten", function()
  assert(tell())
  assert(db:exec "UPDATE outbox SET added_ms = added_ms - 600000")
  return { status = 204 }
end)

sipeat.flow {
  topic = "slow", group = "slow", concurrency = 1,
  on = { ["slow.do"] = function() task.sleep "120s" end },
}
sipeat.flow {
  topic = "bad", group = "bad", dead_letter = true,
  retry = { attempts = 4, backoff = { "600ms", "600ms" }, budget = { name = "budget" } },
  on = { ["bad.do"] = function(event)
    ids:add(1, event.id .. task.monotonic_ms())
    stripe()
    figures:add { id = event.id }
    return nil, "always fails"
  end },
}
sipeat.flow {
  topic = "later", group = "later", order = "none", retry = { attempts = 2, topics = { "1h" } },
  on = { ["later.do"] = function() return nil, "not now" end },
}
sipeat.flow {
  topic = "doubt", group = "doubt", journal = true,
  on = { ["doubt.do"] = sipeat.chain "drink" {
    { "motor", effect = "at_most_once", run = function()
      return nil, sipeat.permanent("the motor said nothing", "UNKNOWN_OUTCOME")
    end },
  } },
}
"""
EVERY = {"SipeatDown", "SipeatNotReady", "SipeatLag", "SipeatFailureRatio", "SipeatDeadLettersGrow", "SipeatParked",
         "SipeatBreakerOpen", "SipeatBoardOffline", "SipeatJournalNotWritable", "SipeatHotPartition",
         "SipeatReloadRefused", "SipeatLabelsOverflow", "SipeatRelayStuck"}
ENDS = {"counter": "_total", "histogram": "_count"}  # of a series
AT_THE_END = {"SipeatJournalNotWritable", "SipeatNotReady"}


def quick(rules):
    """The rules with seconds for minutes."""
    return re.sub(r"\n *for: \w+", "", re.sub(r"\[\d+[mh]\]", "[30s]", rules))


def event(kind, number):
    return "key", json.dumps({"id": f"{kind}-{number}", "type": f"{kind}.do", "data": {}})


class Alerts(harness.Case):
    def setUp(self):
        super().setUp()
        self.port = self.dir / "board"
        board = self.start("serial", "sim", "modbus", "--link", str(self.port))
        board.until(self.port.exists, "a board")
        self.path = self.script(SCRIPT.replace("@PORT@", str(self.port)))
        self.process = self.start("run", str(self.path), "--http", "127.0.0.1:0", "--journal", "journal.db",
                                  "--drain", "60s", "--outbox", "outbox.db", "-X", "statistics.interval.ms=500")
        self.url = re.search(r"http://([\d.:]+)", self.process.wait_log("listening on"))[1]
        broker = re.search(r"inside at ([\d.]+:\d+)", self.process.wait_log("inside at"))[1]
        self.process.until(lambda: get(f"http://{self.url}/ready")[0] == 200, lambda: get(f"http://{self.url}/ready"))
        self.board, self.broker = board, broker

    def write(self, topic, kind, count):
        kcat.write(self.broker, topic, [event(kind, number) for number in range(count)])

    def break_all(self):
        self.board.popen.kill()
        self.write("slow", "slow", 1100)
        self.write("bad", "bad", 12)
        self.write("doubt", "doubt", 1)
        self.write("later", "later", 1)
        self.assertEqual(get(f"http://{self.url}/forgotten", body=b"")[0], 204)
        save(self.path, "this is no Lua")

    def break_journal(self):
        resource.prlimit(self.process.popen.pid, resource.RLIMIT_FSIZE, (1, 1))
        self.write("doubt", "doubt", 1)

    def check_tap(self):
        """Somebody who watches sees an attempt that fails, and why."""
        tap = self.start("tap", "bad", "--failed", "--json", "--max", "1", "--http", self.url)

        def ended():
            self.write("bad", "bad", 1)
            return tap.popen.poll() is not None

        wait_for(ended, tap.tail, every=0.3)
        self.assertEqual(tap.wait(), 0, tap.tail())
        one = json.loads(tap.output)
        self.assertEqual((one["group"], one["type"], one["topic"], one["key"], one["why"]),
                         ("bad", "bad.do", "bad", "key", "always fails"))
        self.assertIn(one["outcome"], ("retried", "dead"))

    def check_top(self):
        told = json.loads(self.run_sipeat("top", "--once", "--json", "--every", "200ms", "--http", self.url).output)
        flows = {one["group"]: one for one in told["flows"]}
        self.assertEqual(set(flows), {"slow", "bad", "doubt", "later"})
        self.assertEqual((flows["slow"]["running"], flows["slow"]["lag"]), (1, 1100))
        self.assertGreater(flows["bad"]["dead"], 0)
        shown = self.run_sipeat("top", "--once", "--every", "200ms", "--http", self.url).output
        self.assertRegex(shown, r"(?m)^slow +0\.0 +1100 +1 +1099 ")
        nobody = self.run_sipeat("top", "--once", "--http", "127.0.0.1:1")
        self.assertEqual(nobody.wait(), 1)
        self.assertIn("no program answers at 127.0.0.1:1", nobody.log)

    def check_dashboard(self, prometheus):
        """Each expression is one that Prometheus takes, and names only what is there."""
        served = prometheus.names()
        board = json.loads(pathlib.Path(SOURCE, "deploy/grafana/sipeat.json").read_text())
        targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
        self.assertGreater(len(targets), 20)
        for expression in targets:
            with self.subTest(expression):
                for name in re.findall(r"\b(?:sipeat|messaging|http)_\w+", re.sub(r"by \([^)]*\)", "", expression)):
                    if name not in LABELS:
                        self.assertIn(name, served)
                prometheus.query(expression.replace("$__rate_interval", "5s").replace("$job", "sipeat"))

    def check_page(self, prometheus):
        """docs/metrics.md against what is served: names, kinds and labels."""
        told = {name + ENDS.get(kind, ""): (name, kind, labels) for name, (kind, labels) in documented().items()}

        def served():
            return {name for name in prometheus.names() if name.startswith(("sipeat_", "messaging_", "http_"))
                    and not name.endswith(("_bucket", "_sum"))}

        wait_for(lambda: served() >= set(told), lambda: f"not served: {set(told) - served()}")
        self.assertEqual(served(), set(told))
        kinds = {name.removesuffix("_total"): one[0]["type"] for name, one in prometheus.ask("metadata").items()}
        for series, (name, kind, labels) in told.items():
            self.assertEqual(kinds.get(name, kind), kind, name)
            found = {label for one in prometheus.ask("series", **{"match[]": series})
                     for label in one if label not in ("__name__", "job", "instance")}
            with self.subTest(name):
                self.assertLessEqual(found, set(labels))

    def test_each_alert_fires_on_its_fault(self):
        with Prometheus([self.url, "127.0.0.1:1"], quick(RULES.read_text())) as prometheus:
            self.process.until(lambda: prometheus.query("sipeat_flow_dead_total"), "a scrape")
            self.assertEqual(prometheus.fired() - {"SipeatDown"}, set())
            self.assertEqual(get(f"http://{self.url}/hello")[0], 200)
            self.break_all()
            self.check_tap()
            self.process.until(lambda: prometheus.fired() >= EVERY - AT_THE_END,
                               lambda: f"missing: {EVERY - AT_THE_END - prometheus.fired()}")
            self.assertFalse(prometheus.fired() & AT_THE_END)
            reasons = json.loads(get(f"http://{self.url}/health")[1])["reasons"]
            self.assertTrue(any("breaker stripe is open" in one for one in reasons), reasons)
            self.check_page(prometheus)
            self.check_dashboard(prometheus)
            self.check_top()
            self.break_journal()
            wait_for(lambda: prometheus.fired() == EVERY, lambda: f"missing: {EVERY - prometheus.fired()}\n"
                     f"{self.process.tail()}")
            status, body = get(f"http://{self.url}/health")
            self.assertEqual((status, json.loads(body)["status"]), (503, "failing"), body)


class Rules(harness.Case):
    def test_promtool_finds_each_alert_on_its_fault_and_none_without(self):
        for arguments in (("check", "rules", "sipeat.rules.yml"), ("test", "rules", "sipeat.rules.test.yml"),
                          ("check", "config", "prometheus.yml")):
            done = subprocess.run(["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        named = set(re.findall(r"alert: (\w+)", RULES.read_text()))
        self.assertEqual(named, EVERY)
        page = pathlib.Path(SOURCE, "docs/alerts.md").read_text()
        self.assertEqual(named, set(re.findall(r"^## (Sipeat\w+)", page, re.M)))
        tested = set(re.findall(r"alertname: (\w+)", (RULES.parent / "sipeat.rules.test.yml").read_text()))
        self.assertEqual(named, tested)


def documented():
    """The tables of docs/metrics.md: name -> (kind, labels)."""
    page = pathlib.Path(SOURCE, "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*) \|", page, re.M)
    return {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}


LABELS = {label for _, labels in documented().values() for label in labels} | {"le"}


if __name__ == "__main__":
    harness.main()
