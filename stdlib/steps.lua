--- Steps: the engine of chains and commands. One list of steps runs in order for one event; when a
--- required one fails for good, what was done before it is undone in reverse.
--
-- The state of a run (which step stands where, arguments, results) is plain data in ctx.memory and
-- lives across the attempts of an event: an attempt goes on where the last one stopped. With a
-- journal it lives across restarts too: an intent is durable before the effect. An effect
-- of kind at_most_once is commanded again only once it is proven not to have happened; what stays
-- unknown is parked: nothing is undone, and the failure says UNKNOWN_OUTCOME.
local attempt = require "sipeat.attempt"
local context = require "sipeat.context"
local core = require "sipeat.core.steps"
local core_json = require "sipeat.core.json"
local failure = require "sipeat.failure"
local local_effects = require "sipeat.local_effects"
local opts = require "sipeat.opts"
local place = require "sipeat.place"
local plain = require "sipeat.plain"
local step_undo = require "sipeat.step_undo"
local sys = require "sipeat.core.sys"
local tracing = require "sipeat.tracing"

local M = {}

local Handled = { __name = "sipeat.handled" }

--- Returned by a step's run: the chain ends here, well, with that result.
function M.handled(result)
  return setmetatable({ result = result }, Handled)
end

-- The ctx of one step.
local function step_ctx(run, step, record)
  local transact
  if step.effect == "local" then
    transact = local_effects.method(run, step, record, "outcome", "done")
  end
  return context.step(run.ctx, step.part, record.key, run.results, transact)
end

-- What the script says about a step before it runs: its key (nil: the scope) and its arguments.
local function prepare(run, step, record)
  local ctx = step_ctx(run, step, record)
  local key = step.key and step.key(run.event, ctx)
  if step.key and (type(key) ~= "string" or key == "") then
    error(("key gives a text that is not empty, got %s"):format(opts.show(key)), 0)
  end
  ctx.key = key or ctx.key
  local args, message, code
  if step.args then
    args, message, code = step.args(run.event, ctx)
  else
    args = run.event.data
  end
  if args == nil and message ~= nil then
    return nil, message, code
  end
  return ctx.key, args
end

-- The text of the event's data, which is not written anew while nobody has looked into it.
local function data_text(run)
  local data = run.event.data
  if run.data == data and core_json.untouched(data) then
    return run.data_text
  end
  local text, why = plain.pack(data)
  run.data, run.data_text = data, text
  return text, why
end

-- Says how a step stands now: durable before what follows, or with `later` together with it.
local function keep(run, phase, step, record, later)
  local where = run.places[step.name]
  return context.keep(run.ctx, phase, where, record, later, run.text, run.quoted)
end

-- Says how the run as a whole stands.
local function keep_state(run, key)
  local where = place.below(run.ctx.place, "state", key)
  return context.keep(run.ctx, "state", where, run.state[key], true)
end

-- Key and arguments are computed once; later attempts and the undo get the same. Their text is in
-- all records of the step, so its JSON is kept.
local function intend(run, step, record)
  local key, text, why
  if step.key or step.args then
    local ok, args
    ok, key, args = failure.catch(prepare, run, step, record)
    if not ok then
      return nil, key
    end
    text, why = plain.pack(args)
  else
    key = record.key or run.ctx.scope .. ":" .. step.name
    text, why = data_text(run)
  end
  if not text then
    return nil, failure.new(("args is no plain data: %s"):format(why), "SCRIPT_ERROR", "bug")
  elseif text ~= run.text then
    run.text, run.quoted = text, core_json.encode(text)
  end
  record.key, record.args = key, run.text
  return true
end

local function succeed(run, step, record, value)
  if getmetatable(value) == Handled then
    run.state.handled, value = step.name, value.result
  end
  local text, dropped = plain.reduce(value)
  if dropped then
    local what = "%s: step %s: left out of its result, which is kept as plain data: %s"
    run.ctx.log:warn(what:format(run.chain.title, step.name, table.concat(dropped, ", ")))
  end
  record.status, record.result, record.doubt = "done", text, nil
  run.results[step.name] = plain.unpack(text)
  if run.state.handled then
    keep_state(run, "handled")
  end
  keep(run, "outcome", step, record, true)
  return "done"
