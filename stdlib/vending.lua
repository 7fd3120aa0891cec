--- Vending machines behind one interface, in the shape of a chain's step: dispense, reconcile.
--
-- A machine is attached with the driver that speaks to its board. For each approval (ctx.key) the
-- motor is commanded at most once: asking again gives the recorded outcome. A command whose outcome
-- is not known keeps its slot closed until the machine's counter says what happened.
-- Codes: UNKNOWN_MACHINE, UNKNOWN_SLOT, SOLD_OUT, JAMMED (permanent: nothing fell);
-- NOT_SENT (the motor did not move: try again); OUTCOME_UNKNOWN (reconcile says more).
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local REMEMBERED = 10000 -- settled approvals kept for each machine

local ATTACH = opts.spec("sipeat.vending.attach", {
  machine = { "string", required = true },
  driver = { "string", default = "simulated" },
  settings = { "table", default = {} },
})

-- This module is compiled in: machines and their approvals survive a reload of the script.
local drivers = {
  simulated = function()
    return require "sipeat.vending_sim"
  end,
}
local machines = {} -- id -> { device, approvals, settled (a queue of ids), doubts, turn }

local function known(id)
  local machine = machines[id]
  if machine then
    return machine
  end
  return nil, failure.permanent(
    ("vending: no machine %s is attached (attached: %s)"):format(
      tostring(id), table.concat(opts.names(machines), ", ")
    ),
    "UNKNOWN_MACHINE"
  )
end

--- Adds a driver: a table with open(machine_id, settings, before) -> device. A device has
--- dispense(slot, approval), counters(), status() and a field: proof = "sensor", "counter", "none".
function M.driver(name, implementation)
  if type(name) ~= "string" or type(implementation) ~= "table" or not implementation.open then
    error("vending.driver: a name and a table with open() are needed", 2)
  end
  drivers[name] = function()
    return implementation
  end
end

--- Attaches a machine, or gives an attached one new settings; its approvals are kept.
function M.attach(options)
  local o = ATTACH(options)
  local driver = drivers[o.driver]
  if not driver then
    local text = "vending: machine %s: unknown driver %s (known: %s)"
    local names = table.concat(opts.names(drivers), ", ")
    return nil, failure.permanent(text:format(o.machine, o.driver, names), "UNKNOWN_DRIVER")
  end
  local machine = machines[o.machine]
  local device, message, code = driver().open(o.machine, o.settings, machine and machine.device)
  if not device then
    return nil, message, code
  end
  if machine then
    machine.device, machine.driver = device, o.driver
  else
    machines[o.machine] = {
      id = o.machine,
      device = device,
      driver = o.driver,
      approvals = {},
      settled = {},
      doubts = {},
      turn = task.semaphore(1),
    }
  end
  return true
end

--- Forgets a machine. true, or false when it was not attached.
function M.detach(id)
  local was = machines[id] ~= nil
  machines[id] = nil
  return was
end

function M.is_attached(id)
  return machines[id] ~= nil
end

--- Ids of the attached machines, sorted.
function M.machines()
  return opts.names(machines)
end

--- { driver, proof_of_dispense = "sensor" | "counter" | "none" }
function M.capabilities(id)
  local machine, problem = known(id)
  if not machine then
    return nil, problem
  end
  return { driver = machine.driver, proof_of_dispense = machine.device.proof }
end

--- What the machine says of itself: { online, state, slots = { [n] = { stock } } }.
function M.status(id)
  local machine, problem = known(id)
  if not machine then
    return nil, problem
  end
  return machine.device:status()
end

--- Drinks that fell since the machine was built: { total, slots = { [n] = count } }.
function M.counters(id)
  local machine, problem = known(id)
  if not machine then
    return nil, problem
  end
  return machine.device:counters()
end

local function counter_of(machine, slot)
  if machine.device.proof == "none" then
    return nil
  end
  local counters = machine.device:counters()
  return counters and counters.slots[slot]
end

