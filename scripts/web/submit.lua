--- From what came in to an event in Kafka: once for each key, however often it is sent.
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "web"
local publish = require "sipeat.publish"
local task = require "sipeat.task"
local settings = require "flows.settings"
local submissions = require "flows.submissions"

local M = {}

local AWAY = "No broker answers at the moment."

local flights = {} -- event id -> the task that sends it
local turns = {} -- event id -> a semaphore, while one of its requests is being worked on

-- One request of an id at a time, so that the second one sees what the first one did.
local function in_turn(id, f, ...)
  local turn = turns[id] or { lock = task.semaphore(1), users = 0 }
  turns[id], turn.users = turn, turn.users + 1
  local results = table.pack(pcall(turn.lock.with, turn.lock, f, ...))
  turn.users = turn.users - 1
  if turn.users == 0 then
    turns[id] = nil
  end
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

local function send(o, row, outbox)
  submissions.forget_old()
  local report, message, code = publish.publish(o.definition, o.data, {
    id = o.id, source = submissions.SOURCE, outbox = outbox,
  })
  local ok, problem
  if report then
    ok, problem = submissions.sent(row)
  else
    ok, problem = submissions.lost(row, code)
    log:error(("%s %s was not sent: %s"):format(o.definition.type, o.id, message))
  end
  if not ok then
    log:error(("submission %s: %s"):format(o.id, problem.message))
  end
  return report, message, code
end

-- Sends it beside whoever waits for it: who gives up waiting and comes again waits for the same.
local function start(o, row, outbox)
  flights[o.id] = task.spawn(function()
    local landed <close> = setmetatable({}, { __close = function()
      flights[o.id] = nil
    end })
    local report, message, code = send(o, row, outbox)
    return landed and report, message, code
  end)
  return flights[o.id]
end

-- The row, and the task that sends it: nil when that was done before.
local function take(o)
  local outbox = settings.web_outbox()
  local row, problem = submissions.open(o.id, o.definition.type, o.data, o.about)
  if not row and problem == "KEY_REUSED" then
    return nil, "This key was used for something else.", problem
  elseif not row then
    return nil, problem.message, "UNAVAILABLE"
  elseif flights[o.id] then
    return row, flights[o.id]
  elseif row.state ~= "taken" and row.state ~= "lost" then
    return row
  elseif not outbox and not kafka.connected() then
    return nil, AWAY, "UNAVAILABLE"
  end
  return row, start(o, row, outbox)
end

--- Takes o = { id, definition, data, about, wait? }: data as on the wire, checked already. With
--- `wait` it answers when Kafka has it. The row of flows.submissions; or nil, message,
--- "UNAVAILABLE" | "KEY_REUSED".
function M.take(o)
  local row, flight, code = in_turn(o.id, take, o)
  if not row then
    return nil, flight, code
  elseif flight and o.wait then
    local report, message = flight:join(settings.web_patience())
    if not report then
      return nil, message, "UNAVAILABLE"
    end
  end
  return row
end

return M
