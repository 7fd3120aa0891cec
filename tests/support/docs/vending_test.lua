--- The page of vending machines: machines are simulated, and ports are not there.
local docs = require "docs"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

docs.block("vending", 2, function(b)
  sipeat.vending.ledger "dispense.db"
  sipeat.vending.attach {
    machine = "M1", driver = "simulated", settings = { proof = "sensor", slots = { 5, 5 } },
  }
  local steps = b:fields { vending = sipeat.vending }
  docs.handles("orders", "order.created", sipeat.chain "sale"(steps))
  local outcome = docs.done("orders", "order.created", { machineId = "M1", slot = 1 })
  t.eq(outcome.result.dispense.proof, "sensor")
end)

docs.block("vending", 5, function(b)
  b:load()
  sipeat.vending.ledger "driver.db"
  sipeat.vending.attach { machine = "M9", driver = "my-board", settings = {} }
  docs.handles("orders", "order.created", function(event, ctx)
    return sipeat.vending.dispense({
      machine = "M9", slot = 1, ledger = sipeat.vending.here(), approval = event.id,
    }, ctx)
  end)
  t.eq(docs.done("orders", "order.created", {}).result.proof, "counter")
  t.ok(sipeat.vending.status("M9").online)
end)
