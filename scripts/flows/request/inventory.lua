--- The first step of a request: takes a drink from the stock, and puts it back when the rest fails.
local capture = require "sipeat.capture"
local store = require "flows.store"

local M = {}

local function show(what, args, reservation)
  capture.record("inventory", {
    what = what,
    machine_id = args.machine_id,
    slot = args.slot,
    drink = reservation and reservation.drink,
    event_id = args.event_id,
  })
end

--- Reserves one drink. The same event gets the same reservation.
function M.reserve(args)
  local reservation, problem = store.reserve(args.event_id, args.machine_id, args.slot)
  if not reservation then
    return nil, problem
  end
  show("reserved", args, reservation)
  return { slot = reservation.slot, drink = reservation.drink, state = reservation.state }
end

--- Puts the drink back, once.
function M.release(args, result)
  local released, problem = store.release(args.event_id)
  if released == nil then
    return nil, problem
  elseif released then
    show("released", args, result)
  end
  return { released = released }
end

return M
