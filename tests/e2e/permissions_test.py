"""A script that says what it needs gets that and nothing else, from its first line on and through reloads."""

import json

from support import harness
from support.harness import get

HEAD = """
local sipeat = require "sipeat"
sipeat.permissions { topics = { "orders", "done" }, groups = { "g" }, env = { "ALLOWED" }%s }
"""
FLOW = HEAD + """
sipeat.flow {
  topic = "orders", group = "g", retry = { attempts = 1 },
  on = { ["order.created"] = function(event, ctx)
    %s
  end },
}
"""


class Permissions(harness.Case):
    def dev(self, text, **env):
        process = self.start("dev", self.script(text), "--log-format", "json", env=env)
        process.until(lambda: "Ctrl-C" in process.output, "what is said once files are watched")
        process.url = next(line["message"] for line in process.lines if "listening on" in line["message"]).split()[-1]
        return process

    def publish(self, process, **data):
        sent = self.run_sipeat("publish", "order.created", "-t", "orders", "--data", json.dumps(data))
        self.assertEqual(sent.returncode, 0, sent.tail())

    def test_a_handler_that_does_more_fails_by_file_and_line(self):
        process = self.dev(FLOW % ("", 'ctx:emit("done", "k", { ok = true }) ctx:emit("payroll", "k", {})'))
        self.publish(process)
        line = process.wait_log("the topic payroll is not permitted")
        self.assertIn("script.lua:8: ", line)
        self.assertIn('sipeat.permissions has no topics = { \\"payroll\\" }', line)
        process.wait_log("dead letter")  # its topic needs no line of its own
        read = self.run_sipeat("consume", "orders-dlt", "--from-beginning", "-n", "1", "--timeout", "20s")
        self.assertIn("payroll is not permitted", read.output, read.tail())
        status, body = get(process.url + "/ready")
        self.assertEqual(status, 200, body)

    def test_the_top_of_a_script_is_bound_too(self):
        cases = [
            (FLOW % ("", "return true") + 'os.getenv "HOME"\n', "script.lua:11: the variable HOME is not permitted"),
            ('os.getenv "HOME"\n' + FLOW % ("", ""), "the variable HOME is in use already and not permitted"),
            (HEAD % "" + 'sipeat.flow { topic = "orders", group = "h", on = { ["*"] = print } }\n',
             "the group h is not permitted"),
            (HEAD % "" + 'require("sipeat").permissions {}\n', "once for each script"),
            (HEAD % ", hots = {}", "did you mean hosts?"),
            ('local f = load(string.char(27) .. "Lua")\nf()\n', "attempt to call a nil value"),
        ]
        for text, part in cases:
            process = self.run_sipeat("run", "--http", "off", "--state", "off", self.script(text))
            self.assertEqual(process.returncode, 3, process.tail())
            self.assertIn(part, process.log)

    def test_a_reload_brings_its_own_list_and_a_refused_one_leaves_the_old(self):
        process = self.dev(FLOW % ("", 'print(os.getenv "ALLOWED")'), ALLOWED="first", OTHER="second")
        path = self.dir / "script.lua"
        harness.save(path, (FLOW % ("", "")) + 'os.getenv "OTHER"\n')
        process.wait_log("the variable OTHER is not permitted")
        self.publish(process, n=1)
        process.until(lambda: "first" in process.output or "first" in process.log, "the old version")
        harness.save(path, FLOW.replace('"ALLOWED"', '"OTHER"') % ("", 'print(os.getenv "OTHER")'))
        process.wait_log("(loaded in")
        self.publish(process, n=2)
        process.until(lambda: "second" in process.output or "second" in process.log, "the new version")

    def test_bytecode_is_refused_as_a_script_as_a_module_and_at_a_reload(self):
        (self.dir / "code.lua").write_bytes(b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n")
        process = self.run_sipeat("run", self.dir / "code.lua")
        self.assertEqual(process.returncode, 3)
        self.assertIn("binary chunk", process.log)
        process = self.run_sipeat("run", self.script('require "code"\n'))
        self.assertEqual(process.returncode, 3)
        self.assertIn("binary chunk", process.log)
        process = self.dev(FLOW % ("", ""))
        (self.dir / "script.lua").write_bytes((self.dir / "code.lua").read_bytes())
        process.wait_log("binary chunk")
        self.assertIsNone(process.popen.poll())

    def test_the_list_is_printed_and_can_be_pasted(self):
        text = """
        local sipeat = require "sipeat"
        local helper = require "helper"
        sipeat.env.get "MODE"
        sipeat.flow { topic = "orders", group = "g", on = { ["*"] = helper } }
        """
        (self.dir / "helper.lua").write_text("""
        return function(event, ctx)
          require("sipeat.http").post("https://api.example.org/v1", { json = event.data })
          ctx:emit("done", event.key, {})
        end
        """)
        process = self.run_sipeat("run", "--permissions", self.script(text))
        self.assertEqual(process.returncode, 0, process.tail())
        self.assertIn("declared nothing", process.log)
        for line in ('hosts = { "api.example.org:443" },', 'topics = { "done", "orders" },', 'groups = { "g" },',
                     'env = { "MODE" },'):
            self.assertIn(line, process.output)
        pasted = text.replace("\n", f"\nrequire('sipeat').permissions{process.output.split('permissions', 1)[1]}\n", 1)
        again = self.run_sipeat("run", "--permissions", self.script(pasted))
        self.assertEqual(again.returncode, 0, again.tail())
        self.assertIn("has declared what it needs", again.log)
        self.assertEqual(again.output, process.output)


if __name__ == "__main__":
    harness.main()
