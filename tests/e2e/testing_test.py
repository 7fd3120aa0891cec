"""`sipeat test` as a person meets it: what it finds, how it says what is wrong, limits, exit codes, and what it writes
for other programs."""

import json
import os
import pathlib
import re
import signal
import subprocess
import xml.etree.ElementTree as ElementTree

from support import harness
from support.harness import BINARY, environment, save

OK, FAILED, USAGE, SCRIPT = range(4)
GOOD = """
local t = require "sipeat.testing"
t.test("adds", function() t.eq(1 + 1, 2) end)
t.test("waits three days", function() t.advance "3d" end)
"""
CRASHES = """
local money = require "sipeat.money"
local sipeat = require "sipeat"
local stripe = require "sipeat.stripe"
local t = require "sipeat.testing"

local function crash(reconcile)
  local payments = t.payments()
  t.crash_at_every_step(function(run)
    local before, vends = payments.captured(), 0
    local outcome = run(sipeat.chain "sale" {
      { "payment", effect = "idempotent", lifetime = "23h", run = stripe.capture, undo = stripe.refund,
        reconcile = stripe.reconcile,
        args = function(event)
          return { amount = money.new(150, "EUR"), payment_method = "pm_card_visa", metadata = { order = event.id } }
        end },
      { "vend", effect = "at_most_once", run = function()
        vends = vends + 1
        run.point "vended"
        return true
      end, reconcile = function() return reconcile or vends > 0 and "done" or "not_done" end },
    })
    t.eq({ outcome.state, vends, payments.captured() - before }, { "done", 1, 1 })
  end)
end

t.test("a sale survives", function() crash() end)
t.test("a sale that lies to itself does not", function() crash "not_done" end)
"""
MIXED = """
local t = require "sipeat.testing"
local task = require "sipeat.task"
local log = require("sipeat.log").new "mixed"

t.test("tables differ", function()
  print "printed"
  log:warn "logged"
  t.eq({ a = 1, list = { 1, { b = "x" } } }, { a = 1, list = { 1, { b = "y" } } })
end)
t.test("is left out", function() t.skip "no reason at all" end)
t.test("waits for what never comes", function() require("sipeat.core.task").signal():wait() end)
t.test("waits for ever", function() while true do task.sleep "10d" end end)
t.test("counts for ever", function() while true do end end)
t.test("leaves a task", function()
  task.spawn(function() require("sipeat.core.task").signal():wait() end)
end)
t.test("asks for what no rule answers", function()
  require("sipeat.http").post("https://a.example/x", { json = { n = 1 }, headers = { Authorization = "secret-1" } })
end)
t.test("expects what does not come", function() t.http.expect("GET", "/never", {}) end)
t.test("asks too often", function()
  t.http.expect("GET", "/once", {})
  require("sipeat.http").get "http://h/once"
  require("sipeat.http").get "http://h/once"
end)
t.test("asks in the wrong order", function()
  t.http.ordered()
  t.http.expect("GET", "/first", {})
  t.http.expect("GET", "/second", {})
  require("sipeat.http").get "http://h/second"
  require("sipeat.http").get "http://h/first"
end)
t.test("sends a mail to nobody", function()
  t.env { SMTP_URL = "smtp://x.example" }
  require("sipeat.mail").send { from = "a@b.example", to = "c@d.example", subject = "s", text = "t" }
end)
t.test("fails in a helper", function()
  local function helper() error "deep down" end
  helper()
end)
t.test("takes too much memory", function() local s = "x" while true do s = s .. s end end)
t.test("a task that ends by itself is no leak", function()
  task.spawn(function() task.sleep "59m" end)
  require("sipeat").every("1m", function() end)
end)
"""
RANDOM = """
local t = require "sipeat.testing"
local sys = require "sipeat.core.sys"
t.test("random", function() t.fail(sys.uuid() .. " " .. math.random(1 << 40) .. " " .. os.time()) end)
"""
ISOLATED = """
local t = require "sipeat.testing"
local seen = 0
t.before(function() seen = seen + 1 end)
t.after(function() print "after" end)
for _, name in ipairs { "one", "two" } do
  t.test(name, function()
    t.eq(seen, 1)
    t.eq(rawget(_G, "left"), nil)
    _G.left = name
    t.eq(os.getenv "SECRET_OF_THE_MACHINE", nil)
    t.eq(require("sipeat.env").get "SECRET_OF_THE_MACHINE", nil)
  end)
end
"""


