--- What a request needs: which slot, what price, whether to charge, and what proves that it fell.
local failure = require "sipeat.failure"
local money = require "sipeat.money"
local store = require "flows.store"

local M = {}

local PAYMENTS = { card = true, prepaid = true, free = true }

local function same(a, b)
  return a:lower() == b:lower()
end

-- The slot that the event names, or the first one that has the drink (better one with stock).
local function choose(data, slots)
  local found
  for _, row in ipairs(slots) do
    if data.slot == row.slot and not same(row.drink, data.drinkName) then
      local text = "machine %s, slot %d has %s, not %s"
      text = text:format(data.machineId, row.slot, row.drink, data.drinkName)
      return nil, failure.permanent(text, "WRONG_DRINK")
    elseif data.slot == row.slot then
      return row
    elseif not data.slot and same(row.drink, data.drinkName) then
      found = found and found.stock > 0 and found or row
    end
  end
  if found then
    return found
  end
  local what = data.slot and ("slot %d"):format(data.slot) or data.drinkName
  local text = ("machine %s has no %s"):format(data.machineId, what)
  return nil, failure.permanent(text, "UNKNOWN_DRINK")
end

-- The machine of a request. It may be on its way in another topic: so trying again can help.
local function machine_of(data)
  local machine, problem = store.first("machines", { machine_id = data.machineId })
  if machine then
    if machine.status == "active" then
      return machine
    end
    local text = ("machine %s is still being set up"):format(data.machineId)
    return nil, failure.transient(text, "MACHINE_NOT_READY")
  elseif problem then
    return nil, problem
  end
  local text = "machine %s is not known (machine.created makes it known)"
  return nil, failure.transient(text:format(data.machineId), "UNKNOWN_MACHINE")
end

--- How the drink is paid: card, prepaid or free; a price of nothing is free.
function M.payment(data, price)
  local payment = (data.payment or "card"):lower()
  if not PAYMENTS[payment] then
    local text = ("payment %s is not known (card, prepaid, free)"):format(payment)
    return nil, failure.permanent(text, "UNKNOWN_PAYMENT")
  elseif price.amount_minor < 0 then
    local text = ("an amount of %s cannot be charged"):format(money.format(price))
    return nil, failure.permanent(text, "INVALID_AMOUNT")
  elseif price.amount_minor == 0 then
    return "free"
  end
  return payment
end

--- The plan of a request: { machine, slot, drink, price, payment, proof }, or nil and a failure.
function M.make(event)
  local data = event.data
  local machine, problem = machine_of(data)
  if not machine then
    return nil, problem
  end
  local slots
  slots, problem = store.find("inventory", { machine_id = data.machineId })
  if not slots then
    return nil, problem
  end
  local row
  row, problem = choose(data, slots)
  if not row then
    return nil, problem
  end
  local price = data.amount or money.new(row.price_minor, row.currency)
  local payment
  payment, problem = M.payment(data, price)
  if not payment then
    return nil, problem
  end
  return {
    machine = machine,
    slot = row.slot,
    drink = row.drink,
    price = money.new(price.amount_minor, price.currency),
    payment = payment,
    proof = machine.proof,
  }
end

return M
