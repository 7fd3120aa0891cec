--- Two machines for `sipeat dev`, so that the sample requests have something to drink from.
local capture = require "sipeat.capture"
local log = require("sipeat.log").new "demo"
local sys = require "sipeat.core.sys"
local store = require "flows.store"

local M = {}

local MACHINES = {
  { machine_id = "M12345", name = "Office Lobby", address = "1 Market Street", proof = "sensor" },
  { machine_id = "M20001", name = "Old Town Station", address = "Platform 2", proof = "none" },
}

local DRINKS = { "Coca-Cola", "Water", "Orange Juice", "Espresso" }
local PRICES = { 250, 0, 300, 180 } -- the water is on us

local function add(machine)
  local known, problem = store.first("machines", { machine_id = machine.machine_id })
  if problem then
    log:warn("no demo machines: " .. problem.message)
    return
  elseif known then
    return
  end
  local row = {
    type = "standard", status = "active", driver = "simulated", event_id = "demo",
    updated_at = sys.iso_time(),
  }
  for column, value in pairs(machine) do
    row[column] = value
  end
  local slots = {}
  for slot, drink in ipairs(DRINKS) do
    slots[slot] = {
      machine_id = row.machine_id, slot = slot, drink = drink, stock = 20, capacity = 20,
      price_minor = PRICES[slot], currency = "EUR", event_id = "demo",
    }
  end
  store.replace("inventory", { machine_id = row.machine_id }, slots)
  store.put("machines", row)
  log:info(("demo machine %s: %s"):format(row.machine_id, table.concat(DRINKS, ", ")))
end

--- Adds the machines that are not there, when this is `sipeat dev`.
function M.seed()
  if capture.enabled() then
    for _, machine in ipairs(MACHINES) do
      add(machine)
    end
  end
end

return M
