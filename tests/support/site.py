"""The SipEat pages on an embedded broker, as `sipeat dev` serves them."""

import json
import re
import shutil

from support import harness
from support.harness import PIPELINE, SOURCE
from support.kafka_wire import Client
from support.web import Visitor

# What the test adds: a route that breaks a simulated machine, a store as slow as one behind a network, and a moment
# between the end of an event and its note.
BREAK = """
local store, task = require "flows.store", require "sipeat.task"
local replace = store.replace
function store.replace(...)
  task.sleep(require("sipeat.env").get("TEST_STORE_PAUSE", "0ms"))
  return replace(...)
end
local change = store.change
function store.change(name, filters, to)
  if name == "submissions" and to.state == "dead" then
    task.sleep(require("sipeat.env").get("TEST_NOTE_PAUSE", "0ms"))
  end
  return change(name, filters, to)
end
require("sipeat.http").route("POST /test/break/:id", function(req)
  local ok, message = require("sipeat.vending_sim").fault(req.params.id, { kind = req.query.kind })
  return { status = ok and 200 or 409, json = { ok = ok, message = message } }
end)
"""


class Site(harness.Case):
    """A test with a running site: `self.base` is its address, `self.visitor()` somebody who looks at it."""

    def breakable(self):
        """The product's scripts, and a route that breaks machines."""
        folder = self.dir / "scripts"
        shutil.copytree(SOURCE / "scripts", folder)
        script = folder / "pipeline.lua"
        script.write_text(script.read_text() + BREAK)
        return script

    def open(self, script=PIPELINE, env=None):
        self.process = self.start("dev", script, "--no-watch", env={"SIPEAT_SIM_DISPENSE_TIME": "50ms", **(env or {})})
        self.process.until(lambda: "Ctrl-C" in self.process.output, "its banner")
        self.base = re.search(r"site +(http://[\d.:]+)/", self.process.output)[1]
        self.broker = re.search(r"broker +([\d.:]+)", self.process.output)[1]
        self.wire = Client(self.broker)
        return self.process

    def visitor(self, **headers):
        return Visitor(self.base, **headers)

    def captured(self, kind):
        entries = json.loads(self.visitor().ask("GET", "/capture/entries.json").body)["entries"]
        return [entry["entry"] for entry in entries if entry["kind"] == kind]

    def ended(self, status_path):
        """The state of something that the API took, when it has ended."""
        def look():
            state = self.visitor().ask("GET", status_path).json()
            return state if state["ended"] else None
        return self.process.until(look, lambda: f"the end of {status_path}")
