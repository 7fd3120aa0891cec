"""Every Lua block of the documentation is run: as a script, or completed by what stands in tests/support/docs/, and
with events and requests for what it declares. Each statement that a keyword begins has to run."""

import json
import re

from support import harness
from support.lua_blocks import LIVE, PROGRAMS, name_of, write
from support.pages import as_pattern, block, blocks

ORDERS = """
local sipeat = require "sipeat"
sipeat.flow {
  topic = "orders", group = "orders",
  on = { ["order.created"] = function(event, ctx)
    local answer, why = sipeat.http.post("https://shop.example/orders", { json = event.data })
    if not answer or answer.status ~= 200 then
      return nil, sipeat.transient(why or "it refuses")
    end
    return ctx:emit("order.confirmations", event.key, answer:json())
  end },
}
"""
SALE = """
local sipeat, t = require "sipeat", require "sipeat.testing"
local stripe = sipeat.stripe
local function what_to_pay()
  return { amount = sipeat.money.new(250, "EUR"), payment_method = "pm_card_visa" }
end
"""


class DocsLua(harness.Case):
    def passed_of(self, done):
        """Those of `sipeat test --json` by name; each has passed."""
        tests = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
        wrong = [f"{test.get('name')}: {test['message'][:800]}" for test in tests if test["status"] != "passed"]
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.assertEqual(done.returncode, 0, done.tail())
        return {test["name"] for test in tests}

    def test_nothing_is_left_out_and_each_is_run_somewhere(self):
        lua = blocks("lua")
        self.assertEqual([str(b) for b in lua if "…" in re.sub(r"--[^\n]*", "", b.text)], [],
                         "a script leaves nothing out")
        self.assertGreater(len(lua), 60)
        self.assertEqual(len({name_of(b) for b in lua}), len(lua), "two pages have the same name")
        self.assertLessEqual({*LIVE, *PROGRAMS}, {name_of(b) for b in lua})

    def test_with_fakes(self):
        write(self.dir)
        run = self.passed_of(self.run_sipeat("test", ".", "--json", deadline=120))
        wanted = {name_of(b) for b in blocks("lua")} - {*LIVE, *PROGRAMS}
        self.assertEqual(sorted(wanted - run), [], "these are not run")
        print(f"Lua: {len(wanted)} blocks run with fakes")

    def test_with_a_broker_a_journal_and_boards(self):
        write(self.dir)
        port = harness.free_ports(1)[0]
        dev = self.start("dev", "live.lua", "--http", f"127.0.0.1:{port}", "--journal", "journal.db", "--no-watch",
                         "--log-format", "json", env={"BOARDS": self.dir, "DOCS_HTTP": f"127.0.0.1:{port}"})

        def told():
            return {line["message"] for line in list(dev.lines) if line.get("message", "").startswith("docs: ")}
        dev.until(lambda: len(told()) >= len(LIVE), lambda: f"{len(LIVE)} blocks, only {sorted(told())}", 60)
        self.assertEqual(sorted(told()), sorted(f"docs: passed {name}" for name in LIVE))
        print(f"Lua: {len(LIVE)} blocks run by sipeat dev")

    def test_the_test_of_a_page_is_a_test(self):
        self.script(ORDERS, "orders.lua")
        self.script(block("docs/testing.md", "lua", 1).text, "orders_test.lua")
        self.script(SALE + block("docs/testing.md", "lua", 2).text, "sale_test.lua")
        self.assertEqual(len(self.passed_of(self.run_sipeat("test", ".", "--json"))), 2)
        text = block("docs/testing.md", "lua", 2).text
        broken = text.replace('return vends > 0 and "done" or "not_done"', 'return "not_done"')
        self.assertNotEqual(broken, text)
        self.script(SALE + broken, "sale_test.lua")
        said = re.sub(r"(?m)^ +", "", self.run_sipeat("test", "sale_test.lua").output)
        shown = re.sub(r"(?m)^ +", "", block("docs/testing.md", "text").text).replace("sale_test.lua:18", "…")
        self.assertRegex(said, as_pattern(shown))

    def test_the_plan_of_a_page_is_a_plan(self):
        self.script(block("docs/bench.md", "lua").text, "plan.lua")
        done = self.run_sipeat("bench", "plan.lua", "--port", "sim", "--yes", "--json", "--serial", "AB12")
        report = json.loads(done.output)
        self.assertEqual(report["name"], "Dispenser board", done.tail())
        steps = [step for phase in report["devices"][0]["phases"] for step in phase["steps"]]
        self.assertIn("voltage", [step["name"] for step in steps], report)
        shown = set(re.findall(r"[a-z]\w*", block("docs/bench.md", "text").text))
        for name, there in (("report", report), ("device", report["devices"][0]),
                            ("phase", report["devices"][0]["phases"][0]), ("step", steps[0])):
            self.assertLessEqual(set(there), shown, name)


if __name__ == "__main__":
    harness.main()
