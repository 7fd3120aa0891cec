--- sipeat.flow_run step by step, with a ticket of the test's own: what the engine is answered.
local attempt = require "sipeat.attempt"
local deadletter = require "sipeat.deadletter"
local failure = require "sipeat.failure"
local guard = require "sipeat.guard"
local log = require "sipeat.log"
local run = require "sipeat.flow_run"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local Ticket = {}
Ticket.__index = Ticket

function Ticket:emit(...)
  self.sent[#self.sent + 1] = table.pack(...)
  if self.refuse then
    return nil, "refused", self.refuse
  end
  return true, select(7, ...) or #self.sent
end

function Ticket:keep(job)
  self.kept = job
end

function Ticket:stopped()
  return self.killed
end

function Ticket:handles(type_name)
  self.type = type_name
end

function Ticket:ends_as(outcome)
  self.outcome = outcome
end

function Ticket:fails(message)
  self.failure = message
end

function Ticket:followers()
  return self.waiting
end

local function ticket(fields)
  local made = setmetatable(fields or {}, Ticket)
  made.sent = {}
  return made
end

local function flow(handler, fields)
  local made = {
    group = "g", routes = { ["*"] = { handler = handler } }, dead_letter = false,
    plan = attempt.plan({ attempts = 3, backoff = { "100ms", "1s" } }, "test"),
    hold = { time = 300000, followers = 1000 },
    logger = log.new "g",
  }
  for name, value in pairs(fields or {}) do
    made[name] = value
  end
  return made
end

local RECORD = {
  topic = "t", partition = 1, offset = 7, value = '{"n":1}', headers = { { "event-type", "x" } },
}

t.test("a success is terminal, and its end is told when somebody asked", function()
  local k = ticket()
  t.eq({ run.dispatch(flow(function() end), RECORD, k) }, { true, false, false })
  local got
  local f = flow(function(_, ctx)
    ctx:on_end(function(outcome)
      got = outcome
      error "is logged only"
    end)
    return "fine"
  end)
  t.eq({ run.dispatch(f, RECORD, k) }, { true, false, true })
  run.finish(k.kept)
  t.eq({ got.status, got.result, got.attempts, got.event.id }, { "done", "fine", 1, "t:1:7" })
end)

t.test("an attempt that failed waits with jitter, and goes on with the same job", function()
  local pauses, calls = {}, 0
  local f = flow(function()
    calls = calls + 1
    error "no"
  end)
  for _ = 1, 200 do
    local k = ticket()
    local first = run.dispatch(f, RECORD, k)
    local second = run.dispatch(f, nil, ticket(), k.kept)
    t.ok(first >= 1 and first <= 100 and second >= 1 and second <= 200)
    pauses[first] = true
    t.eq({ run.dispatch(f, nil, ticket(), k.kept) }, { true, true, false })
    t.eq(k.kept.failure.kind, "bug")
  end
  t.eq(calls, 600)
  local different = 0
  for _ in pairs(pauses) do
    different = different + 1
  end
  t.ok(different > 20, "pauses hardly differ: " .. different)
end)

t.test("a key is held for its time, or before so many others, and no longer", function()
  local finals = {}
  local f = flow(function(_, ctx)
    finals[#finals + 1] = ctx.final
    return nil, "no"
  end, {
    plan = attempt.plan({ attempts = 1000, backoff = { "1h", "1h" } }, "test"),
    hold = { time = 1000, followers = 5 },
  })
  local few, many, none = ticket { waiting = 5 }, ticket { waiting = 6 }, ticket()
  t.ok(run.dispatch(f, RECORD, few) <= 1000) -- not longer than the hold
  t.ok(run.dispatch(f, nil, few, few.kept) <= 1000)
  few.kept.held_since = few.kept.held_since - 1000
  t.eq({ run.dispatch(f, nil, few, few.kept) }, { true, true, false })
  t.ok(run.dispatch(f, RECORD, many) >= 1) -- its first attempt held nobody up
  t.eq({ run.dispatch(f, nil, many, many.kept) }, { true, true, false })
  t.ok(run.dispatch(f, RECORD, none) >= 1)
  none.kept.held_since = none.kept.held_since - 1000
  t.ok(run.dispatch(f, nil, none, none.kept) >= 1) -- without a key nobody waits
  t.eq(finals, { false, false, true, false, true, false, false })
end)

t.test("an event whose key is held back is not handled", function()
  local calls = 0
  local f = flow(function()
    calls = calls + 1
  end)
  local k = ticket()
  local trouble = {
    kind = "held", code = "HELD_BACK", message = "held back after offset 3 of its key",
    after = 3, outputs = 0, was_read = false, lost = {},
  }
  t.eq({ run.dispatch(f, RECORD, k, nil, trouble) }, { true, true, false })
  t.eq({ calls, k.kept.held_after }, { 0, 3 })
  t.eq({ k.kept.failure.code, k.kept.failure.kind }, { "HELD_BACK", "permanent" })
  t.eq({ run.dispatch(f, RECORD, ticket(), run.job(RECORD), trouble) }, { true, true, false })
  t.eq(calls, 0)
end)

t.test("a job ends on the flow that it began with", function()
  local k, seen = ticket(), {}
  local function named(name)
    return flow(function(_, ctx)
      seen[#seen + 1] = name
      return ctx.attempt == 2 or nil, "again"
    end)
  end
  t.ok(run.dispatch(named "old", RECORD, k) >= 1)
  t.eq(run.dispatch(named "new", nil, ticket(), k.kept), true)
  t.eq(seen, { "old", "old" })
  t.eq(run.dispatch(named "newest", nil, ticket(), run.job(RECORD)) >= 1, true)
  t.eq(seen[3], "newest") -- read for its key only, it had not begun
end)

t.test("a task that was stopped gives no verdict", function()
  local f = flow(function()
    return nil, "stopped", "ECANCELED"
  end)
  local k = ticket { killed = true }
  t.eq({ run.dispatch(f, RECORD, k) }, { false })
  t.ok(run.dispatch(f, RECORD, ticket()) >= 1) -- something else was stopped
end)

local function emitting(count)
  return flow(function(_, ctx)
    for n = 1, count do
      t.ok(ctx:emit("out", nil, tostring(n)))
    end
  end)
end

local function sent(k)
  local out = {}
  for i, call in ipairs(k.sent) do
    out[i] = { call[3], call[7] }
  end
  return out
end

t.test("an output that finds no place is emitted later, in order, without the handler", function()
  local k = ticket { refuse = "ENOMEM" }
  local calls = 0
  local f = flow(function(_, ctx)
    calls = calls + 1
    t.eq(ctx:emit("out", nil, "1"), true)
    t.eq(ctx:emit("out", nil, "2"), true)
  end)
  local pause = run.dispatch(f, RECORD, k)
  t.eq(math.type(pause), "integer")
  local later = ticket()
  t.eq(run.dispatch(f, nil, later, k.kept), true)
  t.eq({ calls, #later.sent, later.sent[1][3], later.sent[2][3] }, { 1, 2, "1", "2" })
end)

t.test("an output that never finds a place makes a dead letter", function()
  local k = ticket { refuse = "ENOMEM" }
  local f = flow(function(_, ctx) ctx:emit("out", nil, "x") end)
  run.dispatch(f, RECORD, k)
  t.eq(math.type(run.dispatch(f, nil, ticket { refuse = "ENOMEM" }, k.kept)), "integer")
  t.eq({ run.dispatch(f, nil, ticket { refuse = "ENOMEM" }, k.kept) }, { true, true, false })
  t.eq(k.kept.failure.code, "ENOMEM")
end)

t.test("an event is not done when an output was refused for good, looked at or not", function()
  local k = ticket { refuse = "MSG_SIZE_TOO_LARGE" }
  local f = flow(function(_, ctx) ctx:emit("out", nil, "x") end)
  t.eq({ run.dispatch(f, RECORD, k) }, { true, true, false })
  t.eq({ k.kept.failure.code, k.kept.failure.kind }, { "MSG_SIZE_TOO_LARGE", "permanent" })
end)

t.test("outputs that were not written are emitted again, without the handler", function()
  local k, again = ticket(), ticket()
  t.eq(run.dispatch(emitting(3), RECORD, k), true)
  local trouble = {
    kind = "output", code = "_TIMED_OUT", message = "m", outputs = 5,
    lost = { { 1, "out", nil, "1" }, { 3, "out", "k", "3", { { "a", "b" } } } },
  }
  t.eq(run.dispatch(nil, nil, again, k.kept, trouble), true)
  t.eq(sent(again), { { "1", 1 }, { "3", 3 } })
  t.eq({ table.unpack(again.sent[2], 1, 4) }, { "out", "k", "3", { { "a", "b" } } })
  again = ticket()
  trouble.outputs, trouble.lost = 4, { trouble.lost[2] }
  t.eq({ run.dispatch(nil, nil, again, k.kept, trouble) }, { true, false, false })
  t.eq({ run.dispatch(nil, nil, again, k.kept, trouble) }, { true, true, false })
  t.eq(k.kept.failure.message, "an output was not written: m")
  t.eq(k.kept.failure.kind, "permanent")
end)

t.test("an output that is not known any more is emitted by the handler once more", function()
  local k, again = ticket(), ticket()
  t.eq(run.dispatch(emitting(2), RECORD, k), true)
  local trouble = {
    kind = "output", code = "_TIMED_OUT", message = "m", outputs = 3,
    lost = { { 1, "out", nil, "1" } }, unknown = true,
  }
  t.ok(run.dispatch(nil, nil, ticket(), k.kept, trouble) >= 1)
  t.eq(run.dispatch(nil, nil, again, k.kept), true)
  t.eq({ #again.sent, k.kept.attempt }, { 2, 2 })
end)

t.test("an output waits for the local disk, however long that is full", function()
  local k = ticket { refuse = "OUTBOX_FULL" }
  t.ok(run.dispatch(emitting(2), RECORD, k) >= 1)
  for _ = 1, 30 do
    t.eq(math.type(run.dispatch(nil, nil, k, k.kept)), "integer")
  end
  local room = ticket()
  t.eq({ run.dispatch(nil, nil, room, k.kept) }, { true, false, false })
  t.eq(#room.sent, 2)
  local trouble = {
    kind = "output", code = "OUTBOX_DISK_FULL", message = "m", outputs = 3,
    lost = { { 1, "out", nil, "1" }, { 2, "out", nil, "2" } },
  }
  local full = ticket { refuse = "OUTBOX_DISK_FULL" }
  t.eq(math.type(run.dispatch(nil, nil, full, k.kept, trouble)), "integer")
  room = ticket()
  t.eq({ run.dispatch(nil, nil, room, k.kept) }, { true, false, false })
  t.eq({ room.sent[1][3], room.sent[2][3] }, { "1", "2" })
end)

t.test("an event that kept nothing goes on with the outputs that were lost", function()
  local k, told = ticket(), nil
  local f = flow(error, {
    on_dead = function(_, why)
      told = why.code
    end,
  })
  local trouble = {
    kind = "output", code = "_TIMED_OUT", message = "m", outputs = 1, was_read = true,
    lost = { { 1, "out", nil, "1" } },
  }
  t.eq({ run.dispatch(f, RECORD, k, nil, trouble) }, { true, false, false })
  t.eq(sent(k), { { "1", 1 } })
  t.eq({ k.kept.attempt, k.kept.phase, k.kept.event.id }, { 1, "done", "t:1:7" })
  trouble = { kind = "crash", code = "CRASH", message = "m", outputs = 0, was_read = true }
  t.eq({ run.dispatch(f, RECORD, k, nil, trouble) }, { true, true, true })
  run.finish(k.kept)
  t.eq({ told, k.kept.attempt, k.kept.event.broken == nil }, { "CRASH", 1, true })
end)

t.test("an output that will be refused again makes a dead letter at once", function()
  local k, again = ticket(), ticket()
  t.eq(run.dispatch(emitting(1), RECORD, k), true)
  local trouble = { kind = "output", code = "MSG_SIZE_TOO_LARGE", message = "m", outputs = 1 }
  t.eq({ run.dispatch(nil, nil, again, k.kept, trouble) }, { true, true, false })
  t.eq(again.sent, {})
  trouble.outputs = 1 -- of a letter that is there already
  t.eq({ run.dispatch(nil, nil, again, k.kept, trouble) }, { true, true, false })
  t.eq(k.kept.phase, "dead")
end)

t.test("a crash makes a dead letter, even one before the record was read", function()
  local trouble = { kind = "crash", code = "CRASH", message = "over its time", outputs = 0 }
  local told
  local f = flow(error, {
    on_dead = function(event, why, ctx)
      told = { event.id, event.broken, why.code, why.kind, ctx.id }
    end,
  })
  local k = ticket()
  t.eq({ run.dispatch(f, RECORD, k, nil, trouble) }, { true, true, true })
  run.finish(k.kept)
  t.eq(told, { "t:1:7", true, "CRASH", "bug", "t:1:7" })
  k = ticket()
  t.ok(run.dispatch(f, RECORD, k) >= 1)
  t.eq({ run.dispatch(nil, nil, ticket(), k.kept, trouble) }, { true, true, true })
  t.eq(k.kept.attempt, 1)
end)

-- Runs f while dead letters need no broker: each is delivered as it is.
local function with_letters(f)
  local try, refused = deadletter.try, deadletter.refused
  deadletter.try = function(letter, deliver)
    local ok, message, code = deliver {
      topic = letter.record.topic .. "-dlt", key = "k", value = letter.smaller or "v",
      headers = {}, partition = 1, timestamp = 9,
    }
    return ok, not ok and failure.of(message, code) or nil
  end
  deadletter.refused = function(letter, code)
    letter.smaller = code == "MSG_SIZE_TOO_LARGE" and not letter.smaller and "s" or letter.smaller
    return code == "MSG_SIZE_TOO_LARGE"
  end
  local ok, why = pcall(f)
  deadletter.try, deadletter.refused = try, refused
  if not ok then
    error(why, 0)
  end
end

t.test("a dead letter leaves through the ticket, and once more when it was not written", function()
  with_letters(function()
    local k, again = ticket(), ticket()
    local f = flow(function(_, ctx)
      ctx:emit("out", nil, "x")
      return nil, failure.permanent "no"
    end, { dead_letter = true })
    t.eq({ run.dispatch(f, RECORD, k) }, { true, true, true })
    t.eq({ table.unpack(k.sent[2], 1, 7) }, { "t-dlt", "k", "v", {}, 1, 9 })
    local trouble = { kind = "output", code = "MSG_SIZE_TOO_LARGE", message = "m", outputs = 2 }
    t.eq({ run.dispatch(nil, nil, again, k.kept, trouble) }, { true, true, true })
    t.eq({ again.sent[1][3], again.sent[1][7] }, { "s", 2 })
    trouble.code = "_TIMED_OUT" -- nothing can be changed: the next try is later
    t.eq(math.type(run.dispatch(nil, nil, ticket(), k.kept, trouble)), "integer")
    t.eq({ run.dispatch(nil, nil, again, k.kept) }, { true, true, true })
    t.eq(again.sent[2][7], 2)
    trouble.outputs = 1 -- an output of the attempt that failed: the letter is there
    t.eq({ run.dispatch(nil, nil, again, k.kept, trouble) }, { true, true, true })
    t.eq(#again.sent, 2)
  end)
end)

t.test("a letter that waits is counted, and parked after the time of its flow", function()
  with_letters(function()
    local parked, calls, message = deadletter.park, {}, "disk full"
    deadletter.park = function(letter)
      calls[#calls + 1] = letter
      if message then
        return nil, message, "ENOSPC"
      end
      return "somewhere"
    end
    collectgarbage() -- letters of tests before that nobody holds any more
    local before = deadletter.status()
    local k = ticket { refuse = "_TRANSPORT" }
    local f = flow(function() return nil, failure.permanent "no" end, {
      dead_letter = true, park_ms = 20,
    })
    t.eq(math.type(run.dispatch(f, RECORD, k)), "integer")
    local status = deadletter.status()
    t.eq({ status.waiting - before.waiting, status.failures - before.failures }, { 1, 1 })
    t.eq(status.message, "refused")
    t.eq(#calls, 0)
    task.sleep "25ms"
    t.eq(math.type(run.dispatch(f, nil, ticket { refuse = "_TRANSPORT" }, k.kept)), "integer")
    message = nil
    t.eq({ run.dispatch(f, nil, ticket { refuse = "_TRANSPORT" }, k.kept) }, { true, true, true })
    t.eq({ #calls, rawequal(calls[2], k.kept.letter) }, { 2, true })
    run.finish(k.kept)
    status = deadletter.status()
    t.eq({ status.waiting - before.waiting, status.parked - before.parked,
      status.written - before.written }, { 0, 1, 0 })
    deadletter.park = parked
  end)
end)

t.test("callbacks of an earlier attempt are forgotten", function()
  local calls = {}
  local f = flow(function(_, ctx)
    local n = ctx.attempt
    ctx:on_end(function()
      calls[#calls + 1] = n
    end)
    return n == 2 or nil, failure.transient "again"
  end)
  local k = ticket()
  t.ok(run.dispatch(f, RECORD, k) >= 1)
  t.eq({ run.dispatch(f, nil, ticket(), k.kept) }, { true, false, true })
  run.finish(k.kept)
  t.eq(calls, { 2 })
end)

t.test("an attempt that a breaker refused is not counted, and waits until it may pass", function()
  local at, calls = task.monotonic_ms() + 60000, 0
  local f = flow(function(_, ctx)
    calls = calls + 1
    if ctx.final then
      return nil, guard.refusal("still open", "BREAKER_OPEN", at)
    elseif calls % 2 == 0 then
      return nil, "a real one"
    end
    return nil, guard.refusal("open", "BREAKER_OPEN", at)
  end)
  local k = ticket()
  local pause = run.dispatch(f, RECORD, k)
  t.ok(pause > 59000 and pause <= 60200, pause)
  t.eq(k.kept.attempt, 0)
  t.ok(run.dispatch(f, nil, ticket(), k.kept) <= 100)
  t.eq(k.kept.attempt, 1)
  t.ok(run.dispatch(f, nil, ticket(), k.kept) > 59000)
  t.ok(run.dispatch(f, nil, ticket(), k.kept) <= 200)
  t.eq({ run.dispatch(f, nil, ticket(), k.kept) }, { true, true, false }) -- the last one counts
  t.eq({ k.kept.failure.code, k.kept.attempt, calls }, { "BREAKER_OPEN", 3, 5 })
end)

t.test("a retry that its budget does not pay for is held without being begun", function()
  local calls = 0
  local f = flow(function()
    calls = calls + 1
    return nil, "down"
  end, {
    plan = attempt.plan({
      attempts = 2, backoff = { "1ms" },
      budget = { name = "flow", share = 0, min_per_second = 0.1 },
    }, "test"),
  })
  local first, second = ticket(), ticket()
  run.dispatch(f, RECORD, first)
  run.dispatch(f, RECORD, second)
  t.eq({ run.dispatch(f, nil, ticket(), first.kept) }, { true, true, false }) -- one in ten seconds
  for _ = 1, 5 do
    t.ok(run.dispatch(f, nil, ticket(), second.kept) >= 100)
  end
  t.eq({ calls, second.kept.attempt, second.kept.phase }, { 3, 1, "work" })
end)

-- A run of the journal whose state is written, or not.
local function kept(answers)
  local k = { id = 1, added = true, states = {} }
  function k:leave(state)
    self.states[#self.states + 1] = state
    if table.remove(answers, 1) then
      return true
    end
    return nil, failure.transient("the journal's disk does not keep up", "QUEUE_FULL")
  end
  k.finish = k.leave
  return k
end

t.test("a run whose end the journal did not take is gone on with", function()
  local journal = require "sipeat.journal"
  local ends = {
    [journal.DONE] = function() return true end,
    [journal.DEAD] = function() return nil, failure.permanent "no" end,
    [journal.PARKED] = function() return nil, failure.permanent("who knows", "UNKNOWN_OUTCOME") end,
  }
  for state, handler in pairs(ends) do
    local k = kept { false, true }
    t.eq(run.resume(flow(handler), RECORD, k, {}), "stopped")
    t.eq(run.resume(flow(handler), RECORD, k, {}), "ended")
    t.eq(k.states, { state, state })
  end
end)

t.test("attempts of a run of the journal are measured as others are", function()
  local core, tries = require "sipeat.core.metrics", 0
  local function counted(outcome)
    return tonumber(core.text("openmetrics"):match(
      'process_duration_seconds_count{messaging_consumer_group_name="g",'
        .. 'cloudevents_event_type="x",outcome="' .. outcome .. '"} (%d+)') or 0)
  end
  local before = { counted "retried", counted "ok", counted "dead" }
  local function handler()
    tries = tries + 1
    if tries < 3 then
      error "again"
    end
    return true
  end
  local plan = attempt.plan({ attempts = 3, backoff = { "1ms", "1ms" } }, "test")
  local k = kept { true, true }
  function k.keep() end
  t.eq(run.resume(flow(handler, { plan = plan }), RECORD, k, {}), "ended")
  t.eq(run.resume(flow(function() return nil, failure.permanent "no" end), RECORD, k, {}), "ended")
  t.eq({ counted "retried", counted "ok", counted "dead" },
    { before[1] + 2, before[2] + 1, before[3] + 1 })
end)
