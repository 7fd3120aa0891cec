--- The step that turns the motor: at most once for an event, also across restarts of this process.
--
-- The order stands in the ledger first, with the board's counters; then the reservation's row is
-- claimed: only who moves it from `held` to `dispensing` may command the machine. Whoever finds it
-- in `dispensing` asks what became of the earlier command instead.
local capture = require "sipeat.capture"
local failure = require "sipeat.failure"
local vending = require "sipeat.vending"
local fleet = require "flows.fleet"
local store = require "flows.store"

local M = {}

local function move(args, from, to)
  return store.change("reservations", { event_id = args.event_id, state = from }, { state = to })
end

local function show(args, what, problem)
  capture.record("dispense", {
    what = what,
    machine_id = args.machine,
    slot = args.slot,
    drink = args.drink,
    event_id = args.event_id,
    error = problem and problem.message,
  })
end

-- The reservation's state: "held", "dispensing", "dispensed" or "released"; nil and a failure.
local function state_of(args)
  local reservation, problem = store.first("reservations", { event_id = args.event_id })
  if reservation == nil then
    return nil, problem
  end
  return reservation and reservation.state or "released"
end

-- Called when the order stands in the ledger and before it leaves: only who moves the row may
-- order.
local function claim(args)
  return function()
    local moved, problem = move(args, "held", "dispensing")
    if not moved then
      return nil, problem
    elseif moved == 0 then
      return nil, failure.transient("the reservation has moved on", "NOT_SENT")
    end
    return true
  end
end

-- The motor did not move: the next attempt may claim again.
local function give_back(args)
  local moved, problem = move(args, "dispensing", "held")
  return moved and true or nil, problem
end

local function command(args, ctx)
  local result, why = vending.dispense(args, ctx, claim(args))
  if result then
    show(args, "dispensed")
    return result
  end
  why = failure.of(why)
  show(args, "failed", why)
  if why.kind ~= "permanent" and failure.proves_absence(why) then
    give_back(args) -- when this fails too, the claim stays, and a person has to look
  end
  return nil, why
end

--- Dispenses args = { machine, slot, drink, event_id, row, ledger }; `row` is the machine's in the
--- store, `ledger` the one in which the order will stand.
function M.run(args, ctx)
  local ok, problem = fleet.attach(args.row)
  if not ok then
    return nil, failure.new(failure.of(problem).message, "NOT_SENT")
  end
  local state
  state, problem = state_of(args)
  if not state then
    return nil, failure.new(problem.message, "NOT_SENT") -- not claimed: nothing has moved
  elseif state == "held" then
    return command(args, ctx)
  elseif state == "dispensed" then
    return { machine = args.machine, slot = args.slot, approval = ctx.key, proof = "record" }
  end
  local text = "machine %s, slot %d: an earlier attempt ended while the motor may have turned"
  return nil, failure.new(text:format(args.machine, args.slot), "OUTCOME_UNKNOWN", "timeout")
end

--- What became of an interrupted command: the machine's counter says it.
function M.reconcile(args, ctx)
  local ok, problem = fleet.attach(args.row)
  if not ok then
    return nil, problem
  end
  local state
  state, problem = state_of(args)
  if not state then
    return nil, problem
  elseif state == "held" then -- nobody has claimed it: the motor was not commanded
    ok, problem = vending.withdraw(args, ctx)
    if not ok then
      return nil, problem
    end
    return "not_done"
  end
  local verdict, result = vending.reconcile(args, ctx)
  if verdict == "not_done" then
    ok, problem = give_back(args)
    if not ok then
      return nil, problem
    end
  end
  return verdict, result
end

--- The same for a machine that proves nothing: nobody can say, so the customer is asked.
function M.reconcile_by_asking(args, ctx)
  local verdict, result = M.reconcile(args, ctx)
  if verdict == "unknown" then
    show(args, "in doubt: the customer is asked")
    return "done", {
      machine = args.machine, slot = args.slot, approval = ctx.key, proof = "none", in_doubt = true,
    }
  end
  return verdict, result
end

--- Writes down that the drink has fallen.
function M.record(args)
  local moved, problem = move(args, "dispensing", "dispensed")
  if not moved then
    return nil, problem
  end
  return { recorded = true }
end

return M
