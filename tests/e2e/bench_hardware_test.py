"""`sipeat bench` as a technician meets it: what passes and fails, retries, prompts, several devices, reports.

SIPEAT_SOAK=1 dispenses a thousand times from each simulated board."""

import html.parser
import json
import os
import signal
import subprocess
import xml.etree.ElementTree as ElementTree

from support import harness
from support.harness import BINARY, SOURCE, environment, wait_for

OK, FAILED, USAGE, SCRIPT = range(4)
DISPENSES = 1000 if os.environ.get("SIPEAT_SOAK") == "1" else 3
PLAN = """
local bench = require "sipeat.bench"
bench.plan { name = "Demo", protocol = "xy", simulator = { poll_ms = 110 }%s }
%s
"""


class Page(html.parser.HTMLParser):
    """Tags that stay open, and what is fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched, self.canvases, self.plots = [], [], 0, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.canvases += tag == "canvas"
        self.fetched += [attrs[name] for name in ("src", "href") if attrs.get(name, "#")[0] != "#"]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append((tag, attrs.get("id")))

    def handle_endtag(self, tag):
        last = self.open.pop()[0]
        assert last == tag, f"{tag} ends {last}"

    def handle_data(self, data):
        if self.open and self.open[-1][1] == "plots":
            self.plots += data


class Bench(harness.Case):
    def bench(self, body, *arguments, code=OK, plan=""):
        self.script(PLAN % (plan, body), "plan.lua")
        done = self.run_sipeat("bench", "plan.lua", *arguments)
        self.assertEqual(done.returncode, code, done.tail())
        return done

    def report(self, body, *arguments, code=OK, plan=""):
        return json.loads(self.bench(body, "--port", "sim", "--json", *arguments, code=code, plan=plan).output)

    def test_values_limits_and_units(self):
        body = """
        bench.phase("volts", function(device)
          device:measure("supply", 24.1, { min = 23.5, max = 24.5, unit = "V" })
          device:measure("firmware", "1.2", { equals = "1.2" })
          device:measure("ripple", 31, { max = 20, unit = "mV", go_on = true })
          device:measure("last", 1)
        end)
        bench.phase("never", function() error "not reached" end)
        """
        report = self.report(body, code=FAILED)
        device = report["devices"][0]
        self.assertEqual([p["outcome"] for p in device["phases"]], ["passed", "failed", "skipped"])
        steps = device["phases"][1]["steps"]
        self.assertEqual([s["outcome"] for s in steps], ["passed", "passed", "failed", "passed"])
        self.assertEqual((steps[2]["value"], steps[2]["limits"]), (31, "at most 20 mV"))
        self.assertEqual(device["message"], "volts: ripple: 31 mV is out of limits (at most 20 mV)")
        table = self.bench(body, "--port", "sim", code=FAILED).output
        for part in ("supply", "24.1 V", "23.5 to 24.5 V", "FAILED: volts: ripple", "0 of 1 devices passed"):
            self.assertIn(part, table)
        went_on = self.report(body, "--keep-going", code=FAILED)["devices"][0]["phases"][2]
        self.assertIn("not reached", went_on["message"])

    def test_retries_of_steps_and_phases(self):
        report = self.report("""
        local tries, runs = 0, 0
        bench.phase("steps", function(device)
          device:step("third time", { retries = 2, pause = "1ms" }, function()
            tries = tries + 1
            if tries < 3 then return nil, "not yet" end
            return tries
          end)
        end)
        bench.phase("phases", { retries = 1 }, function(device)
          runs = runs + 1
          device:step("second run", function() return runs == 2, "once more" end)
        end)
        bench.phase("nothing", function(device)
          device:step("no return", function() end)
          local value, message = device:step("a nil", { go_on = true }, function() return nil end)
          device:measure("message", message, { equals = "it gave nil" })
        end)
        bench.phase("optional", { optional = true }, function() error "no matter" end)
        bench.phase("slow", { timeout = "50ms", optional = true }, function() bench.sleep "1h" end)
        """, "--keep-going", code=FAILED)
        phases = {p["name"]: p for p in report["devices"][0]["phases"]}
        self.assertEqual([s["outcome"] for s in phases["nothing"]["steps"]], ["passed", "failed", "passed"])
        self.assertEqual((phases["steps"]["steps"][0]["attempts"], phases["steps"]["steps"][0]["value"]), (3, 3))
        self.assertEqual((phases["phases"]["attempts"], phases["phases"]["outcome"]), (2, "passed"))
        self.assertEqual(phases["optional"]["outcome"], "failed")
        self.assertIn("did not finish within 50ms", phases["slow"]["message"])

    def test_an_optional_phase_may_fail(self):
        device = self.report('bench.phase("no matter", { optional = true }, function() error "it" end)')["devices"][0]
        self.assertEqual([p["outcome"] for p in device["phases"]], ["passed", "failed"])

    def test_series_are_judged_and_plotted(self):
        body = """
        bench.phase("many", function(device)
          local times = device:series("times", {
            unit = "ms", at_most = { p99 = 98, max = 200 }, at_least = { min = 1 },
          })
          for i = 1, 100 do times:add(i) end
        end)
        """
        done = self.bench(body, "--port", "sim", "--port", "sim", "--html", "r.html", "--junit", "r.xml", "--operator",
                          "Ada <&>", code=FAILED)
        self.assertIn("p99 is 99 ms, at most 98 ms", done.output)
        self.assertIn("min at least 1, p99 at most 98, max at most 200", done.output)
        page = Page((self.dir / "r.html").read_text())
        self.assertEqual((page.open, page.fetched, page.canvases), ([], [], 4))
        plots = json.loads(page.plots)
        self.assertEqual((len(plots), plots[0]["points"][0], len(plots[0]["points"])), (2, [1, 1], 100))
        self.assertIn("Ada &lt;&amp;&gt;", (self.dir / "r.html").read_text())
        suites = ElementTree.parse(self.dir / "r.xml").getroot()
        self.assertEqual([(s.get("tests"), s.get("failures")) for s in suites], [("2", "1"), ("2", "1")])

    def test_devices_run_at_once(self):
        """Each waits for the other: one after the other they would never end."""
        report = self.report("""
        local task = require "sipeat.task"
        local here = 0
        bench.phase("meet", { timeout = "20s" }, function(device)
          here = here + 1
          while here < 3 do task.sleep "5ms" end
          device:measure("number", here)
        end)
        """, "--port", "sim", "--port", "sim", "--serial", "A1", "--serial", "A2", "--serial", "A3")
        self.assertEqual([d["serial"] for d in report["devices"]], ["A1", "A2", "A3"])
        self.assertEqual({d["outcome"] for d in report["devices"]}, {"passed"})

    def test_parameters(self):
        body = """
        local count = bench.parameter("count", 5)
        bench.phase("p", function(device) device:measure("count", count, { equals = 7 }) end)
        """
        self.assertEqual(self.report(body, "--with", "count=7")["parameters"], {"count": 7})
        self.assertIn("no parameter counts", self.bench(body, "--port", "sim", "--with", "counts=7", code=USAGE).log)
        self.assertIn("is no integer", self.bench(body, "--port", "sim", "--with", "count=x", code=SCRIPT).log)

    def test_the_operator(self):
        body = """
        bench.phase("look", function(device)
          device:measure("colour", device:ask("which colour?", { choices = { "red", "green" }, default = "green" }))
          device:measure("lit", device:confirm "is it lit?", { equals = true })
        end)
        """
        plan = ', serial_number = "%u%u%d+"'
        self.script(PLAN % (plan, body), "plan.lua")
        command = [BINARY, "bench", "plan.lua", "--port", "sim", "--json"]
        done = subprocess.run(command, input="xx\nAB12\nblue\nred\n\n", cwd=self.dir, env=environment(self.dir),
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        device = json.loads(done.stdout)["devices"][0]
        self.assertEqual((device["serial"], device["phases"][1]["steps"][0]["value"]), ("AB12", "red"))
        self.assertIn("[#1] which colour? [green]", done.stderr)
        self.assertIn("one of red, green", done.stderr)
        defaults = self.report(body, "--yes", "--serial", "AB13", plan=plan)["devices"][0]
        self.assertEqual(defaults["phases"][1]["steps"][0]["value"], "green")
        nobody = self.bench(body, "--port", "sim", "--serial", "AB14", code=FAILED, plan=plan)
        self.assertIn("nobody is there to answer", nobody.output)

    def popen(self, *arguments):
        process = subprocess.Popen([BINARY, *arguments], cwd=self.dir, env=environment(self.dir), text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for clean in (process.wait, process.kill, process.stdin.close, process.stdout.close, process.stderr.close):
            self.addCleanup(clean)
        return process

    def test_a_jam_that_the_operator_makes(self):
        """At a board that is not the test's own, a person is asked: here one who types at the board."""
        board = self.popen("serial", "sim", "xy", "--link", "board", "--set", "motor_ms=50", "--set", "poll_ms=110")
        self.assertIn("is at board", board.stdout.readline())
        bench = self.popen("bench", SOURCE / "examples/bench/xy.lua", "--port", "board", "-k", "jam")
        asked = []
        for line in bench.stderr:
            asked.append(line.strip())
            if "Block slot 1" in line:
                board.stdin.write("fault kind=jam\n")
                board.stdin.flush()
                self.assertIn("ok=true", board.stdout.readline())
            bench.stdin.write("yes\n")
            bench.stdin.flush()
        self.assertEqual(bench.wait(60), 0, asked)
        self.assertEqual([line.split("] ", 1)[1].split(".")[0] for line in asked],
                         ["Fill slot 1 with 5 products", "Block slot 1 so that nothing can fall",
                          "Take away what blocks slot 1"])

    def test_a_port_that_is_not_there(self):
        report = json.loads(self.bench('bench.phase("p", function() end)', "--port", "/dev/nothing", "--json",
                                       code=FAILED).output)
        self.assertIn("connect: ", report["devices"][0]["message"])
        self.assertIn("/dev/nothing", report["devices"][0]["message"])

    def test_files_and_options_that_are_wrong(self):
        for body, code, part in (
                ("bench.phase('p', 5)", SCRIPT, "a function is needed"),
                ("error 'broken'", SCRIPT, "plan.lua:4"),
                ("", SCRIPT, "declares no bench.phase"),
                ("bench.phase('p', { retires = 1 }, print)", SCRIPT, "did you mean retries?")):
            with self.subTest(body=body):
                self.assertIn(part, self.bench(body, "--port", "sim", code=code).log)
        body = 'bench.phase("p", function() end)'
        for arguments, part in (((), "which device?"), (("--port", "sim", "--protocol", "xi"), "is none of"),
                                (("--port", "a", "--port", "a"), "named twice"),
                                (("--port", "sim", "--serial", "1", "--serial", "2"), "more serial numbers")):
            with self.subTest(arguments=arguments):
                self.assertIn(part, self.bench(body, *arguments, code=USAGE).log)
        self.assertIn("r/r/r.html", self.bench(body, "--port", "sim", "--html", "r/r/r.html", code=FAILED).log)

    def test_an_interrupt_ends_it_in_order(self):
        self.script(PLAN % ("", """
        bench.phase("long", function(device) device:note "here"; bench.sleep "1h" end)
        """), "plan.lua")
        bench = self.start("bench", "plan.lua", "--port", "sim")
        wait_for(lambda: bench.popen.poll() is None and self.opened(bench), "the board is open")
        self.assertEqual(bench.stop(signal.SIGINT), 130, bench.tail())
        self.assertIn("stopped: it was interrupted", bench.output)

    @staticmethod
    def opened(process):
        folder = harness.pathlib.Path(f"/proc/{process.popen.pid}/fd")
        return sum(str(fd.resolve()).startswith("/dev/pts/") for fd in folder.iterdir()) > 0

    def test_the_examples_pass_on_simulated_boards(self):
        running = {}
        for path in sorted((SOURCE / "examples/bench").glob("*.lua")):
            if "bench.plan" in path.read_text():
                running[path] = self.start("bench", path, "--port", "sim", "--yes", "--with", f"dispenses={DISPENSES}",
                                           "--with", f"samples={max(5, DISPENSES // 5)}")
        for path, process in running.items():
            with self.subTest(path=path.name):
                self.assertEqual(process.wait(100 + 2 * DISPENSES), 0, process.tail())
                for phase in ("self test", "endurance", "recovery", "latency"):
                    self.assertIn(phase, process.output)


if __name__ == "__main__":
    harness.main()
