--- What happens to one event: reading, routing, attempts with pauses between them, the dead letter.
--
-- The engine calls start in a task, which runs the handler for the first time. Most events end with
-- that, and nothing is kept of them. Whatever else happens needs a job: then the engine calls
-- dispatch, once for each step of an event's way, and keeps the job in between:
-- { flow, record, event, ctx, phase, attempt, ends, result, failure }. Phases: "work" (the handler
-- is to run), "done" (it has succeeded; outputs are on their way), "dying" (it goes to the dead
-- letters), "dead" (it is there), "moving" and "moved" (as these two, to a retry topic), "parked"
-- (a person has to look) and "left" (the journal has it: it goes on later, or elsewhere). Both
-- answer true when the event is terminal, milliseconds when it wants to be dispatched again after
-- them (the event keeps its place among those of its key, but no task), and false when it was
-- stopped.
local attempt = require "sipeat.attempt"
local context = require "sipeat.flow_context"
local core = require "sipeat.core.flow"
local counts = require "sipeat.flow_counts"
local deadletter = require "sipeat.deadletter"
local durable = require "sipeat.durable"
local events = require "sipeat.event"
local failure = require "sipeat.failure"
local guard = require "sipeat.guard"
local handler = require "sipeat.context"
local journal = require "sipeat.journal"
local letters = require "sipeat.deadletter_state"
local log = require "sipeat.log"
local opts = require "sipeat.opts"
local resumed = require "sipeat.flow_resumed"
local retry_topic = require "sipeat.retry_topic"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local tasks = require "sipeat.core.task"
local trace = require "sipeat.flow_trace"
local tracing = require "sipeat.tracing"

local M = {}

local logger = log.new "flow"
local REFUSED_FOR_GOOD = context.refused_for_good

local REFUSED_FOR_MS = 3600 * 1000 -- so long an attempt that was refused does not count

-- Pauses between tries of a dead letter.
local LETTER = { pause = opts.backoff { backoff = { "200ms", "30s" } } }

local LONGEST_PAUSE = 20 -- tries after which pauses do not grow any more
local LAST_OUTPUT_BIT = 7 -- of trouble.outputs: stands for all outputs from the eighth on

-- What can be said of a record that is no event.
local function partial(record)
  local headers = {}
  for _, header in ipairs(record.headers) do
    headers[header[1]] = header[2]
  end
  local function text(...)
    for _, name in ipairs { ... } do
      if headers[name] and sys.valid_utf8(headers[name]) then
        return headers[name]
      end
    end
  end
  local place = ("%s:%d:%d"):format(record.topic, record.partition, record.offset)
  return {
    id = text("ce_id", "event-id") or place,
    type = text("ce_type", "event-type"),
    topic = record.topic,
    partition = record.partition,
    offset = record.offset,
    key = record.key,
    value = record.value,
    headers = headers,
    broken = true,
  }
end

--- The job of a record, which no flow has begun yet.
function M.job(record)
  local event, message, code = events.from_record(record)
  return {
    record = record,
    event = event or partial(record),
    broken = not event and failure.permanent(message, code) or nil,
    phase = "work",
    attempt = 0,
  }
end

-- Full jitter: anything up to the pause, so that what failed together does not come back together.
local function jitter(ms)
  return math.random(1, math.max(1, ms))
end

local function handle(flow, event, ctx)
  local route = flow.routes[event.type] or flow.routes["*"]
  if not route then
    local why = event.type and ("no handler for the type %s"):format(opts.show(event.type))
      or "the event has no type (headers ce_type or event-type, or type in its body)"
    return nil, failure.permanent(why, "UNKNOWN_TYPE")
  end
  if route.definition then
    local ok, message, code = route.definition:accept(event)
    if not ok then
      return nil, failure.is(message) and message or failure.permanent(message, code)
    end
  end
  return route.handler(event, ctx)
end

