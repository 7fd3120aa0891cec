"""The commands of the pages in docs/, typed in their order: each page has a folder and programs of its own."""

import json
import os
import pty
import re
import subprocess

from support import harness
from support.kafka import Kafka
from support.pages import block, blocks
from support.shell_blocks import NOT_RUN, OWN_TEST, Page

PIPELINE = """
local sipeat = require "sipeat"
sipeat.http.route("GET /", function() return "here" end)
sipeat.flow {
  topic = "orders", group = "orders",
  on = { ["order.created"] = function(event)
    return nil, sipeat.permanent("nothing left", "NO_STOCK")
  end },
}
"""
PARKED = """
local sipeat = require "sipeat"
sipeat.flow { topic = "requests", group = "sales", on = { ["request.created"] = sipeat.chain "drink" {
  { "dispense", effect = "at_most_once", run = function() return nil, "no answer", "ETIMEDOUT" end },
} } }
"""
OUTBOX = """
local sipeat = require "sipeat"
sipeat.publish("order.created", { id = "o-1" }, { topic = "orders", outbox = true })
sipeat.publish("order.created", { id = "o-2", pad = ("x"):rep(4000) }, { topic = "small", outbox = true })
"""


class DocsShell(Page):
    def test_each_page_is_typed_somewhere(self):
        """A page with commands has a test here, in docs_examples_test.py, or one that is named for it."""
        tests = {re.sub(r"\W", "_", name) for name in dir(self) if name.startswith("test_")}
        folder = harness.SOURCE / "tests/e2e"
        text = (folder / "docs_examples_test.py").read_text()
        missing = [page for page in sorted({b.page for b in blocks("sh")})
                   if page not in OWN_TEST and f'"{page}"' not in text
                   and "test_" + re.sub(r"\W", "_", page.removeprefix("docs/").removesuffix(".md")) not in tests]
        self.assertEqual(missing, [])
        self.assertEqual([name for name in OWN_TEST.values() if not (folder / name).exists()], [])
        names = {b.name for b in blocks("sh")}
        self.assertEqual([name for name in NOT_RUN if name not in names], [], "these are gone")
        for name, why in NOT_RUN.items():
            print(f"not run: {name}: it {why}")

    def publish(self, *arguments):
        done = self.run_sipeat("publish", *arguments, env=self.env)
        self.assertEqual(done.returncode, 0, done.tail())

    def dev(self, script, *arguments):
        process = self.start("dev", script, *arguments, env=self.env)
        process.wait_runs()
        return process

    def test_alerts(self):
        self.open("docs/alerts.md")
        self.assertIn("SUCCESS", self.type(1))

    def test_api(self):
        self.open("docs/api.md")
        dev = self.dev("scripts/pipeline.lua")
        said = self.until(1, "drinkName", '"id"')
        self.change("<id>", re.search(r'"id": ?"([^"]+)"', said)[1])
        self.assertIn('"inventory"', self.type(1, "/<id>"))
        dev.stop()
        self.env["SIPEAT_ACCESS"] = self.dir / "access.db"  # dev keeps no users
        self.env["SIPEAT_PRODUCE_TOPICS"] = "invoices"
        token = self.run_sipeat("token", "add", "ci", "--role", "operator", env=self.env).output.strip()
        self.change("<token>", token)
        self.start("run", "scripts/pipeline.lua", env=self.env).wait_runs()
        self.until(1, "api/kafka/produce", '"id"')

    def test_bench(self):
        self.open("docs/bench.md")
        self.assertIn("1 of 1 devices passed", self.type(1, answers="A1\n"))
        self.assertIn("<html", (self.dir / "report.html").read_text())

    def test_chains(self):
        self.open("docs/chains.md")
        self.env["SIPEAT_JOURNAL"] = self.dir / "journal.db"
        self.own("scripts/pipeline.lua", PARKED)
        self.dev("scripts/pipeline.lua")
        for event in ("order-7", "bad-order-7"):
            self.publish("request.created", "--topic", "requests", "--key", event, "--id", event, "--data", "{}")
        self.until(1, "list", "bad-order-7")
        found = self.run_sipeat("chains", "list", "--json", env=self.env).output
        runs = {run["event_id"]: run["id"] for run in map(json.loads, found.splitlines())}
        self.change(r"911993350649823232", runs["order-7"])
        self.assertIn("dispense", self.type(1, "show"))
        self.type(1, "skip")
        self.type(1, "retry")
        self.type(2)

    def test_cli(self):
        self.open("docs/cli.md")
        self.own("scripts/pipeline.lua", PIPELINE)
        self.dev("scripts/pipeline.lua")
        (self.dir / "events.jsonl").write_text(block("docs/cli.md", "json").text)
        self.publish("--file", "events.jsonl", "--topic", "orders")
        harness.wait_for(lambda: "any text, sent as it is" in self.run_sipeat(
            "consume", "orders", "--from-beginning", "--timeout", "2s", env=self.env).output, "both records")

    def test_console_api(self):
        """Each answer that the page shows whole has the fields that it has here."""
        self.open("docs/console-api.md")
        self.own("scripts/pipeline.lua", PIPELINE + 'sipeat.publish("seen", {}, { topic = "seen", outbox = true })\n')
        self.env |= {"SIPEAT_ACCESS": self.dir / "access.db", "SIPEAT_OUTBOX": self.dir / "outbox.db"}
        token = self.run_sipeat("token", "add", "ci", "--role", "admin", env=self.env).output.strip()
        self.start("run", "scripts/pipeline.lua", env=self.env).wait_runs()
        shown = re.findall(r"(?m)^`GET ([a-z]+)` \(viewer\)[^\n]*\n\n```json\n(.*?)^```",
                           (harness.SOURCE / "docs/console-api.md").read_text(), re.S)
        self.assertGreater(len(shown), 6)
        for name, text in shown:
            url = f"http://127.0.0.1:{self.port}/console/api/{name}"
            status, body = harness.get(url, authorization=f"Bearer {token}")
            with self.subTest(name=name):
                self.assertEqual(status, 200, body)
                self.assertEqual(sorted(json.loads(body)), sorted(json.loads(text)))

    def test_metrics(self):
        self.open("docs/metrics.md")
        self.own("scripts/pipeline.lua", PIPELINE)
        self.dev("scripts/pipeline.lua")
        tap = self.start("tap", env=self.env)

        def rows():
            self.publish("order.created", "--topic", "orders", "--data", "{}", "--key", "M-17")
            return re.search(r"(?m)^.*order\.created.*$", tap.output)
        row = harness.wait_for(rows, tap.tail, every=0.5)[0]
        shape = r"^\d\d:\d\d:\d\d\.\d{3}  \w+ +[\d.]+ ms  [\w.]+ +[\w-]{36}  \w+/\d/\d+(  key M-17  .*)?$"
        self.assertRegex(row, shape)
        for line in block("docs/metrics.md", "text").text.splitlines():
            self.assertRegex(line, shape)

    def test_console(self):
        self.open("docs/console.md", KAFKA_BROKERS=None)
        self.change(r"localhost:9092", "127.0.0.1:1")
        self.change(r" *#.*", "")
        dev = self.serve(1, "sipeat dev")
        dev.until(lambda: "/console/" in dev.log + dev.output, "a link")
        dev.stop()
        console = self.serve(1, "sipeat console", until="http://127.0.0.1")
        console.until(lambda: "/console" in console.log + console.output, "a link")

    def test_dead_letters(self):
        self.open("docs/dead-letters.md")
        self.own("scripts/pipeline.lua", PIPELINE)
        self.dev("scripts/pipeline.lua")
        self.publish("order.created", "--topic", "orders", "--data", "{}")
        self.until(2, "sipeat dlq list   ", "NO_STOCK")
        said = self.type(2, "list orders-dlt")
        self.assertIn("NO_STOCK", said)
        self.change(r"\b3:17\b", re.search(r"\b(\d+:\d+)\b(?!:)", said.split("NO_STOCK")[0].splitlines()[-1])[1])
        self.assertIn("nothing left", self.type(2, "show"))
        self.type(2, "--dry-run")
        self.type(2, "--rate")
        self.type(2, "list --parked")
        self.type(2, "replay --parked")

    def test_deployment(self):
        self.open("docs/deployment.md")

    def test_dev(self):
        self.open("docs/dev.md")
        dev = self.dev("scripts/pipeline.lua")
        self.type(1)
        entries = f"http://127.0.0.1:{self.port}/capture/entries.json"
        dev.until(lambda: b"Lovelace" in harness.get(entries)[1], "a mail to Ada")

    def test_http(self):
        self.open("docs/http.md")
        self.own("pipeline.lua", PIPELINE)
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=here"
        subprocess.run([*made.split(), "-keyout", "key.pem", "-out", "chain.pem"],
                       cwd=self.dir, check=True, capture_output=True)
        self.dev("pipeline.lua")
        port = harness.free_ports(1)[0]
        self.change(r"0\.0\.0\.0:8443", f"127.0.0.1:{port}")
        self.serve(1)
        done = subprocess.run(["curl", "-sSk", f"https://127.0.0.1:{port}/"], capture_output=True, check=True)
        self.assertEqual(done.stdout, b"here")

    def test_kafka(self):
        self.open("docs/kafka.md")
        self.assertIn("NAME=VALUE", self.type(1))

    def test_kafka_security(self):
        self.open("docs/kafka-security.md")

    def test_orders(self):
        self.open("docs/orders.md", ORDERS_HTTP="127.0.0.1:0")
        self.serve(1)
        self.assertIn(" 0 failed", self.type(2, deadline=120))

    def test_outbox(self):
        self.open("docs/outbox.md")
        self.own("box.lua", OUTBOX)
        kafka = self.enterContext(Kafka())
        for topic, most in (("orders", "1000000"), ("small", "2000")):
            kafka.wire.create_topic(topic, 1, {"max.message.bytes": most})
        self.env |= {"SIPEAT_OUTBOX": self.dir / "outbox.db", "KAFKA_BROKERS": kafka.address}
        self.start("run", "box.lua", env=self.env).wait_runs()
        said = self.until(1, "list", "small")
        self.change("4711", re.search(r"(?m)^\s*(\d+)\b[^\n]*small", said)[1])
        self.assertIn("o-2", self.type(1, "show"))
        self.type(1, "retry")
        said = self.until(1, "list", "small")
        self.changes.pop()
        self.change("4711", re.search(r"(?m)^\s*(\d+)\b[^\n]*small", said)[1])
        self.until(1, "show", "o-2")
        self.type(1, "discard", answers=self.changes[-1][1] + "\n")

    def test_performance(self):
        self.open("docs/performance.md")

    def test_permissions(self):
        self.open("docs/permissions.md")
        self.assertIn("hosts", self.type(1))
        self.own("srv/billing.lua", 'local sipeat = require "sipeat"\nsipeat.permissions { topics = { "orders" } }\n'
                 + "\n" * 28 + 'local answer, why = sipeat.http.get "https://evil.example/"\n'
                 + 'sipeat.log.info(answer or why)\n')
        dev = self.start("dev", "srv/billing.lua", env=self.env)
        dev.until(lambda: "is not permitted" in dev.log, "a refusal")
        self.change("^/srv", str(self.dir / "srv"))
        refusal = next(line["message"] for line in dev.lines if "is not permitted" in line["message"])
        self.shown(refusal.splitlines()[0])

    def test_projections(self):
        self.open("docs/projections.md")
        self.dev("examples/cqrs/main.lua")
        self.assertIn("stock", self.type(1))

    def test_runbook(self):
        self.open("docs/runbook.md")
        self.own("scripts/pipeline.lua", PIPELINE)
        self.dev("scripts/pipeline.lua")
        self.change("TOPIC", "orders")
        self.change("GROUP", "orders")
        self.until(1, None, "ok      program")

    def type_unseen(self, number, part, password):
        """Types a command that asks a terminal for a password, twice."""
        text = self.take(number, part).split("#")[0].strip()
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            os.execvpe("bash", ["bash", "-c", text], harness.environment(self.dir, self.env))
        said = b""
        for _ in range(2):
            asked = said.count(b":")
            while said.count(b":") == asked:
                said += os.read(terminal, 1000)
            os.write(terminal, password.encode() + b"\n")
        status = os.waitpid(pid, 0)[1]
        os.close(terminal)
        self.assertEqual(status, 0, said)

    def test_security(self):
        self.open("docs/security.md")
        self.env["SIPEAT_ACCESS"] = self.dir / "access.db"
        said = self.type(2, "token add")
        self.type_unseen(1, "user add", "a long password")
        self.assertIn("ada", self.type(1, "user list"))
        self.type(1, "user role")
        self.type_unseen(1, "user password", "another password")
        self.type(1, "user remove")
        self.env["KAFKA_BROKERS"] = "127.0.0.1:1"
        self.start("run", "scripts/pipeline.lua", env=self.env).wait_log("listening")
        self.env["TOKEN"] = re.search(r"sipeat_\w+", said)[0]
        self.assertIn('"cluster"', self.type(2, "curl"))
        self.type(3)
        self.assertIn(" open ", (self.dir / "seal.keys").read_text())
        self.assertRegex((self.dir / "producer.keys").read_text(), r"^\S+ seal \S+\n$")

    def sim(self):
        self.serve_sim = self.start("serial", "sim", "xy", "--link", self.dir / "board", env=self.env)
        harness.wait_for((self.dir / "board").is_symlink, self.serve_sim.tail)

    def test_serial(self):
        self.open("docs/serial.md")
        pump = self.dev("examples/pump/main.lua")
        self.assertIn("30", self.type(1), pump.tail())

    def pair(self, one, other):
        self.processes.append(harness.Process(
            [f"pty,raw,echo=0,link={one}", f"pty,raw,echo=0,link={other}"], self.dir, self.env, "socat"))
        harness.wait_for(lambda: (self.dir / one).is_symlink() and (self.dir / other).is_symlink(), "a pair")

    def test_serial_cli(self):
        self.open("docs/serial-cli.md")
        for name in ("board", "program", "tap", "other", "host"):
            self.change(f"/tmp/{name}\\b", self.dir / name)
        self.change("/dev/ttyUSB0", self.dir / "board")
        board = self.serve(3, until="board")
        harness.wait_for((self.dir / "board").is_symlink, board.tail)
        self.type(2, "record")
        self.assertIn("POLL", self.type(2, "# show it"))
        self.change(r" *#.*", "")
        other = self.start("serial", "sim", "xy", "--link", self.dir / "other", env=self.env)
        harness.wait_for((self.dir / "other").is_symlink, other.tail)
        self.type(2, "# send what", code=(0, 1))  # 1 where the two part
        self.pair("host", "program-of-the-host")
        self.type(2, "# be the board")
        self.pair(*re.findall(r"link=\S*/(\w+)", self.take(1, "socat")))
        monitor = self.serve(1, "monitor", until="POLL")
        done = self.run_sipeat("serial", "send", self.dir / "program", "--hex", "FA FB 42 00 43", env=self.env)
        self.assertEqual(done.returncode, 0, done.tail())
        monitor.until(lambda: "ACK" in monitor.output, "the answer")
        self.change(r"12:00:01\.\d{6}", "…")
        self.shown(monitor.output)

    def test_testing(self):
        self.open("docs/testing.md")
        self.own("orders.lua", "")
        self.own("tests/orders_test.lua", 'require("sipeat.testing").test("it", function() end)\n')
        self.type(1)

    def test_traces(self):
        self.open("docs/traces.md")
        self.own("pipeline.lua", PIPELINE)
        self.dev("pipeline.lua")
        self.env["SIPEAT_HTTP"] = "127.0.0.1:0"
        self.serve(1)

    def test_workers(self):
        self.open("docs/workers.md")
        self.own("pipeline.lua", PIPELINE)
        self.dev("pipeline.lua")
        self.env["SIPEAT_HTTP"] = "127.0.0.1:0"
        run = self.serve(1)
        run.until(lambda: run.log.count("joining the group") == 4, "four workers")




if __name__ == "__main__":
    harness.main()
