--- The trace of an event in a flow: a span for each attempt, and the context that the event takes
--- along.
--
-- A job has it as `trace` and `trace_state` when the trace began with its first attempt: the next
-- ones, and whatever goes on after a restart, are below that. Its `record` then has it in its
-- headers, and so the journal has it too. What leaves for another topic has that of its last
-- attempt (`left`, `left_state`).
local tracing = require "sipeat.tracing"

local M = {}

-- What an attempt has come to, by the phase after it.
local OUTCOMES = { work = "again", moving = "retry_topic", dying = "dead" }

-- The record with that context in its headers.
local function stamped(record, parent, state)
  local copy = {}
  for key, value in pairs(record) do
    copy[key] = value
  end
  copy.headers = tracing.stamped(record.headers, parent, state)
  return copy
end

--- An attempt of the event begins: with a span, if it is recorded.
function M.begin(job)
  if not (tracing.on and tracing.recording()) then
    return
  end
  local record, event, flow = job.record, job.event, job.flow
  local span = tracing.start("process " .. record.topic, tracing.CONSUMER, {
    ["messaging.system"] = "kafka", ["messaging.operation.name"] = "process",
    ["messaging.operation.type"] = "process", ["messaging.destination.name"] = record.topic,
    ["messaging.destination.partition.id"] = tostring(record.partition),
    ["messaging.consumer.group.name"] = flow.group,
    ["messaging.kafka.offset"] = record.offset, ["messaging.message.id"] = event.id,
    ["messaging.message.body.size"] = record.value and #record.value or 0,
    ["messaging.kafka.message.tombstone"] = record.value == nil or nil,
    ["sipeat.event.type"] = event.type, ["sipeat.attempt"] = job.attempt,
  })
  local parent, state = span:context()
  if not span.parent_id then
    job.trace, job.trace_state = parent, state
    job.record = stamped(record, parent, state)
  end
  job.left, job.left_state, job.span = parent, state, span
end

--- It has ended, with a failure or without.
function M.finish(job, why)
  local span = job.span
  if not span then
    return
  end
  job.span = nil
  if why then
    span:set("sipeat.failure.kind", why.kind)
    span:fail(why, why.code)
  end
  span:set("sipeat.outcome", OUTCOMES[job.phase] or job.phase)
  span:finish()
end

--- The same with what the handler gave: true, or nil and a failure.
function M.ended(job, ok, result)
  if job.span then
    M.finish(job, job.failure or job.moving or job.refused or not ok and result or nil)
  end
end

--- The first attempt of an event begins that has a ctx and no job yet, which job(ctx) makes.
function M.begin_first(job, ctx)
  if tracing.on and tracing.recording() then
    M.begin(job(ctx))
  end
end

--- Another task goes on with the event.
function M.resume(job)
  if tracing.on and job.trace then
    tracing.set(job.trace, job.trace_state)
  end
end

--- Of an event that the engine did not look at, since it is out of the journal, or has its context
--- in its body.
function M.follow(job)
  if tracing.on and job.event.trace and not tracing.current() then
    tracing.begin(job.event.trace, job.event.headers.tracestate)
  end
end

--- The record of the event as it leaves for another topic.
function M.leaving(job)
  return job.left and stamped(job.record, job.left, job.left_state) or job.record
end

return M