end

-- Asks the world whether an effect happened: "done", "not_done", "unknown", or "unsettled" when
-- asking itself failed. The second value is the failure to report.
local function reconcile(run, step, record, why)
  if not step.reconcile then
    return "unknown", why
  end
  local ctx = step_ctx(run, step, record)
  local args = plain.unpack(record.args)
  local ask = context.effect(run.ctx, "reconcile", step.name, step.reconcile)
  local ok, verdict, result = attempt.once(step.timeout, ask, args, ctx)
  if not ok and verdict.kind == "cancelled" then
    return "cancelled", verdict
  elseif not ok then
    local text = "%s; asking whether it happened failed: %s"
    return "unsettled", failure.transient(text:format(why.message, verdict.message), why.code)
  elseif verdict == "done" then
    return succeed(run, step, record, result)
  elseif verdict == "not_done" then
    record.status, record.doubt, record.begun_at = nil, nil, nil
    keep(run, "outcome", step, record, true)
    return "not_done", why
  elseif verdict ~= "unknown" then
    local text = "%s; reconcile answered %s instead of \"done\", \"not_done\" or \"unknown\""
    return "unknown", failure.new(text:format(why.message, tostring(verdict)), why.code, why.kind)
  end
  return "unknown", why
end

-- What one failed run of a step comes to.
local function judge(run, step, record, why)
  if why.kind == "cancelled" then
    return "cancelled", why
  elseif failure.proves_absence(why) then
    record.status = nil
    if why.kind == "permanent" then
      record.doubt = nil -- with the same key, a refusal answers for the earlier attempts too
    end
    record.begun_at = record.doubt and record.begun_at
    keep(run, "outcome", step, record, true)
    return "failed", why
  elseif step.effect == "at_most_once" then
    local verdict, reason = reconcile(run, step, record, why)
    return verdict == "not_done" and "failed" or verdict, reason
  end
  record.status = nil
  record.doubt = step.effect == "idempotent" or nil
  keep(run, "outcome", step, record, true)
  return "failed", why
end

local INTERRUPTED = "the attempt before this one was interrupted"
local EXPIRED = "its idempotency key is too old, and an earlier attempt may have succeeded"

-- Why the step may not simply run (again), nil when it may.
local function doubt_of(step, record)
  if step.effect == "at_most_once" then
    return record.status == "intent" and failure.transient(INTERRUPTED) or nil
  end
  if record.doubt and step.lifetime
    and sys.now_ms() - (record.begun_at or math.huge) >= step.lifetime then
    return failure.transient(EXPIRED)
  end
end

-- Before the effect: whoever finds it later knows that it may be there.
local function announce(run, step, record)
  local status, begun_at = record.status, record.begun_at
  record.status, record.begun_at = "intent", begun_at or step.lifetime and sys.now_ms()
  local ok, why = keep(run, "intent", step, record)
  if not ok then
    record.status, record.begun_at = status, begun_at
  end
  return ok, why
end

-- Runs a step once: "done", or "failed" or "cancelled" and the failure.
local function perform(run, step, record)
  local ctx = step_ctx(run, step, record)
  local args = plain.unpack(record.args)
  local ok, why = announce(run, step, record)
  if not ok then
    return "cancelled", why
  end
  local f = run.world and context.effect(run.ctx, "run", step.name, step.run) or step.run
  local done, result = attempt.once(step.timeout, f, args, ctx)
  local settled, stopped = local_effects.settled(record, "done")
  if settled then
    run.results[step.name] = plain.unpack(record.result)
    return "done"
  elseif stopped then
    return "cancelled", stopped
  elseif done then
    return succeed(run, step, record, result)
  end
  return "failed", result
end

-- The first attempt of the steps from one on, of a run with a journal, as far as they are plain.
local walk = core.walker {
  intend = intend, catch = failure.catch, succeed = succeed, handled = Handled,
  parent = context.PARENT,
}

-- Where a step stands.
local function record_of(run, step)
  local records = run.state.steps
  local record = records[step.name]
    or { key = nil, args = nil, status = nil, result = nil } -- room for what it will have
  records[step.name] = record
  return record
end