local function settle(machine, approval, state, result)
  approval.state, approval.result = state, result
  if machine.doubts[approval.slot] == approval then
    machine.doubts[approval.slot] = nil
  end
  local settled = machine.settled
  settled[#settled + 1] = approval.id
  if #settled > 2 * REMEMBERED then -- at once for many, so that it costs little for each
    for i = 1, REMEMBERED do
      machine.approvals[settled[i]] = nil
    end
    machine.settled = table.move(settled, REMEMBERED + 1, #settled, 1, {})
  end
end

local function result_of(machine, approval, proof)
  return {
    machine = machine.id,
    slot = approval.slot,
    approval = approval.id,
    proof = proof,
    dispensed_at = sys.iso_time(),
  }
end

-- Settles an approval whose outcome is not known, if the counter can tell.
local function resolve(machine, approval)
  local now = counter_of(machine, approval.slot)
  if not now or not approval.before then
    return
  elseif now == approval.before then
    settle(machine, approval, "refused")
    approval.problem = failure.permanent(
      ("vending: machine %s, slot %s: the counter shows that nothing fell"):format(
        machine.id, approval.slot
      ),
      "NOT_DISPENSED"
    )
  elseif now == approval.before + 1 then
    settle(machine, approval, "done", result_of(machine, approval, "counter"))
  end
end

-- What an approval that was seen before gives.
local function recorded(machine, approval)
  if approval.state == "unknown" then
    resolve(machine, approval)
  end
  if approval.state == "done" then
    return approval.result
  elseif approval.state == "refused" then
    return nil, approval.problem
  end
  local text = "vending: machine %s: the outcome of approval %s is not known"
  return nil, failure.new(text:format(machine.id, approval.id), "OUTCOME_UNKNOWN", "timeout")
end

-- The slot is free of doubt, or why the motor must not move.
local function slot_is_clear(machine, slot)
  local doubt = machine.doubts[slot]
  if doubt then
    resolve(machine, doubt)
  end
  if not machine.doubts[slot] then
    return true
  end
  local text = "vending: machine %s, slot %s: closed until it is known how approval %s ended"
  return nil, failure.transient(text:format(machine.id, slot, doubt.id), "NOT_SENT")
end

local function command(machine, approval)
  approval.before = counter_of(machine, approval.slot)
  approval.state = "running"
  machine.approvals[approval.id] = approval
  machine.doubts[approval.slot] = approval -- until it is settled: a killed task leaves it in doubt
  local ok, proof, problem = xpcall(machine.device.dispense, debug.traceback, machine.device,
    approval.slot, approval.id)
  if ok and proof then
    settle(machine, approval, "done", result_of(machine, approval, proof))
    return approval.result
  end
  problem = ok and failure.of(problem) or failure.new(proof, "DRIVER_ERROR", "timeout")
  if problem.kind == "permanent" then
    settle(machine, approval, "refused")
    approval.problem = problem
  elseif failure.proves_absence(problem) then
    machine.approvals[approval.id], machine.doubts[approval.slot] = nil, nil
  else
    approval.state = "unknown"
  end
  return nil, problem
end

--- Turns the motor of args.slot of args.machine, at most once for ctx.key.
function M.dispense(args, ctx)
  if type(ctx) ~= "table" or type(ctx.key) ~= "string" then
    error("vending.dispense: a ctx with a key is needed: it is the approval", 2)
  end
  local machine, problem = known(args.machine)
  if not machine then
    return nil, problem
  end
  local approval = machine.approvals[ctx.key]
  if approval and approval.state ~= "running" then
    return recorded(machine, approval)
  end
  local waited, message = machine.turn:acquire()
  if not waited then
    return nil, failure.new("vending: " .. message, "ECANCELED")
  end
  local turn <close> = setmetatable({}, { __close = function()
    machine.turn:release()
  end })
  approval = turn and machine.approvals[ctx.key]
  if approval then
    if approval.state == "running" then -- its task has ended without a word
      approval.state = "unknown"
    end
    return recorded(machine, approval)
  end
  local clear
  clear, problem = slot_is_clear(machine, args.slot)
  if not clear then
    return nil, problem
  end
  return command(machine, { id = ctx.key, slot = args.slot })
end

--- How ctx.key ended: "done" and its result, "not_done", or "unknown"; nil and a failure while that
--- cannot be found out, but may be later.
function M.reconcile(args, ctx)
  local machine = machines[args.machine]
  local approval = machine and machine.approvals[ctx.key]
  if not approval then
    return "unknown" -- this process never commanded it; another one may have
  end
  if approval.state == "unknown" then
    resolve(machine, approval)
  end
  if approval.state == "done" then
    return "done", approval.result
  elseif approval.state == "refused" then
    return "not_done"
  elseif approval.state == "running" then
    return nil, failure.transient("vending: the motor is turning", "OUTCOME_UNKNOWN")
  elseif approval.before and not counter_of(machine, approval.slot) then
    local text = "vending: machine %s does not answer: its counter cannot be read"
    return nil, failure.transient(text:format(machine.id), "OUTCOME_UNKNOWN")
  end
  return "unknown"
end

return M