local function die(job, why)
  job.phase, job.failure = "dying", why
  job.first_failed_ms = job.first_failed_ms or sys.now_ms()
  local flow, event = job.flow, job.event
  logger:error(("%s: %s"):format(flow.dead_letter and "dead letter" or "dropped", why.message), {
    group = flow.group,
    topic = job.record.topic,
    partition = job.record.partition,
    offset = job.record.offset,
    type = event.type,
    code = why.code,
    attempts = job.attempt,
    traceback = why.traceback,
  })
  require("sipeat.sentry").event_failed(job, why)
end

-- How long a failing event may still hold its key before its next failure is the last: nil, as long
-- as it has attempts; 0: not any more.
local function hold_left_ms(job)
  local followers = job.held_since and job.ticket:followers()
  if not followers then
    return nil
  elseif followers > job.flow.hold.followers then
    return 0
  end
  return math.max(0, math.ceil(job.held_since + job.flow.hold.time - task.monotonic_ms()))
end

-- Leaves an event that has a run in the journal: parked, or in the queue of its key.
local function park(job, why)
  job.unwritten = not job.run:leave(journal.PARKED, why.message)
  job.phase, job.failure = "parked", why
  counts.parked:add(1, job.flow.group)
  job.ticket:ends_as "parked"
  logger:error("parked: " .. why.message, {
    group = job.flow.group, type = job.event.type, code = why.code, run = job.run.id,
    attempts = job.attempt, traceback = why.traceback,
  })
  require("sipeat.sentry").event_failed(job, why)
end

-- The n-th attempt failed and another one follows: how long until then. What was refused before it
-- was called, by an open breaker and its like, was no attempt: it is not counted, for a while.
local function again(job, n, why)
  local plan = job.flow.plan
  job.first_failed_ms = job.first_failed_ms or sys.now_ms()
  job.held_since = job.held_since or task.monotonic_ms()
  local pause_ms = jitter(plan.pause(n)) + attempt.refused_for_ms(why)
  if job.run then
    job.run:keep("state", "flow", { attempt = n, first_failed_ms = job.first_failed_ms }, true)
  end
  if durable.holds(job) and hold_left_ms(job) == 0
    and durable.hold(job, why.message, sys.now_ms() + pause_ms) then
    job.phase = "left"
    return nil
  end
  pause_ms = math.min(pause_ms, math.max(1, hold_left_ms(job) or pause_ms))
  local level = "warn"
  if guard.is_refusal(why) and task.monotonic_ms() - job.started_at_ms < REFUSED_FOR_MS then
    job.attempt, level = n - 1, "debug"
  end
  counts.retries:add(1, job.flow.group)
  local later = ("in %d ms"):format(pause_ms)
  logger[level](logger, ("attempt %d of %d failed, the next %s: %s"):format(
    n, plan.attempts, job.flow.retry_delays and "from a retry topic" or later, why.message
  ), {
    group = job.flow.group,
    type = job.event.type,
    code = why.code,
    traceback = why.traceback,
  })
  if job.flow.retry_delays then
    job.phase, job.moving = "moving", why
    return nil
  end
  return pause_ms
end

-- Its run is not this attempt's any more: it sleeps or waits, is another host's, was accepted
-- before, or cannot be written. Answers as judge does.
local function let_go(job)
  local refused = job.run.refused
  if refused and refused.code ~= "DUPLICATE" and refused.code ~= "JOURNAL_FENCED" then
    return false -- the process ends
  elseif refused and refused.code == "JOURNAL_FENCED" then
    logger:error("stopped: " .. refused.message, {
      group = job.flow.group, type = job.event.type, code = refused.code, run = job.run.id,
    })
  end
  job.phase = "left"
  return nil
end

