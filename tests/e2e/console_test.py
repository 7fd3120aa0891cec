"""The console in a browser: what an operator does on its pages, what a viewer may, and each page looked at."""

import http.client
import json
import os
import re

from support import harness, kcat
from support.browser import DESK, PHONE, SCHEMES, Browser
from support.harness import save, wait_for
from support.kafka import Kafka

SOAK = os.environ.get("SIPEAT_SOAK") is not None
# A picture needs both schemes at both widths; what axe finds rarely depends on the pair.
ALL = SOAK or os.environ.get("SIPEAT_SCREENSHOTS") is not None
VIEWS = ([(size, scheme) for size in (PHONE, DESK) for scheme in SCHEMES] if ALL
         else [(PHONE, "dark"), (DESK, "light")])
PASSWORD = "correct horse battery"
SCRIPT = """
local sipeat = require "sipeat"
local vending = require "sipeat.vending"

assert(vending.attach {
  machine = "VM-1", driver = "simulated", settings = { proof = "sensor", slots = { 5, 0, 3 } },
})

sipeat.flow { topic = "orders", group = "orders-flow", key = "data.id", on = {
  ["order.created"] = function(event)
    if type(event.data.amount) ~= "number" then
      return nil, sipeat.permanent("the amount is not a number", "BAD_AMOUNT")
    end
    return true
  end,
} }

sipeat.flow { topic = "requests", group = "drinks", on = { ["request.created"] = sipeat.chain "drink" {
  { "payment", effect = "idempotent", run = function() return { id = "pi_1" } end, undo = function() return true end },
  { "dispense", effect = "at_most_once", run = function() return nil, "no answer", "ETIMEDOUT" end },
} } }
"""
EVIL = '<script>document.title = "taken"</script><img src=x onerror="document.title = 1">'


class Console(harness.Case):
    """One broker, one process and one browser for all tests: each uses events of its own."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())
        cls.browser = cls.enterClassContext(Browser())
        for topic, partitions in (("orders", 2), ("requests", 1), ("notes", 1)):
            cls.kafka.wire.create_topic(topic, partitions)

    def setUp(self):
        super().setUp()
        self.env = {"KAFKA_BROKERS": self.kafka.address, "SIPEAT_STATE": self.dir,
                    "SIPEAT_JOURNAL": self.dir / "journal.db"}

    def begin(self, *users):
        for name, role in users or [("ada", "admin")]:
            (self.dir / "password").write_text(PASSWORD + "\n")
            done = self.run_sipeat("user", "add", name, "--role", role, "--password-file", self.dir / "password",
                                   env=self.env)
            self.assertEqual(done.returncode, 0, done.log)
        self.path = self.script(SCRIPT)
        self.process = self.start("run", self.path, "--no-watch", env=self.env)
        self.url = re.search(r"http://[0-9.]+:\d+", self.process.wait_log("listening on "))[0]
        self.process.wait_log(": version ")

    def sign_in(self, name="ada", at="/console", size=DESK):
        page = self.browser.page(size)
        self.addCleanup(page.close)
        page.go(self.url + at)
        page.fill("[name=name]", name)
        page.fill("[name=password]", PASSWORD)
        page.click("role=button[name='Sign in']")
        page.see("main h1")
        return page

    def open(self, page, path):
        page.go(f"{self.url}/console/{path}")
        page.see("main h1")

    def publish(self, topic, kind, name, **data):
        done = self.run_sipeat("publish", kind, "--topic", topic, "--id", name, "--key", name,
                               "--data", json.dumps(data), env=self.env)
        self.assertEqual(done.returncode, 0, done.log)

    def test_files_are_kept_for_ever_by_their_hash(self):
        self.begin()
        page = self.sign_in(at="/console/no/such/page?x=1")
        self.assertEqual(page.evaluate("location.pathname + location.search"), "/console/no/such/page?x=1")
        names = page.evaluate("[...document.querySelectorAll('head [href^=\"/\"], head [src]')]"
                              ".map((one) => one.getAttribute('href') || one.getAttribute('src'))")
        self.assertEqual(len(names), 2)
        for name in names:
            status, headers, body = self.ask(name)
            self.assertEqual((status, headers["content-encoding"]), (200, "gzip"))
            self.assertIn("immutable", headers["cache-control"])
            self.assertLess(len(body), 70000)
            self.assertEqual(self.ask(name, if_none_match=headers["etag"])[0], 304)
        self.assertEqual(self.ask("/console/assets/console.0123456789ab.js")[0], 401)

    def ask(self, path, **headers):
        """Status, headers and body of a GET without a session."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        connection.request("GET", path, headers={"accept-encoding": "gzip",
                                                 **{name.replace("_", "-"): one for name, one in headers.items()}})
        answer = connection.getresponse()
        result = answer.status, answer.headers, answer.read()
        connection.close()
        return result


if __name__ == "__main__":
    harness.main()
