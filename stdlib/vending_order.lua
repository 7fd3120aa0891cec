--- Orders of sipeat.vending: at most one for an approval, and what became of it.
--
-- The row of the ledger is there before the order leaves, with what the board's counters said; so
-- an order whose end nobody heard is compared with what they say later, by whichever process.
-- While that cannot be done, nothing else is ordered that would move the same counter. A verdict
-- that nothing fell counts only once no motor can be turning any more.
local events = require "sipeat.vending_events"
local failure = require "sipeat.failure"
local log = require("sipeat.log").new "sipeat.vending"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local PAUSE = "200ms" -- between two questions what became of an order
local TURNING_MS = 1000 -- that a question waits for a motor at least

local function not_sent(why)
  return nil, failure.new(failure.of(why).message, "NOT_SENT", "transient")
end

-- Who the board is: what it said, or nothing.
local function board_of(device)
  return device.board or ""
end

--- The board is there, and is the one that it has to be. true, or nil and a failure.
local function ready(device)
  if not device.ready then
    return true
  end
  return device:ready()
end

local function settle(book, machine, order, state, outcome)
  order.state, order.outcome = state, outcome
  local ok, why = book:settle(order)
  if not ok then -- it is still open there, and will be compared again
    log:warn(("machine %s, approval %s: %s"):format(machine.id, order.approval, why.message))
  end
  if machine.is_reader then
    book:told(order) -- a charge is no sale of the machine
  elseif state == "done" then
    events.sale(machine.id, order, book)
  elseif state == "refused" then
    events.fault(machine.id, {
      code = outcome.code, reason = outcome.message, slot = order.slot, approval = order.approval,
    })
  else
    events.fault(machine.id, {
      code = "OUTCOME_UNKNOWN", reason = "nothing says how the order ended", slot = order.slot,
      approval = order.approval,
    })
  end
end

local function done(book, machine, order, proof, more)
  local outcome = {
    machine = machine.id, slot = order.slot, approval = order.approval, proof = proof,
    dispensed_at = sys.iso_time(),
  }
  for name, value in pairs(more or {}) do
    outcome[name] = value
  end
  settle(book, machine, order, "done", outcome)
  return outcome
end

-- A board with a counter for each slot, and nothing more to ask.
local function compare(device, order)
  local before = order.before.count
  if before == nil or device.proof == "none" or not device.counters then
    return "unknown"
  end
  local counters, message = device:counters()
  if not counters then
    return nil, failure.transient(("vending: machine %s: its counter cannot be read: %s"):format(
      order.machine, tostring(message)), "OUTCOME_UNKNOWN")
  end
  local now = counters.slots[order.slot]
  if now == before then
    return "not_done"
  elseif now == before + 1 then
    return "done"
  end
  return "unknown"
end

-- One look at what became of an order: a verdict and, when it is done, what proves it; "other" when
-- another board is there now; nil and a failure when it cannot be asked.
local function look(device, order)
  local ok, why = ready(device)
  if not ok then
    return nil, why
  elseif order.board ~= board_of(device) then
    return "other"
  elseif device.resolve then
    return device:resolve(order.slot, order.before)
  end
  return compare(device, order)
end

--- What became of an order that is open: "done", "not_done" or "unknown" (which is settled then),
--- or nil and a failure. The machine's turn is ours.
local function resolve(book, machine, order)
  local device = machine.device
  local ends = sys.monotonic_ms() + (device.patience_ms or 0)
  while true do
    local verdict, result, more = look(device, order)
    local now = sys.monotonic_ms()
    if verdict == "done" then
      done(book, machine, order, result or "counter", more)
      return "done"
    elseif verdict == "other" then
      return "unknown" -- not for ever: the board that was ordered may come back
    elseif verdict and now >= machine.quiet_at then
      local text = "vending: machine %s, slot %s: the board says that nothing fell"
      settle(book, machine, order, verdict == "not_done" and "refused" or "unknown", {
        message = text:format(machine.id, order.slot), code = "NOT_DISPENSED",
      })
      return verdict
    elseif not verdict and now >= ends then
      return nil, result
    end
    local rested, message, code = task.sleep(PAUSE)
    if not rested then
      return nil, failure.new(message, code)
    end
  end
end

-- What an order gives to whoever asks for the same approval.
local function answer(machine, order)
  if order.state == "done" then
    return order.outcome
  elseif order.state == "refused" then
    return nil, failure.permanent(order.outcome.message, order.outcome.code)
  end
  local text = "vending: machine %s: the outcome of approval %s is not known"
  return nil, failure.new(text:format(machine.id, order.approval), "OUTCOME_UNKNOWN", "timeout")
end

-- No order is open whose outcome another one would blur.
local function clear(book, machine, slot)
  local device = machine.device
  local open, why = book:open_orders(machine.id)
  if not open then
    return nil, why
  end
  for _, other in ipairs(open) do
    local blurs = device.shared_counter or other.slot == slot
    if blurs and other.board == board_of(device) and not resolve(book, machine, other) then
      local text = "vending: machine %s, slot %s: closed until it is known how approval %s ended"
      return nil, failure.transient(text:format(machine.id, slot, other.approval))
    end
  end
  return true
