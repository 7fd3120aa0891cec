--- What can be ordered: machines that are ready, their drinks with stock and price, and from a wish
--- the data of a request.
local json = require "sipeat.json"
local money = require "sipeat.money"
local factory = require "flows.request.factory"
local plan = require "flows.request.plan"
local store = require "flows.store"

local M = {}

--- The machines that serve requests, by name; nil and a failure.
function M.machines()
  local rows, problem = store.find("machines", { status = "active" })
  if not rows then
    return nil, problem
  end
  table.sort(rows, function(a, b)
    return a.name == b.name and a.machine_id < b.machine_id or a.name < b.name
  end)
  return rows
end

--- The machine of that id among them.
function M.find(machines, id)
  for _, machine in ipairs(machines) do
    if machine.machine_id == id then
      return machine
    end
  end
end

--- The slots of a machine, with stock and price; nil and a failure.
function M.slots(machine_id)
  return store.find("inventory", { machine_id = machine_id })
end

local function slot_of(wish)
  local rows, problem = store.find("inventory", { machine_id = wish.machineId, slot = wish.slot })
  if not rows then
    return nil, problem
  end
  return rows[1] or false
end

-- What is wrong with the slot that was chosen, or nil.
local function objection(row, wish)
  if not row then
    return "Please choose a drink."
  elseif row.stock == 0 then
    return ("%s has just been sold out. Please choose another drink."):format(row.drink)
  elseif wish.shown and wish.shown ~= ("%d %s"):format(row.price_minor, row.currency) then
    local now = money.format(money.new(row.price_minor, row.currency))
    return ("%s costs %s now. Order again if that is all right."):format(row.drink, now)
  end
end

--- Completes a request's data from the wish { machineId, slot, shown? }: its drink, its machine's
--- name, and the price as the amount. true and the machine; or false and a message about the drink;
--- or nil and a failure.
function M.complete(data, wish)
  if not wish.machineId or not wish.slot then
    return false, "Please choose a drink."
  end
  local row, problem = slot_of(wish)
  if row == nil then
    return nil, problem
  end
  local machine
  machine, problem = store.first("machines", { machine_id = wish.machineId, status = "active" })
  if machine == nil then
    return nil, problem
  elseif not machine then
    return false, "This machine is not ready. Please choose another one."
  end
  local text = objection(row, wish)
  if text then
    return false, text
  end
  data.machineId, data.machineName = machine.machine_id, machine.name
  data.slot, data.drinkName = row.slot, row.drink
  data.amount = money.to_number(money.new(row.price_minor, row.currency))
  data.currency = row.currency
  return true, machine
end

--- What the page of a request shows besides its progress: drink, place and price, and the steps
--- that it will have.
function M.about(data, machine)
  local price = money.of(data.amount, data.currency)
  local made = {
    slot = data.slot, drink = data.drinkName, price = price, proof = machine.proof,
    payment = plan.payment(data, price),
  }
  local names = json.array {}
  for i, step in ipairs(factory.steps({ data = data }, made)) do
    names[i] = step[1]
  end
  return {
    drink = data.drinkName, machine = data.machineName, machine_id = data.machineId,
    price_minor = price.amount_minor, currency = price.currency, payment = made.payment,
    steps = names,
  }
end

return M