-- How an attempt of the handler ended. Milliseconds to wait before the next one, false when the
-- task was stopped, nil when there is a verdict.
local function judge(job, ok, result)
  if tasks.over() then
    return false -- over its budget: the engine says so at the next dispatch, to which it is left
  end
  local ctx, n, refused, run = job.ctx, job.attempt, job.refused, job.run
  if run and (run.left or run.refused) then
    return let_go(job)
  elseif ok and run and run.added and handler.unfinished(ctx.memory) then
    local where = handler.unfinished(ctx.memory)
    park(job, failure.permanent(where .. " was stopped on its way", "UNKNOWN_OUTCOME"))
    return nil
  elseif ok and not refused then
    job.phase, job.result = "done", result
    return nil
  elseif ok then
    local final = REFUSED_FOR_GOOD[refused.code] and "permanent" or refused.kind
    result = failure.new("an output was refused: " .. refused.message, refused.code, final)
  end
  if result.kind == "cancelled" then
    if job.ticket:stopped() then
      return false
    end
    result = failure.transient(result.message, result.code) -- of something else that was stopped
  end
  job.ticket:fails(result.message)
  if result.kind ~= "permanent" and not ctx.final then
    return again(job, n, result)
  elseif run and run.added
    and (failure.in_doubt(result) or handler.unfinished(ctx.memory)) then
    park(job, result)
  else
    die(job, result)
  end
  return nil
end

-- One attempt of the handler; answers as judge does.
local function work(job)
  local flow, ctx = job.flow, job.ctx
  if job.event.type then
    job.ticket:handles(job.event.type)
  end
  local n = job.attempt + 1
  local held_ms = attempt.held(flow.plan, n, job.counted)
  if held_ms then
    return held_ms -- its retry budget is spent
  end
  job.counted = true
  job.attempt, job.ends, job.refused = n, nil, nil
  if flow.transactional then
    job.unsent = nil -- of an attempt that failed
  end
  ctx.attempt, ctx.final = n, n >= flow.plan.attempts
  ctx.final = ctx.final or hold_left_ms(job) == 0 and not durable.holds(job)
  ctx.deadline = flow.timeout and task.monotonic_ms() + flow.timeout or nil
  trace.begin(job)
  local ok, result = attempt.once(flow.timeout, handle, flow, job.event, ctx)
  local verdict = judge(job, ok, result)
  trace.ended(job, ok, result)
  return verdict
end

-- A dead letter was not written: how long to wait before the next try. After a long time it is
-- parked in a file, when the flow wants that, and the event is dead all the same.
local function letter_pause(job, why)
  local letter, park_ms = job.letter, job.flow.park_ms
  job.tries = job.tries + 1
  local pause_ms = LETTER.pause(math.min(job.tries, LONGEST_PAUSE))
  letters.fails(letter, why, pause_ms)
  if park_ms and letters.waited_ms(letter) >= park_ms then
    local path, message, code = deadletter.park(letter)
    if path then
      letters.ends(letter, true)
      job.phase, job.letter_at = "dead", nil
      return nil
    end
    letters.fails(letter, failure.of(message, code), pause_ms)
  end
  return pause_ms
end

-- One try of the dead letter, which leaves as the event's outputs do; answers as work does.
local function bury(job)
  local flow = job.flow
  if not flow.dead_letter then
    job.phase = "dead"
    return nil
  end
  local letter = job.letter
  if not letter then
    letter = {
      flow = flow.group,
      topic = flow.dead_letter,
      record = trace.leaving(job),
      event = job.event,
      failure = job.failure,
      attempts = job.attempt,
      first_failed_ms = job.first_failed_ms,
      failed_ms = sys.now_ms(),
      held_after = job.held_after,
    }
    job.letter, job.tries = letter, 0
    letters.begins(letter)
  end
  local number
  local ok, why = deadletter.try(letter, function(m)
    local sent, what, code = job.ticket:emit(
      m.topic, m.key, m.value, m.headers, m.partition, m.timestamp, job.letter_at
    )
    number = sent and what
    return sent, what, code
  end)
  if ok then
    job.phase, job.letter_at = "dead", number
    return nil
  elseif why.kind == "cancelled" and job.ticket:stopped() then
    letters.stops(letter)
    return false
  end
  return letter_pause(job, why)