end

-- What the counters say before the order: plain data, empty for a board that has none.
local function counters_before(device, args)
  local slot = args.slot
  if device.before then
    return device:before(slot, args)
  elseif device.proof == "none" or not device.counters then
    return {}
  end
  local counters, message, code = device:counters()
  if not counters then
    return nil, failure.of(message, code)
  end
  return { count = counters.slots[slot] }
end

-- The one place from which a motor is ordered to turn.
local function command(book, machine, order, args)
  local device = machine.device
  local ok, proof, problem, more = xpcall(device.dispense, debug.traceback, device, order.slot,
    order.approval, args, order.before)
  if ok and proof then
    return done(book, machine, order, proof, more)
  end
  problem = ok and failure.of(problem) or failure.new(proof, "DRIVER_ERROR", "timeout")
  if not failure.proves_absence(problem) then
    machine.quiet_at = sys.monotonic_ms() + (device.settle_ms or 0)
    if not machine.is_reader then
      events.fault(machine.id, {
        code = problem.code, reason = problem.message, slot = order.slot,
        approval = order.approval,
      })
    end
  elseif problem.kind == "permanent" then
    settle(book, machine, order, "refused", { message = problem.message, code = problem.code })
  else
    local forgotten, why = book:forget(order)
    if not forgotten then
      log:warn(("machine %s, approval %s: %s"):format(machine.id, order.approval, why.message))
    end
  end
  return nil, problem
end

local function attempt(book, machine, args, key, claim)
  local device = machine.device
  local order, why = book:get(machine.id, key)
  if order == nil then
    return not_sent(why)
  elseif order then
    if order.state == "ordered" then -- by a process that is gone, or without a word of its end
      resolve(book, machine, order)
    end
    return answer(machine, order)
  end
  local ok, before
  ok, why = ready(device)
  if ok then
    ok, why = clear(book, machine, args.slot)
  end
  if ok then
    before, why = counters_before(device, args)
  end
  if not before then
    return not_sent(why)
  end
  order = {
    approval = key, machine = machine.id, slot = args.slot, board = board_of(device),
    before = before, state = "ordered", at_ms = sys.now_ms(),
  }
  ok, why = book:add(order)
  if not ok then
    return not_sent(why)
  end
  if claim then
    ok, why = failure.catch(claim)
    if not ok then
      book:forget(order) -- when this fails too, the counters will say that nothing fell
      return not_sent(why)
    end
  end
  return command(book, machine, order, args)
end

local function take_turn(machine)
  local ok, message, code = machine.turn:acquire()
  if not ok then
    return nil, failure.new("vending: " .. message, code)
  end
  return setmetatable({}, { __close = function()
    machine.turn:release()
  end })
end

-- In a task of its own: the motor goes on although whoever asked is killed.
local function work_on(work, book, machine, args, key, claim)
  task.set_event_id("")
  local ok, result, problem = xpcall(function()
    local turn <close>, why = take_turn(machine)
    if not turn then
      return nil, why
    end
    return attempt(book, machine, args, key, claim)
  end, debug.traceback)
  machine.running[key] = nil
  if ok then
    work.result, work.problem = result, problem
  else
    work.problem = failure.new(result, "DRIVER_ERROR", "timeout")
  end
end

--- Orders what args say, at most once for that key.
function M.dispense(book, machine, args, key, claim)
  local work = machine.running[key]
  if not work then
    work = {}
    machine.running[key] = work
    work.task = task.spawn(work_on, work, book, machine, args, key, claim)
  end
  local _, message, code = work.task:join()
  if work.result or work.problem then
    return work.result, work.problem
  end
  return nil, failure.new("vending: " .. tostring(message), code)
end

--- Forgets an open order of which it is known that it never left.
function M.withdraw(book, machine, key)
  if machine.running[key] then
    return nil, failure.transient("vending: the motor is turning", "EBUSY")
  end
  local order, why = book:get(machine.id, key)
  if order == nil then
    return nil, why
  elseif order and order.state == "ordered" then
    local ok
    ok, why = book:forget(order)
    if not ok then
      return nil, why
    end
  end
  return true
end

--- How that key ended: "done" and the result, "not_done", "unknown"; or nil and a failure.
function M.reconcile(book, machine, args, key)
  local work = machine.running[key]
  if work then
    work.task:join(math.max(TURNING_MS, machine.device.patience_ms or 0) .. "ms")
    if machine.running[key] then
      return nil, failure.transient("vending: the motor is turning", "OUTCOME_UNKNOWN")
    end
  end
  local turn <close>, reason = take_turn(machine)
  if not turn then
    return nil, reason
  end
  local order, why = book:get(machine.id, key)
  if order == nil then
    return nil, why
  elseif not order then -- only the ledger that it was meant for can tell that it never was ordered
    return args.ledger ~= nil and args.ledger == book:here() and "not_done" or "unknown"
  elseif order.state == "ordered" then
    local verdict
    verdict, why = resolve(book, machine, order)
    if not verdict then
      return nil, why
    end
  end
  if order.state == "done" then
    return "done", order.outcome
  end
  return order.state == "refused" and "not_done" or "unknown"
end

return M