-- A step that has no key or arguments: how its attempt has ended.
local function unfit(why)
  return why.kind == "cancelled" and "cancelled" or "failed", why
end

-- Runs a step until it is done, has failed for this attempt of the event, or is in doubt.
-- `verdict`: how its first try has ended, if it had one.
local function advance(run, at, verdict, reason)
  local step, next_at = run.chain.steps[at], at
  if run.is_plain and not verdict then
    next_at, verdict, reason = walk(run, run.chain.steps, at, true)
  end
  local record = record_of(run, step)
  if next_at > at then
    return "done"
  elseif verdict == "unfit" then
    return unfit(reason)
  elseif not verdict then
    if not record.args then
      local ok, why = intend(run, step, record)
      if not ok then
        return unfit(why)
      end
    end
    if record.status == "intent" and step.effect == "idempotent" then
      record.doubt = true
    end
    attempt.held(step.plan, 1)
  end
  for n = 1, step.plan.attempts do
    local doubt = not verdict and (record.status or record.doubt) and doubt_of(step, record)
    if doubt then
      verdict, reason = reconcile(run, step, record, doubt)
      if verdict ~= "not_done" then
        return verdict, reason
      end
      verdict = nil
    end
    if not verdict then
      verdict, reason = perform(run, step, record)
    end
    if verdict == "done" then
      return verdict
    elseif verdict == "failed" then
      verdict, reason = judge(run, step, record, reason)
    end
    if verdict ~= "failed" or not attempt.goes_on(step.plan, n, reason) then
      return verdict, reason
    end
    local ok, why = attempt.pause(step.plan, n, reason)
    if not ok then
      return "cancelled", why
    end
    verdict = nil
  end
end

-- The same with a span around it, if the event is recorded.
local function traced(run, at)
  local span = require("sipeat.trace_spans").step("step", run, run.chain.steps[at])
  local verdict, why = advance(run, at)
  if span then
    span:set("sipeat.step.outcome", verdict)
    span:ended(verdict == "done", why, why and why.code)
  end
  return verdict, why
end

