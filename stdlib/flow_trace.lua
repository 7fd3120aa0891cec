--- The trace of an event in a flow: a span for each attempt, and the context that the event takes
--- along.
--
-- A job has it as `trace` and `trace_state` when the trace began with its first attempt: the next
-- ones, and whatever goes on after a restart, are below that. Its `record` then has it in its
-- headers, and so the journal has it too. What leaves for another topic has that of its last
-- attempt (`left`, `left_state`).
local core = require "sipeat.core.flow"
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

local function name_of(job)
  return "process " .. job.record.topic
end

local function attributes_of(job)
  local record, event = job.record, job.event
  return {
    ["messaging.system"] = "kafka", ["messaging.operation.name"] = "process",
    ["messaging.operation.type"] = "process", ["messaging.destination.name"] = record.topic,
    ["messaging.destination.partition.id"] = tostring(record.partition),
    ["messaging.consumer.group.name"] = job.flow.group,
    ["messaging.kafka.offset"] = record.offset, ["messaging.message.id"] = event.id,
    ["messaging.message.body.size"] = record.value and #record.value or 0,
    ["messaging.kafka.message.tombstone"] = record.value == nil or nil,
    ["sipeat.event.type"] = event.type, ["sipeat.attempt"] = job.attempt,
  }
end

-- The span is the job's.
local function have(job, span)
  local parent, state = span:context()
  if not span.parent_id then
    job.trace, job.trace_state = parent, state
    job.record = stamped(job.record, parent, state)
  end
  job.left, job.left_state, job.span = parent, state, span
end

--- An attempt of the event begins: with a span, if it is recorded.
function M.begin(job)
  if tracing.on and tracing.recording() then
    have(job, tracing.start(name_of(job), tracing.CONSUMER, attributes_of(job)))
  end
end

local function adopted(job, trace_id, parent_id, id, wall, mono, before, state)
  if trace_id then
    have(job, tracing.adopt(
      name_of(job), tracing.CONSUMER, attributes_of(job), before, state,
      trace_id, parent_id, id, wall, mono
    ))
  end
end

--- The first attempt of an event has a job from now on: it goes on with the span that it has.
function M.adopt(job)
  if tracing.on then
    adopted(job, job.ticket:span())
  end
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

--- The first attempt of an event begins that has a ctx and no job yet. One that is recorded has a
--- span of the engine's (flow/span.c), or a job with one, which job(ctx) makes.
function M.begin_first(ticket, job, ctx)
  if tracing.on and tracing.recording() and not core.begin_span(ticket) then
    M.begin(job(ctx))
  end
end

--- It has ended well, and no job was needed.
function M.end_first(ticket, event)
  if tracing.on then
    core.end_span(ticket, event)
  end
end

--- Another task goes on with the event.
function M.resume(job)
  if tracing.on and job.trace then
    tracing.set(job.trace, job.trace_state)
  end
end

--- Of an event that the engine did not look at, since it is out of the journal, or has its context
--- in its body; or of one that comes again after `trouble`, maybe with a span that has not ended.
function M.follow(job, trouble)
  if trouble then
    M.adopt(job)
  end
  if tracing.on and job.event.trace and not tracing.current() then
    tracing.begin(job.event.trace, job.event.headers.tracestate)
  end
end

--- The record of the event as it leaves for another topic.
function M.leaving(job)
  return job.left and stamped(job.record, job.left, job.left_state) or job.record
end

return M