end

-- An output was not written. Milliseconds before the next try, or nil when there is none and the
-- event dies. A local disk that is full, or in trouble, is not the event's fault: it waits.
local function output_pause(job, why)
  local plan = job.flow.plan
  job.output_tries = (job.output_tries or 0) + 1
  local waits = why.code:find "^OUTBOX_" and why.code ~= "OUTBOX_LOCKED"
  if not waits and (REFUSED_FOR_GOOD[why.code] or job.output_tries >= plan.attempts) then
    die(job, failure.new("an output was not written: " .. why.message, why.code, "permanent"))
    return nil
  end
  logger:warn("an output is emitted again: " .. why.message, {
    group = job.flow.group, type = job.event.type, code = why.code,
  })
  return jitter(plan.pause(math.min(job.output_tries, LONGEST_PAUSE)))
end

-- The event did not get into its retry topic; answers as work does.
local function move_failed(job, why)
  local changed = retry_topic.refused(job, why.code)
  job.phase, job.output_tries = "moving", (job.output_tries or 0) + 1
  if changed then
    return 1
  elseif changed == false or REFUSED_FOR_GOOD[why.code]
    or job.output_tries >= job.flow.plan.attempts then
    local was = job.moving
    local last = failure.new(("%s; and it cannot be retried later: %s"):format(
      was.message, why.message
    ), was.code, "permanent")
    last.traceback = was.traceback
    die(job, last)
    return nil
  end
  return jitter(LETTER.pause(job.output_tries))
end

-- Sends the event to its retry topic, as one of its outputs; answers as work does.
local function move(job)
  local ok, why = retry_topic.move(job, trace.leaving(job))
  if ok then
    retry_topic.count(job.flow.group)
    job.phase, job.ends = "moved", nil
    return nil
  elseif why.kind == "cancelled" and job.ticket:stopped() then
    return false
  end
  return move_failed(job, why)
end

