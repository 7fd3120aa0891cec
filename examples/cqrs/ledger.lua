--- The write side: what may happen to a machine's stock, and what has happened.
local sipeat = require "sipeat"

local M = {}

M.TOPIC = "machine.ledger"
M.CAPACITY = 50 -- units in a slot

M.Refilled = sipeat.event.define("stock.refilled", {
  machineId = "string", slot = "integer", drink = "string", units = "integer",
})
M.Sold = sipeat.event.define("drink.sold", {
  machineId = "string", slot = "integer", drink = "string", cents = "integer",
})
M.Corrected = sipeat.event.define("stock.corrected", {
  machineId = "string", slot = "integer", units = "integer",
})

-- A slot of the state. Its key is text: snapshots are JSON.
local function slot_of(state, slot)
  local key = tostring(slot)
  state.slots[key] = state.slots[key] or { units = 0 }
  return state.slots[key]
end

local function refill(state, args, id)
  if math.type(args.slot) ~= "integer" or math.type(args.units) ~= "integer" or args.units < 1 then
    return nil, "slot and units are whole numbers, at least one unit", "INVALID"
  end
  local slot = slot_of(state, args.slot)
  if slot.units + args.units > M.CAPACITY then
    return nil, ("slot %d has %d units and room for %d"):format(args.slot, slot.units,
      M.CAPACITY - slot.units), "NO_ROOM"
  end
  return { { M.Refilled, {
    machineId = id, slot = args.slot, drink = args.drink, units = args.units,
  } } }
end

local function sell(state, args, id)
  local slot = math.type(args.slot) == "integer" and slot_of(state, args.slot)
  if not slot or slot.units < 1 then
    return nil, ("slot %s is empty"):format(tostring(args.slot)), "EMPTY"
  end
  return { { M.Sold, {
    machineId = id, slot = args.slot, drink = slot.drink, cents = args.cents or 250,
  } } }
end

-- Somebody has counted: the difference is what happened.
local function count(state, args, id)
  if math.type(args.slot) ~= "integer" or math.type(args.units) ~= "integer" or args.units < 0 then
    return nil, "slot and units are whole numbers", "INVALID"
  end
  local units = slot_of(state, args.slot).units
  if units == args.units then
    return {}
  end
  return { { M.Corrected, { machineId = id, slot = args.slot, units = args.units - units } } }
end

M.machine = sipeat.eventsource.aggregate {
  name = "machine", version = 1, snapshot = 100, topic = M.TOPIC,
  initial = function()
    return { slots = {} }
  end,
  events = {
    [M.Refilled] = function(state, data)
      local slot = slot_of(state, data.slot)
      slot.drink, slot.units = data.drink, slot.units + data.units
    end,
    [M.Sold] = function(state, data)
      local slot = slot_of(state, data.slot)
      slot.units = slot.units - 1
    end,
    [M.Corrected] = function(state, data)
      local slot = slot_of(state, data.slot)
      slot.units = slot.units + data.units
    end,
  },
  commands = { refill = refill, sell = sell, count = count },
}

return M
