--- Whether the program takes events (/ready), whether it works (/health), and if not, why.
local deadletter = require "sipeat.deadletter_state"
local flow = require "sipeat.core.flow"
local host = require "sipeat.core.host"
local json = require "sipeat.json"
local kafka = require "sipeat.core.kafka"

local M = {}

--- What each flow of each worker says of itself.
function M.flows()
  local flows = flow.status()
  for _, one in ipairs((host.workers())) do
    flows[#flows + 1] = one
  end
  return flows
end

local function phase_reason(status)
  if status.phase == "starting" then
    return "the script is loading"
  elseif status.phase ~= "running" then
    return "draining: events in flight are finished, new ones are not taken"
  end
end

--- Why the program does not take events now; an empty list when it does.
function M.unready()
  local status = host.status()
  local reasons = { phase_reason(status) }
  local flows = {} -- those that need a broker now: with an outbox, outputs are safe without one
  for _, one in ipairs(M.flows()) do
    if status.connected or not one.outbox then
      flows[#flows + 1] = one
    end
  end
  local _, _, _, others_connected = host.workers()
  if #flows > 0 and not (status.connected and others_connected) then
    local why = kafka.trouble()
    reasons[#reasons + 1] = "no broker answers" .. (why and ": " .. why or "")
  end
  for _, one in ipairs(flows) do
    if one.error then
      reasons[#reasons + 1] = ("flow %s: %s"):format(one.group, one.error)
    elseif not one.assigned then
      reasons[#reasons + 1] = ("flow %s: joining its group"):format(one.group)
    end
  end
  return reasons
end

local function late_letters()
  local letters = deadletter.status()
  if letters.late > 0 then
    return ("dead letters cannot be written: %d wait, the first one for %d s%s"):format(
      letters.late, letters.oldest_ms // 1000, letters.message and ": " .. letters.message or ""
    )
  end
end

local function outbox_trouble()
  local status = require("sipeat.core.outbox").status()
  return status and status.open and status.trouble
    and "the outbox cannot be written: " .. tostring(status.trouble) or nil
end

-- What does not stop events and should be looked at.
local function warnings()
  local list = {}
  list[#list + 1] = late_letters()
  list[#list + 1] = outbox_trouble()
  local refused = host.status().reload_error
  list[#list + 1] = refused and "the last version of the script was refused: " .. refused
  for _, one in ipairs(require("sipeat.breaker").status()) do
    list[#list + 1] = one.state == "open" and ("breaker %s is open"):format(one.name) or nil
  end
  local vending = require "sipeat.vending"
  for _, id in ipairs(vending.machines()) do
    local known = vending.glance(id)
    if known and not known.online then
      list[#list + 1] = ("machine %s is offline%s"):format(
        id, known.reason and ": " .. tostring(known.reason) or ""
      )
    end
  end
  return list
end

--- The handler of GET /ready.
function M.ready()
  local reasons, late = M.unready(), late_letters()
  local warned = late and { late } or nil
  if #reasons == 0 then
    return { status = 200, json = { ready = true, warnings = warned } }
  end
  return { status = 503, json = { ready = false, reasons = reasons, warnings = warned } }
end

--- The handler of GET /health: 503 only when nothing but a restart or a repair helps, so that a
--- supervisor may act on it; what passes by itself, or is the trouble of others, is told with 200.
function M.health()
  local failure = require("sipeat.core.journal").failure()
  if failure then
    local why = "the journal cannot be written: " .. failure
    return { status = 503, json = { status = "failing", reasons = { why } } }
  end
  local reasons, told = M.unready(), warnings()
  table.move(told, 1, #told, #reasons + 1, reasons)
  return {
    status = 200,
    json = { status = #reasons == 0 and "ok" or "degraded", reasons = json.array(reasons) },
  }
end

return M