local function names_of(run, status)
  local list = {}
  for _, step in ipairs(run.chain.steps) do
    local record = run.state.steps[step.name]
    if record and record.status == status then
      list[#list + 1] = step.name
    end
  end
  return list
end

local function listed(names)
  return #names == 0 and "nothing" or table.concat(names, ", ")
end

-- Ends the run without undoing: somebody has to look. Kept, so that a retry answers the same.
local function park(run, step, why)
  local done = names_of(run, "done")
  local text = "%s: step %s: outcome unknown (%s); parked: nothing was undone (done: %s)"
  local parked = failure.permanent(
    text:format(run.chain.title, step.name, why.message, listed(done)), "UNKNOWN_OUTCOME"
  )
  parked.chain, parked.step, parked.cause = run.chain.name, step.name, why
  parked.done, parked.undone, parked.unknown = done, {}, { step.name }
  run.state.failure = parked
  keep_state(run, "failure")
  return nil, parked
end

-- An idempotent step failed for good, but an earlier attempt of it may have taken effect.
-- Answers "done", "parked" with its failure, or "undo".
local function settle(run, step, record, why)
  if not record.doubt or not step.reconcile then
    return "undo" -- its undo, if it has one, is called without a result
  end
  local verdict, reason = reconcile(run, step, record, why)
  if verdict == "done" or verdict == "cancelled" then
    return verdict, reason
  elseif verdict == "not_done" then
    return "undo"
  end
  return "parked", reason
end

-- A required step failed and nobody will try again.
local function give_up(run, step, record, why)
  local verdict, reason = settle(run, step, record, why)
  if verdict == "done" then
    return true
  elseif verdict == "cancelled" then
    return nil, reason
  elseif verdict == "parked" then
    return park(run, step, reason)
  end
  run.state.undoing = { step = step.name, cause = why }
  keep_state(run, "undoing")
  return step_undo.all(run, keep)
end

local function skip(run, step, record, why)
  record.status, record.message = "skipped", why.message
  keep(run, "outcome", step, record, true)
  run.ctx.log:warn(("%s: step %s failed and is not required: %s"):format(
    run.chain.title, step.name, why.message
  ))
  return true
end

-- Of a step that is not done: true when the chain goes on after it all the same. Otherwise nil and
-- the failure of the whole run.
local function conclude(run, step, record, verdict, why)
  if verdict == "cancelled" then
    return nil, why
  elseif verdict == "unsettled" and not run.final then
    return nil, run.chain.failed(step, why)
  elseif verdict == "unsettled" or verdict == "unknown" then
    if step.required then
      return park(run, step, why)
    end
    record.status, record.message = "unknown", why.message
    keep(run, "outcome", step, record, true)
    return true
  elseif not step.required then
    return skip(run, step, record, why)
  elseif why.kind ~= "permanent" and not run.final then
    return nil, run.chain.failed(step, why)
  end
  return give_up(run, step, record, why)
end

-- Steps that are not required may be in doubt too; that shows only now, when the rest is done.
local function finish(run)
  for _, step in ipairs(run.chain.steps) do
    local record = run.state.steps[step.name]
    if record and record.status == "unknown" then
      return park(run, step, failure.transient(record.message))
    end
  end
  local last = run.state.handled
  run.state.finished = true
  if last then
    return plain.unpack(run.state.steps[last].result)
  end
  return run.results
end

-- Where the steps stand in the memory of all events that come to the chain the same way.
local function places_of(chain, below)
  local at = place.below(below, "state", "steps")
  if chain.at ~= at then
    chain.at, chain.places = at, {}
    for _, step in ipairs(chain.steps) do
      chain.places[step.name] = place.below(at, step.name)
    end
  end
  return chain.places
end

local function begin(chain, event, ctx)
  local parent = context.complete(event, ctx)
  local journal_run, world = parent.run, parent.world
  ctx = context.child(parent, chain.kind, chain.name, {
    run = journal_run, scope = nil, key = nil, memory = nil, place = nil, -- room
  })
  local state = ctx.memory.state or { steps = nil, finished = nil } -- room
  state.steps = state.steps or core.room(#chain.steps) -- what a journal had may be of no step
  ctx.memory.state = state
  local run = {
    chain = chain, event = event, ctx = ctx, state = state, results = core.room(#chain.steps),
    places = places_of(chain, ctx.place), final = context.is_final(parent), world = world,
    journal = journal_run, text = nil, quoted = nil, data = nil, data_text = nil, -- see intend
  }
  run.is_plain = journal_run and not world and context.keep == context.keep_in_journal
  for name, record in pairs(state.steps) do
    if chain.has[name] and record.status == "done" then
      run.results[name] = plain.unpack(record.result)
    elseif not chain.has[name] and (record.status or record.doubt) then
      local text = "%s: the step %s has run, but is no longer part of it; nothing was undone"
      return nil, failure.permanent(text:format(chain.title, name), "CHAIN_CHANGED")
    end
  end
  return run
end

local SETTLED = { done = true, skipped = true, unknown = true }

-- Runs the steps from one on, or only that one: which one is next, or nil and the failure of the
-- whole run.
local function go_on(run, at)
  local is_recorded = tracing.on and tracing.recording() -- then each has a span of its own
  local verdict, reason
  if run.is_plain and not is_recorded then
    at, verdict, reason = walk(run, run.chain.steps, at)
  end
  local step = run.chain.steps[at]
  local record = step and run.state.steps[step.name]
  if not step or run.state.handled then
    return at
  elseif not record or not SETTLED[record.status] then
    local go = is_recorded and traced or advance
    verdict, reason = go(run, at, verdict, reason)
    local ok = verdict == "done"
    if not ok then
      ok, reason = conclude(run, step, run.state.steps[step.name], verdict, reason)
    end
    if not ok then
      return nil, reason
    end
  end
  return at + 1
end

--- Runs the chain for one event, from where it stands. Its results by step, or what a step ended it
--- with; or nil and a failure.
function M.run(chain, event, ctx)
  local run, why = begin(chain, event, ctx)
  if not run then
    return nil, why
  elseif run.state.failure then
    return nil, run.state.failure
  elseif run.state.undoing then
    return step_undo.all(run, keep)
  end
  local steps, at = chain.steps, 1
  while steps[at] and not run.state.handled do
    at, why = go_on(run, at)
    if not at then
      return nil, why
    end
  end
  return finish(run)
end

return M