class Testing(harness.Case):
    def sipeat(self, *arguments, **env):
        return subprocess.run([BINARY, "test", *arguments], cwd=self.dir, env=environment(self.dir, env), timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8")

    def file(self, name, text):
        path = pathlib.Path(self.dir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, text)

    def results(self, *arguments, **env):
        done = self.sipeat(*arguments, "--json", **env)
        return done, {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}

    def test_tests_are_found_and_counted(self):
        self.file("tests/a_test.lua", GOOD)
        self.file("tests/deep/er/b_test.lua", GOOD)
        self.file("tests/helper.lua", "error 'not a test'")
        self.file("other/c_test.lua", GOOD)
        done = self.sipeat()
        self.assertEqual((done.returncode, done.stderr), (OK, ""))
        self.assertRegex(done.stdout, r"4 passed, 0 failed, 0 skipped \(seed \d+\)\n$")
        self.assertRegex(done.stdout, r"(?m)^ok +adds  tests/a_test.lua:3$")
        self.assertIn("2 passed", self.sipeat("other").stdout)
        self.assertIn("2 passed", self.sipeat("other/c_test.lua").stdout)
        self.assertIn("6 passed", self.sipeat(".").stdout)
        self.assertIn("1 passed", self.sipeat("other", "-k", "three days").stdout)
        self.assertIn("2 passed", self.sipeat(".", "-k", "deep/er").stdout)
        done = self.sipeat("other", "-k", "nothing")
        self.assertEqual(done.returncode, FAILED)
        self.assertIn("no test was found with that name", done.stderr)
        done = self.sipeat("nowhere")
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("open nowhere: No such file or directory", done.stderr)

    def test_each_kind_of_failure_says_what_and_where(self):
        self.file("m_test.lua", MIXED)
        done, results = self.results("--timeout", "2s", "m_test.lua")
        self.assertEqual(done.returncode, FAILED)

        def failed(name, message, line=None):
            one = results[name]
            self.assertEqual(one["status"], "failed", one)
            self.assertIn(message, one["message"])
            if line:
                self.assertEqual(one["line"], line, one)
            return one

        differ = failed("tables differ", 'list[2].b: got "x", expected "y"', 9)
        self.assertIn("printed\n", differ["output"])
        self.assertIn("logged", differ["output"])
        self.assertNotIn("stdlib/testing_run", differ["traceback"])
        self.assertEqual((results["is left out"]["status"], results["is left out"]["message"]),
                         ("skipped", "no reason at all"))
        failed("waits for what never comes", "waits for what never comes", 12)
        forever = failed("waits for ever", "limit of virtual time", 13)
        self.assertGreater(forever["virtual_ms"], 380 * 86400 * 1000)
        self.assertLess(forever["real_ms"], 2000)
        failed("counts for ever", "limit of real time", 14)
        failed("leaves a task", "1 task(s) still run an hour after the test")
        asked = failed("asks for what no rule answers", "no rule of the test answers it")
        self.assertIn("POST https://a.example/x", asked["message"])
        self.assertIn('{"n":1}', asked["message"])
        self.assertNotIn("secret-1", asked["message"])
        failed("expects what does not come", "GET /never was expected 1 time(s), and came 0 time(s)")
        failed("asks too often", "GET /once was answered 1 time(s) already")
        failed("asks in the wrong order", "GET /first is expected first")
        failed("sends a mail to nobody", 'an unexpected mail: "s" to c@d.example')
        failed("fails in a helper", "deep down", 39)
        failed("takes too much memory", "memory")
        self.assertEqual(results["a task that ends by itself is no leak"]["status"], "passed")
        self.assertIn("ok", self.sipeat("m_test.lua", "-k", "is no leak").stdout)

    def test_people_see_the_output_of_failures_only(self):
        self.file("m_test.lua", MIXED)
        text = self.sipeat("m_test.lua", "-k", "tables differ").stdout
        self.assertIn("not ok   tables differ  m_test.lua:9", text)
        self.assertIn("--- output\n    printed", text)
        self.file("g_test.lua", "local t = require 'sipeat.testing'\nt.test('x', function() print 'said' end)")
        self.assertNotIn("said", self.sipeat("g_test.lua").stdout)
        self.assertIn("said", self.sipeat("g_test.lua", "-v").stdout)

    def test_a_seed_repeats_a_run(self):
        self.file("r_test.lua", RANDOM)
        first = self.results("r_test.lua", "--seed", "42")[1]["random"]["message"]
        self.assertEqual(first, self.results("r_test.lua", "--seed", "42")[1]["random"]["message"])
        self.assertNotEqual(first, self.results("r_test.lua", "--seed", "43")[1]["random"]["message"])
        one = self.results("r_test.lua")[1]["random"]
        self.assertEqual(one["message"], self.results("r_test.lua", "--seed", str(one["seed"]))[1]["random"]["message"])
        self.assertIn("1735722000", one["message"])

    def test_every_test_has_a_state_of_its_own(self):
        self.file("i_test.lua", ISOLATED)
        done = self.sipeat("i_test.lua", SECRET_OF_THE_MACHINE="1")
        self.assertEqual(done.returncode, OK, done.stdout)

    def test_fail_fast_ends_at_the_first_failure(self):
        self.file("a_test.lua", MIXED)
        self.file("b_test.lua", GOOD)
        done = self.sipeat(".", "-x")
        self.assertEqual(done.returncode, FAILED)
        self.assertIn("0 passed, 1 failed, 0 skipped", done.stdout)

    def test_a_file_that_does_not_load_is_a_failure_and_the_others_run(self):
        self.file("a_test.lua", "local t = require 'sipeat.testing'\nt.test(")
        self.file("b_test.lua", GOOD)
        self.file("c_test.lua", "require('sipeat.task').sleep '1h'\nwhile true do end")
        self.file("d_test.lua", "require('sipeat.core.task').signal():wait()")
        done, results = self.results(".", "--timeout", "1s")
        self.assertEqual(done.returncode, SCRIPT)
        self.assertEqual([one["status"] for one in map(json.loads, done.stdout.splitlines())],
                         ["failed", "passed", "passed", "failed", "failed"])
        text = self.sipeat("a_test.lua").stdout
        self.assertIn("a_test.lua:2:", text)
        self.assertIn("never comes", self.sipeat("d_test.lua").stdout)

    def test_junit(self):
        self.file("m_test.lua", MIXED)
        self.sipeat("m_test.lua", "--junit", "out.xml", "--timeout", "1s")
        suite = ElementTree.parse(pathlib.Path(self.dir) / "out.xml").getroot()[0]
        self.assertEqual((suite.get("tests"), suite.get("failures"), suite.get("skipped")), ("14", "12", "1"))
        cases = {case.get("name"): case for case in suite}
        self.assertIn('got "x"', cases["tables differ"].find("failure").text)
        self.assertIn("printed", cases["tables differ"].find("system-out").text)
        self.assertEqual(cases["is left out"].find("skipped").get("message"), "no reason at all")
        done = self.sipeat("m_test.lua", "-k", "left out", "--junit", "no/such/folder/out.xml")
        self.assertEqual(done.returncode, FAILED)

    def test_crashes_at_every_step(self):
        self.file("c_test.lua", CRASHES)
        done = self.sipeat("c_test.lua", "--json")
        good, bad = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((good["status"], bad["status"]), ("passed", "failed"), done.stdout)
        self.assertRegex(bad["message"], r"(?s)c_test.lua:\d+: .*crash 1: at point \d+, ")

    def test_it_can_be_interrupted(self):
        self.file("w_test.lua", "local t = require 'sipeat.testing'\nlocal task = require 'sipeat.task'\n"
                  "t.test('w', function() print 'x' while true do task.sleep '1ms' end end)")
        process = subprocess.Popen([BINARY, "test", "w_test.lua", "--timeout", "1h", "--virtual-limit", "9000d"],
                                   cwd=self.dir, env=environment(self.dir), stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        harness.wait_for(lambda: self.is_busy(process.pid), "busy")
        process.send_signal(signal.SIGINT)
        out = process.stdout.read().decode()
        self.assertEqual(process.wait(20), 128 + signal.SIGINT)
        self.assertTrue(re.search("interrupted", out), out)

    @staticmethod
    def is_busy(pid):
        ticks = sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK") > 0.2


if __name__ == "__main__":
    harness.main()