-- Outputs that found no place while the handler ran. Answers as work does.
local function send_rest(job)
  local rest = job.unsent
  while rest[1] do
    local output = rest[1]
    local ok, message, code = job.ticket:emit(output[1], output[2], output[3], output[4])
    if not ok then
      local why = failure.of(message, code)
      if why.kind == "cancelled" and job.ticket:stopped() then
        return false
      end
      return output_pause(job, why)
    end
    table.remove(rest, 1)
    if job.flow.transactional then -- kept for the case that the transaction is aborted
      job.outputs = job.outputs or {}
      job.outputs[#job.outputs + 1] = output
    end
  end
  job.unsent = nil
  return nil
end

-- Whether the output of that number is among those that failed.
local function has_failed(trouble, number)
  return trouble.outputs >> math.min(number - 1, LAST_OUTPUT_BIT) & 1 == 1
end

-- Outputs of this event were not written: they are emitted again, and the handler is not run again.
-- Answers as judge does.
local function emit_again(job, trouble)
  if not output_pause(job, trouble) then
    return nil
  elseif trouble.unknown then -- what it was is not known any more: the handler says it again
    job.phase = "work"
    return judge(job, nil, failure.transient(trouble.message, trouble.code))
  end
  for i, lost in ipairs(trouble.lost) do
    local ok, message, code =
      job.ticket:emit(lost[2], lost[3], lost[4], lost[5], nil, nil, lost[1])
    if not ok then
      local why = failure.of(message, code)
      if why.kind == "cancelled" and job.ticket:stopped() then
        return false
      end
      local rest = job.unsent or {}
      for at = #trouble.lost, i, -1 do
        local output = trouble.lost[at]
        table.insert(rest, 1, { output[2], output[3], output[4], output[5] })
      end
      job.unsent = rest
      return output_pause(job, why)
    end
  end
  return nil
end

-- A transaction was aborted, and with it everything that this event had emitted: it is emitted
-- again. The reason may be a trouble of this event. Answers as work does.
local function recover_aborted(job, trouble)
  local rest = job.outputs or {}
  for _, output in ipairs(job.unsent or {}) do
    rest[#rest + 1] = output
  end
  job.outputs, job.letter_at = nil, nil
  job.unsent = rest[1] and rest or nil
  if job.phase == "dead" then
    job.phase = "dying"
    if trouble.kind == "output" and not deadletter.refused(job.letter, trouble.code) then
      return letter_pause(job, trouble)
    end
  elseif job.phase == "done" and trouble.kind == "crash" then
    die(job, failure.new(trouble.message, trouble.code, "bug"))
  elseif job.phase == "done" and trouble.kind == "output" then
    job.output_tries = (job.output_tries or 0) + 1
    if REFUSED_FOR_GOOD[trouble.code] or job.output_tries >= job.flow.plan.attempts then
      local text = "an output was not written: " .. trouble.message
      die(job, failure.new(text, trouble.code, "permanent"))
    end
  end
  return nil
end

-- Takes note of what went wrong since the last dispatch. Answers as work does.
local function recover(job, trouble)
  if job.flow.transactional and job.phase ~= "work" then
    return recover_aborted(job, trouble)
  end
  if job.phase == "dead" and job.letter_at and has_failed(trouble, job.letter_at) then
    job.phase = "dying"
    if not deadletter.refused(job.letter, trouble.code) then
      return letter_pause(job, trouble)
    end
    return nil
  elseif job.phase == "dead" or job.phase == "dying" then
    return nil -- what failed beside it is told with the event's own failure
  elseif job.phase == "moved" and has_failed(trouble, job.moved_at) then
    return move_failed(job, trouble)
  elseif trouble.kind == "crash" then
    local why = failure.new(trouble.message, trouble.code, "bug")
    trace.finish(job, why)
    if job.run and job.run.added then -- what it had done is not undone
      park(job, why)
    else
      die(job, why)
    end
    return nil
  end
  return emit_again(job, trouble)
end

-- The job of a record of the flow: what comes from a retry topic is what it was, and goes on where
-- it stood.
local function job_of(flow, record)
  local before
  if flow.retry_delays then
    record, before = retry_topic.original(record)
  end
  local job = M.job(record)
  if before then
    job.attempt, job.first_failed_ms = before.attempts, before.first_failed_ms
  end
  return job
end

-- What kept no job and has failed nevertheless: its handler has run once, and died or succeeded.
local function revive(flow, record, trouble)
  if trouble.was_read then
    local job = job_of(flow, record)
    job.attempt, job.counted = job.attempt + 1, true
    job.phase = trouble.kind == "output" and "done" or "work"
    return job
  end
  record = flow.retry_delays and retry_topic.original(record) or record
  return { -- it may die of reading the record: it is not read again
    record = record,
    event = partial(record),
    broken = failure.new(trouble.message, trouble.code, "bug"),
    phase = "work",
    attempt = 0,
  }
end

local function begin(flow, record, ticket, job, trouble)
  job = job or trouble and revive(flow, record, trouble) or job_of(flow, record)
  job.flow = flow -- to the end, whatever is loaded meanwhile
  job.started_at_ms = task.monotonic_ms()
  job.ctx = context.new(job, flow)
  job.ticket = ticket
  ticket:keep(job)
  task.set_event_id(job.event.id)
  trace.follow(job, trouble)
  if job.broken then
    die(job, job.broken)
  end
  return job
end

-- An event that is the journal's, and that nothing waits for any more, ends with the last of what
-- it says there: true when it has.
local function ends_there(job)
  local ends = job.phase == "done" and not job.ends and not job.from_journal
    and not job.flow.transactional and not job.ticket:has_emitted() and job.run:ends(journal.DONE)
  if ends then
    durable.release(job.run)
  end
  return ends
end

-- What is left to do for a job whose attempt has a verdict.
local function conclude(job)
  if job.phase == "done" and job.unsent then
    local wait = send_rest(job)
    if wait ~= nil then
      return wait
    end
  end
  if job.phase == "moving" then
    local wait = move(job)
    if wait ~= nil then
      return wait
    end
  end
  if job.phase == "dying" then
    local wait = bury(job)
    if wait ~= nil then
      return wait
    end
  end
  if job.phase == "left" then
    job.ticket:ends_as "left"
    return true, false, job.run ~= false
  end
  local dead, kept = job.phase == "dead", job.run and job.run.added
  return true, dead, kept and not ends_there(job) or job.ends ~= nil
    or dead and (job.letter ~= nil or job.flow.on_dead ~= nil)
end

-- An event of a key that is held back: it follows the one before it, and is not handled.
local function hold_back(flow, record, ticket, job, trouble)
  job = begin(flow, record, ticket, job)
  job.held_after = trouble.after
  if not job.broken then
    die(job, failure.new(trouble.message, trouble.code, "permanent"))
  end
  return conclude(job)
end

-- The job of an event of which only its outputs were kept.
local function job_of_outputs(record, outputs)
  local job = M.job(record)
  job.phase, job.attempt, job.counted, job.outputs = "done", 1, true, outputs
  return job
end

--- See runtime/bind/flow_ticket_lua.c for what the engine gives and wants.
function M.dispatch(flow, record, ticket, job, trouble)
  local wait
  if trouble and trouble.kind == "held" then
    return hold_back(flow, record, ticket, job, trouble)
  end
  if job and job[1] then
    job = job_of_outputs(record, job)
  end
  if not job or not job.flow then
    job = begin(flow, record, ticket, job, trouble)
    trouble = trouble and trouble.was_read and trouble
  else
    job.ticket = ticket
    task.set_event_id(job.event.id)
    trace.resume(job)
  end
  if trouble then
    wait = recover(job, trouble)
  elseif job.flow.lanes and job.flow.lanes.count > 0 and job.phase == "work" and not job.run then
    wait = durable.turn(job)
    job.phase = wait == true and "left" or job.phase
  end
  if wait == nil and job.phase == "work" then
    wait = work(job)
  end
  if wait == false and job.run and not job.from_journal then
    durable.release(job.run, true)
  end
  if wait ~= nil and wait ~= true then
    return wait
  end
  return conclude(job)
end

-- A transactional flow's first attempt has succeeded without a job: its outputs leave now. They are
-- kept, and nothing else, in case that the transaction is aborted.
local function send_kept(ticket, ctx)
  local outputs = context.unsent(ctx)
  if not outputs then
    return true
  end
  core.keep(ticket, outputs)
  for i, output in ipairs(outputs) do
    if not core.emit(ticket, output[1], output[2], output[3], output[4]) then
      local job = context.job(ctx) -- which is kept instead, and tries again
      job.phase = "done"
      job.outputs = table.move(outputs, 1, i - 1, 1, {})
      job.unsent = table.move(outputs, i, #outputs, 1, {})
      return conclude(job)
    end
  end
  return true
end

--- The function that the engine calls for the first attempt of each event of a flow without a time
--- limit. What ends well at once leaves nothing behind; the rest goes on as dispatch does.
function M.starter(flow)
  local plan, routes, is_plain, lanes = flow.plan, flow.routes, context.is_plain, flow.lanes
  local function ended(ticket, ctx, ok, first, second, third)
    local good, result = failure.sort_out(ok, first, second, third)
    if good and is_plain(ctx) then
      trace.end_first(ticket, context.event(ctx))
      return not flow.transactional or send_kept(ticket, ctx)
    end
    local job = context.job(ctx)
    local wait = judge(job, good, result)
    trace.ended(job, good, result)
    if wait ~= nil then
      return wait
    end
    return conclude(job)
  end
  local function full(ticket, event, ctx)
    if not event or lanes and lanes.count > 0 then -- a rare shape, broken, or it may have to wait
      local record, object = core.open(ticket)
      return M.dispatch(flow, record, object)
    end
    if plan.budget then
      attempt.held(plan, 1) -- never the first one
    end
    trace.begin_first(ticket, context.job, ctx)
    return ended(ticket, ctx, xpcall(handle, failure.caught, flow, event, ctx))
  end
  local handlers = {} -- without one, it is full that runs the event
  if not plan.budget and not flow.transactional then
    for type_name, route in pairs(routes) do
      handlers[type_name] = not route.definition and route.handler or nil
    end
  end
  return core.starter(handlers, full, ended, failure.caught, lanes)
end

local function call_back(job, what, f, ...)
  local ok, why = failure.catch(f, ...)
  if not ok and why.kind ~= "cancelled" then
    logger:warn(("%s failed: %s"):format(what, why.message), {
      group = job.flow.group, type = job.event.type, traceback = why.traceback,
    })
  end
end

--- Called in a task of its own after the terminal state; never holds an event up.
function M.finish(job)
  if job.letter then
    letters.ends(job.letter)
  end
  task.set_event_id(job.event.id)
  trace.resume(job)
  if job.run then
    if job.phase == "done" then
      job.unwritten = not job.run:finish(journal.DONE)
    elseif job.phase == "dead" then
      job.unwritten = not job.run:finish(journal.DEAD, job.failure.message)
    end
    if not job.from_journal then
      durable.release(job.run, job.unwritten) -- then the journal does not know of its end yet
    end
    if job.phase == "left" then
      return
    end
  end
  local outcome = {
    status = job.phase,
    event = job.event,
    result = job.result,
    failure = job.failure,
    run = job.run and job.run.id or nil,
    attempts = job.attempt,
    duration_ms = task.monotonic_ms() - job.started_at_ms,
  }
  if job.ends then
    for _, f in ipairs(job.ends) do
      call_back(job, "an on_end callback", f, outcome)
    end
  elseif job.flow.on_dead then
    call_back(job, "on_dead", job.flow.on_dead, job.event, job.failure, job.ctx)
  end
end

--- Called in a task of its own when an event with a job leaves without an end, as when its
--- partition has gone to another member between two attempts. The event counts as done once the
--- journal has it, so nobody gets it again: what is there of it goes on here.
function M.drop(job)
  if job.run and not job.from_journal then
    durable.release(job.run, true)
  end
end

-- --- runs of the journal ---

local function job_of_run(flow, record, run, memory)
  local job = M.job(record)
  job.flow, job.run, job.counted, job.from_journal = flow, run, true, true
  job.started_at_ms = task.monotonic_ms()
  job.ctx = context.new(job, flow)
  job.ctx.memory, job.ctx.run = memory, run
  job.ticket = resumed.ticket(flow)
  if memory.flow then
    job.attempt, job.first_failed_ms = memory.flow.attempt, memory.flow.first_failed_ms
  end
  tracing.set()
  trace.follow(job)
  if job.broken then
    die(job, job.broken)
  end
  return job
end

-- One dispatch of it.
local function go_on(job)
  local verdict, dead = M.dispatch(job.flow, nil, job.ticket, job)
  job.ticket:ended(verdict, dead, job.left)
  return verdict
end

--- Goes on with a run of the journal: "ended"; "later" and when, if it is tried again; "stopped".
function M.resume(flow, record, run, memory)
  local job = job_of_run(flow, record, run, memory)
  local verdict = go_on(job)
  while math.type(verdict) do
    if verdict > durable.in_memory_ms then
      local due = sys.now_ms() + verdict
      return run:leave(journal.HELD, "its next attempt waits", due) and "later" or "ended", due
    elseif not task.sleep(verdict .. "ms") then
      return "stopped"
    end
    verdict = go_on(job)
  end
  if verdict ~= true then
    return "stopped"
  end
  M.finish(job)
  return job.unwritten and "stopped" or "ended"
end

durable.runs_with(M.resume)

--- For a replay: the handler alone, without attempts and dead letters.
M.handle = handle

return M
