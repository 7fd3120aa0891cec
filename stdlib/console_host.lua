--- Which program the console is a part of: one that runs a script, or the console alone.
local flow = require "sipeat.core.flow"

local M = {}

M.mode = "console" -- "run", "dev" or "console"
M.broker = nil -- as it was named, when no script runs
local host -- sipeat.core.host; nil: the console is alone

local NOTHING = { available = false, reason = "the console is alone: no script runs here" }

--- Called once, before the routes are added.
function M.set(mode, core, broker)
  M.mode, host, M.broker = mode, core, broker
end

--- sipeat.core.host; nil when the console is alone.
function M.core()
  return host
end

function M.is_alone()
  return host == nil
end

--- What an area says that this process does not have: as NOTHING, with empty lists.
function M.without(lists, reason)
  local out = { available = false, reason = reason or NOTHING.reason }
  for name, value in pairs(lists) do
    out[name] = value
  end
  return out
end

--- What each flow of each worker says of itself.
function M.flows()
  local flows = flow.status()
  for _, one in ipairs(host and host.workers() or {}) do
    flows[#flows + 1] = one
  end
  return flows
end

--- The groups of this process: name -> { state, members }.
function M.own_groups()
  local out = {}
  for _, one in ipairs(M.flows()) do
    local group = out[one.group] or { state = "Stable", members = 0 }
    group.members = group.members + 1
    group.state = (one.draining or one.error) and "unknown" or group.state
    out[one.group] = group
  end
  return out
end

return M
