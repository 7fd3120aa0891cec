--- sipeat.vending over the simulated machine: one motor command for each approval, and what becomes
--- of a command whose outcome is not known.
local failure = require "sipeat.failure"
local sim = require "sipeat.vending_sim"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local vending = require "sipeat.vending"

local made = 0

-- A fresh machine with two drinks in slot 1 and none in slot 2.
local function machine(proof, recovery)
  made = made + 1
  local id = "TEST-" .. made
  t.ok(vending.attach {
    machine = id,
    settings = {
      proof = proof, slots = { 2, 0 }, dispense_time = "2ms", recovery_time = recovery or "20ms",
    },
  })
  return id
end

local function dispense(id, approval, slot)
  return vending.dispense({ machine = id, slot = slot or 1 }, { key = approval })
end

local function fallen(id)
  local status = vending.status(id)
  return status.slots[1].fallen + status.slots[2].fallen
end

t.test("a drink falls, and the result says what proves it", function()
  for _, proof in ipairs { "sensor", "counter", "none" } do
    local id = machine(proof)
    local result = t.ok(dispense(id, "a"))
    t.eq({ result.machine, result.slot, result.approval, result.proof }, { id, 1, "a", proof })
    t.eq(vending.status(id).slots[1].stock, 1)
    t.eq(vending.capabilities(id), {
      driver = "simulated", proof_of_dispense = proof, dispense = true,
      counters = proof ~= "none", credit = false, payment = false, audit = false,
    })
  end
end)

t.test("the same approval never turns the motor twice", function()
  local id = machine "sensor"
  local jobs = {}
  for i = 1, 5 do
    jobs[i] = function() return dispense(id, "same") end
  end
  local results = t.ok(task.gather(jobs))
  for _, result in ipairs(results) do
    t.eq(result.approval, "same")
  end
  t.eq(fallen(id), 1)
end)

t.test("refusals are permanent, and say that nothing fell", function()
  local id = machine "sensor"
  sim.fault(id, { kind = "jam", slot = 1 })
  for _, case in ipairs {
    { 1, "JAMMED", "nothing fell" },
    { 2, "SOLD_OUT", "slot 2" },
    { 9, "UNKNOWN_SLOT", "slots: 1, 2" },
  } do
    local result, why = dispense(id, "refused-" .. case[1], case[1])
    t.eq({ result, why.code, why.kind }, { nil, case[2], "permanent" })
    t.has(why.message, case[3])
    local args = { machine = id, slot = case[1] }
    t.eq(vending.reconcile(args, { key = "refused-" .. case[1] }), "not_done")
  end
  t.eq(select(2, dispense(id, "refused-1")).code, "JAMMED", "asking again gives the same answer")
  t.eq(fallen(id), 0)
end)

t.test("an unknown machine is named, with those that are attached", function()
  local id = machine "sensor"
  local _, why = dispense("nowhere", "a")
  t.eq(why.code, "UNKNOWN_MACHINE")
  t.has(why.message, id)
end)

t.test("a machine that is offline was not commanded, and may be asked again", function()
  local id = machine("sensor", "5ms")
  sim.fault(id, { kind = "offline" })
  local _, why = dispense(id, "a")
  t.eq({ why.code, failure.proves_absence(why) }, { "NOT_SENT", true })
  task.sleep "10ms"
  t.ok(dispense(id, "a"))
  t.eq(fallen(id), 1)
end)

t.test("after a death in the middle the counter tells what happened", function()
  for _, case in ipairs {
    { "die_before", "not_done", 0 }, { "die_after", "done", 1 },
  } do
    local id = machine("counter", "10ms")
    sim.fault(id, { kind = case[1] })
    local _, why = dispense(id, "a")
    t.eq({ why.code, failure.proves_absence(why) }, { "OUTCOME_UNKNOWN", false })
    local verdict, later = vending.reconcile({ machine = id, slot = 1 }, { key = "a" })
    t.eq(verdict, nil, "it cannot be known while the machine is down")
    t.eq(later.kind, "transient")
    task.sleep "15ms"
    t.eq(vending.reconcile({ machine = id, slot = 1 }, { key = "a" }), case[2])
    t.eq(fallen(id), case[3])
    dispense(id, "a")
    t.eq(fallen(id), case[3], "the same approval is not commanded again")
  end
end)

t.test("a slot in doubt stays closed to others until the counter has spoken", function()
  local id = machine("sensor", "10ms")
  sim.fault(id, { kind = "die_after" })
  dispense(id, "a")
  local _, why = dispense(id, "b")
  t.eq(why.code, "NOT_SENT")
  t.has(why.message, "approval a")
  task.sleep "15ms"
  t.ok(dispense(id, "b"))
  t.eq(vending.reconcile({ machine = id, slot = 1 }, { key = "a" }), "done")
  t.eq(fallen(id), 2)
end)

t.test("without proof a doubt stays a doubt", function()
  local id = machine("none", "1ms")
  sim.fault(id, { kind = "die_after" })
  dispense(id, "a")
  task.sleep "5ms"
  t.eq(vending.reconcile({ machine = id, slot = 1 }, { key = "a" }), "unknown")
  t.eq(select(2, dispense(id, "a")).code, "OUTCOME_UNKNOWN")
end)

t.test("a jam goes unseen by a machine without proof", function()
  local id = machine "none"
  sim.fault(id, { kind = "jam" })
  t.eq(t.ok(dispense(id, "a")).proof, "none")
  t.eq(fallen(id), 0)
end)

t.test("a task killed while the motor turns leaves a doubt, which the counter settles", function()
  local id = machine "counter"
  local job = task.spawn(dispense, id, "a")
  task.sleep "1ms"
  job:kill()
  job:join()
  t.eq(vending.reconcile({ machine = id, slot = 1 }, { key = "a" }), "done")
  t.eq(vending.reconcile({ machine = id, slot = 1 }, { key = "never asked" }), "unknown")
end)

t.test("attaching again keeps counters and approvals, and takes new stock", function()
  local id = machine "sensor"
  t.ok(dispense(id, "a"))
  t.ok(vending.attach { machine = id, settings = { slots = { 7, 3 }, dispense_time = "2ms" } })
  t.eq(vending.status(id).slots, { { stock = 7, fallen = 1 }, { stock = 3, fallen = 0 } })
  t.ok(dispense(id, "a"))
  t.eq(fallen(id), 1)
end)

t.test("a driver of one's own takes part, and one that raises leaves a doubt", function()
  local calls = 0
  vending.driver("test", { open = function()
    return {
      proof = "none",
      dispense = function()
        calls = calls + 1
        error "line noise"
      end,
    }
  end })
  t.ok(vending.attach { machine = "OWN", driver = "test" })
  local _, why = dispense("OWN", "a")
  t.eq({ why.code, why.kind }, { "DRIVER_ERROR", "timeout" })
  dispense("OWN", "a")
  t.eq(calls, 1)
  t.eq(select(2, vending.attach { machine = "X", driver = "nope" }).code, "UNKNOWN_DRIVER")
  t.fails(function() vending.dispense({ machine = "OWN", slot = 1 }) end, "a ctx with a key")
end)
