--- Waiting without memory: ctx:sleep and ctx:wait of an event that is kept in the journal.
--
-- What it waits for is a row; the handler ends here, as if it were stopped, and begins again when
-- it is time. What it had waited for before is then found in the journal: each wait counts once.
local failure = require "sipeat.failure"
local journal = require "sipeat.journal"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local place = require "sipeat.place"
local plain = require "sipeat.plain"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local IN_MEMORY_MS = 10000 -- a shorter sleep is just slept

local WAIT = opts.spec("sipeat.wait", {
  timeout = { "duration" },
})

-- The n-th call of a kind in this part of the handler: the same one in each attempt.
local function slot(ctx, kind)
  local counter = "(" .. kind .. ")"
  local n = (rawget(ctx, counter) or 0) + 1
  rawset(ctx, counter, n)
  local kept = ctx.memory[kind] or {}
  ctx.memory[kind] = kept
  return kept, tostring(n)
end

-- Raises what no handler is to handle: it ends here.
local function ends(why)
  error(failure.new(why.message, why.code, "cancelled"), 0)
end

local function suspend(run, state, due)
  local ok, why = run:leave(state, nil, due)
  if not ok then
    ends(why)
  end
  run.left = true
  ends { message = "the event left memory, and goes on later", code = "ECANCELED" }
end

local function keep(ctx, phase, kind, n, value)
  local ok, why = ctx.run:keep(phase, place.below(ctx.place, kind, n), value)
  if not ok then
    ends(why)
  end
end

--- ctx:sleep(duration): true, or nil, message, code when it was stopped.
function M.sleep(ctx, duration)
  local ms, wrong = opts.duration_ms(duration)
  if not ms then
    error("ctx:sleep: " .. wrong, 2)
  elseif ms < IN_MEMORY_MS or not ctx.run then
    return task.sleep(duration)
  end
  local kept, n = slot(ctx, "sleep")
  if not kept[n] then
    kept[n] = { due = sys.now_ms() + ms }
    keep(ctx, "sleep", "sleep", n, kept[n])
  end
  local left = kept[n].due - sys.now_ms()
  if left <= 0 then
    return true
  elseif left < IN_MEMORY_MS then
    return task.sleep(left .. "ms")
  end
  suspend(ctx.run, journal.SLEEPING, kept[n].due)
end

-- What the journal has for a wait: true and its body once it has come. What is taken stays this
-- wait's: a kill before that is written down changes nothing, and the same signal never comes
-- again.
local function look(ctx, w)
  local taker = ("%d/%s"):format(ctx.run.id, w.place)
  local _, found = journal.write(
    { "wait_add", w.name, w.key, ctx.run.id, w.place, n = 5 },
    { "signals_for", w.name, w.key, taker, n = 4 }
  )
  for _, signal in ipairs(found or {}) do
    if journal.write { "signal_take", w.name, w.key, signal[1], taker, n = 5 } == 1 then
      journal.write { "wait_drop", ctx.run.id, w.place, n = 3 }
      return true, signal[3] and json.decode(signal[3])
    end
  end
end

--- ctx:wait(name, key, { timeout = "1h" }): what sipeat.signal(name, key, body) said; or nil,
--- message, "TIMEOUT". Without a journal there is nothing that could wait.
function M.wait(ctx, name, key, options)
  if type(name) ~= "string" or type(key) ~= "string" then
    error("ctx:wait: a name and a key are needed, as in ctx:wait(\"paid\", order_id)", 2)
  end
  local timeout = WAIT(options or {}).timeout
  if not ctx.run then
    return nil, "ctx:wait needs a journal", "NO_JOURNAL"
  end
  local run = ctx.run
  local kept, n = slot(ctx, "wait")
  local w = kept[n]
  if not w then
    w = { name = name, key = key, due = timeout and sys.now_ms() + timeout or 0 }
    w.place = ("%s/wait/%s"):format(ctx.place or "", n)
    kept[n] = w
    keep(ctx, "wait", "wait", n, w)
  end
  if not w.is_over then
    local has_come, body = look(ctx, w)
    if has_come then
      w.is_over, w.body = true, plain.reduce(body)
    elseif w.due > 0 and w.due <= sys.now_ms() then
      w.is_over, w.timed_out = true, true
      journal.write { "wait_drop", run.id, w.place, n = 3 }
    else
      suspend(run, journal.WAITING, w.due)
    end
    keep(ctx, "signal", "wait", n, w)
  end
  if w.timed_out then
    return nil, ("nothing said %s %s in time"):format(name, key), "TIMEOUT"
  end
  return plain.unpack(w.body)
end

--- Says something to whoever waits for that name and key, or will within the time that signals
--- are kept. true and whether it was new; or nil, message, code. With the same `options.id` it
--- counts once.
function M.signal(name, key, body, options)
  local id = options and options.id or sys.uuid()
  local text = body ~= nil and assert(json.encode(body)) or nil
  local added, waits = journal.write(
    { "signal_add", name, key, id, sys.now_ms(), text, n = 6 }, { "waits_for", name, key, n = 3 }
  )
  if not added then
    return nil, tostring(waits), "JOURNAL_FAILED"
  end
  for _, row in ipairs(waits) do
    require "sipeat.durable".resume(row[1])
  end
  return true, added == 1
end

return M
