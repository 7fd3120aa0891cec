--- What a machine's commands will check, checked when it is sent in: so that whoever fills it in
--- hears of it beside the field.
local json = require "sipeat.json"
local driver = require "flows.machine.driver"
local factory = require "flows.machine.factory"
local network = require "flows.machine.network"
local place = require "flows.machine.place"
local slots = require "flows.machine.slots"

local M = {}

local function of_driver(data)
  local row, message = driver.check(data)
  if not row then
    return message
  end
  local name, why = driver.proof(data)
  return not name and why or nil
end

--- What is wrong with typed data of machine.created beyond its types: a list of { field, message,
--- code }, empty when nothing is.
function M.problems(data)
  local list = {}
  local function add(field, message)
    if message then
      list[#list + 1] = { field = field, message = message, code = "refused" }
    end
  end
  if not factory.names(data.type or "standard") then
    add("type", "there are: " .. table.concat(factory.types, ", "))
  end
  local _, message = place.check(data.location)
  add(type(data.location) == "table" and "location.address" or "location", message)
  local problem, at = slots.problem(data.slots)
  add(at and ("slots[%d]"):format(at) or "slots", problem)
  _, message = network.check(data.network or {})
  add("network.address", message)
  add("driver.name", of_driver(data.driver or {}))
  local days = (data.maintenance or {}).everyDays
  if days ~= nil and not (math.type(days) == "integer" and days >= 1 and days <= 365) then
    add("maintenance.everyDays", "1 to 365 days")
  end
  return list
end

--- What the page of its set-up shows.
function M.about(data)
  return {
    machine_id = data.machineId, name = data.machineName,
    steps = json.array(factory.names(data.type or "standard")),
  }
end

return M
