"""A script that keeps more and more is named in the log, with the table; one that only makes garbage is not."""

import re

from support import harness
from support.pages import block

SCRIPT = """
local sipeat = require "sipeat"
local seen, n = {}, 0
local kept = { at = 0 }
sipeat.every("2ms", function()
  n = n + 1
  sipeat.publish("x", { n = n }, { topic = "work" })
end)
sipeat.flow {
  topic = "work", group = "leaky", on = { ["*"] = function(event)
    for i = 1, 200 do
      local garbage = ("x"):rep(10000) .. i
      kept[i %% 50] = garbage
    end
    %s
    if event.data.n %% 100 == 0 then
      sipeat.log.info("handled " .. event.data.n)
    end
  end },
}
"""


class Leak(harness.Case):
    def begin(self, line):
        return self.start("run", self.script(SCRIPT % line), "--http", "off", "--no-watch")

    def test_the_table_that_grows_is_named(self):
        process = self.begin("for i = 1, 20 do seen[#seen + 1] = (\"y\"):rep(5000) .. event.id .. i end")
        line = process.wait_log("keeps more and more", 60)
        self.assertRegex(line, r"most grew seen \(.*script\.lua:\d+\), by \d+ entries, of the flow leaky")
        number = int(re.findall(r"handled (\d+)", process.log + "handled 0")[-1])
        process.wait_log(f"handled {max(number, 100) + 100}", 60)
        shown = " ".join(block("docs/budgets.md", "text").text.split()).replace("flow orders", "flow leaky")
        shape = re.sub(r"[\d.]+", "NUMBER", shown.replace("pipeline.lua:12", "SCRIPT"))
        shape = re.escape(shape).replace("NUMBER", r"[\d.]+").replace("SCRIPT", r"\S*script\.lua:\d+")
        self.assertRegex(line, shape)  # what the page quotes
        self.assertEqual(process.log.count("keeps more and more"), 1, "once")
        self.assertEqual(process.stop(), 0, process.tail())

    def test_garbage_is_no_leak(self):
        process = self.begin("")
        process.wait_log("handled 400", 60)
        self.assertNotIn("keeps more and more", process.log)
        self.assertEqual(process.stop(), 0, process.tail())


if __name__ == "__main__":
    harness.main()
