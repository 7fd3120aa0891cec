--- From what came in to an event in Kafka: once for each key, however often it is sent.
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "web"
local publish = require "sipeat.publish"
local task = require "sipeat.task"
local settings = require "flows.settings"
local submissions = require "flows.submissions"

local M = {}

local PATIENCE = "10s" -- with a broker that takes its time, for who waits for it
local AWAY = "No broker answers at the moment."

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

local function send(definition, data, id, outbox)
  return publish.publish(definition, data, {
    id = id, source = submissions.SOURCE, outbox = outbox,
  })
end

-- Sends it and notes how that went. What was not acknowledged in time may still arrive; it has the
-- same id when it is sent again.
local function deliver(definition, data, row, outbox)
  local report, message, code = task.with_timeout(PATIENCE, send, definition, data, row.event_id,
    outbox)
  local ok, problem
  if report then
    ok, problem = submissions.sent(row)
  else
    ok, problem = submissions.lost(row, code)
    log:error(("%s %s was not sent: %s"):format(definition.type, row.event_id, message))
  end
  if not ok then
    log:error(("submission %s: %s"):format(row.event_id, problem.message))
  end
  return report, message, code
end

local function take(o)
  local outbox = settings.web_outbox()
  local row, problem = submissions.open(o.id, o.definition.type, o.data, o.about)
  if not row then
    return nil, problem == "KEY_REUSED" and "This key was used for something else."
      or problem.message, problem == "KEY_REUSED" and problem or "UNAVAILABLE"
  elseif row.state ~= "taken" and row.state ~= "lost" then
    return row, true
  elseif not outbox and not kafka.connected() then
    return nil, AWAY, "UNAVAILABLE"
  elseif not o.wait then
    task.spawn(deliver, o.definition, o.data, row, outbox)
    return row, false
  end
  local report, message = deliver(o.definition, o.data, row, outbox)
  if not report then
    return nil, message, "UNAVAILABLE"
  end
  row.report = report
  return row, false
end

--- Takes o = { id, definition, data, about, wait? }: data as on the wire, checked already. With
--- `wait` it answers when Kafka has it. The row of flows.submissions and whether it was there
--- before; or nil, message, "UNAVAILABLE" | "KEY_REUSED".
function M.take(o)
  return in_turn(o.id, take, o)
end

return M
