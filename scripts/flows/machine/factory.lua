--- Makes the set of commands for a machine from its type.
--
-- | type     | commands, after the survey and before the activation                  |
-- |----------|-----------------------------------------------------------------------|
-- | standard | location, driver, inventory, network, maintenance every 30 days       |
-- | offline  | location, driver, inventory, maintenance every 14 days                |
-- | coffee   | as standard, and cleaning every 7 days                                |
local opts = require "sipeat.opts"
local failure = require "sipeat.failure"
local sipeat = require "sipeat"
local commands = require "flows.machine.commands"

local M = {}

local SETS = {
  standard = function()
    return {
      commands.location "standard", commands.driver, commands.inventory, commands.network,
      commands.maintenance(30),
    }
  end,
  offline = function()
    return {
      commands.location "offline", commands.driver, commands.inventory, commands.maintenance(14),
    }
  end,
  coffee = function()
    return {
      commands.location "coffee", commands.driver, commands.inventory, commands.network,
      commands.maintenance(30), commands.cleaning(7),
    }
  end,
}

local function build(name)
  local list = SETS[name]()
  table.insert(list, 1, commands.survey)
  list[#list + 1] = commands.activation
  return sipeat.commands("machine-" .. name)(list)
end

local sets = {}
for name in pairs(SETS) do
  sets[name] = build(name)
end

--- The names of the types, sorted.
M.types = opts.names(SETS)

--- The names of a type's commands in their order; nil for a type that is not known.
function M.names(kind)
  local make = SETS[kind:lower()]
  if not make then
    return nil
  end
  local list = { commands.survey[1] }
  for i, command in ipairs(make()) do
    list[i + 1] = command[1]
  end
  list[#list + 1] = commands.activation[1]
  return list
end

--- The commands for an event, or nil and a failure.
function M.make(event)
  local name = (event.data.type or "standard"):lower()
  if sets[name] then
    return sets[name]
  end
  local text = "machine type %s is not known (there are: %s)"
  local names = table.concat(opts.names(SETS), ", ")
  return nil, failure.permanent(text:format(name, names), "UNKNOWN_MACHINE_TYPE")
end

return M
