--- Observer: several handlers see the same event, side by side, each with its own outcome.
--
-- What one of them did or failed to do does not touch the others. When the event is tried again,
-- only those run that are not done yet.
local attempt = require "sipeat.attempt"
local context = require "sipeat.context"
local failure = require "sipeat.failure"
local journal = require "sipeat.journal"
local opts = require "sipeat.opts"
local place = require "sipeat.place"
local task = require "sipeat.task"
local tracing = require "sipeat.tracing"

local OBSERVER = opts.spec("sipeat.observer", {
  [1] = { "handler", required = true },
  required = { "boolean", default = true },
  retry = { "table", spec = opts.retry },
  timeout = { "duration" },
})

-- One checked observer from `name = handler`, `name = { handler, … }` or `{ "name", handler, … }`.
local function observer(name, definition, label, level)
  if type(definition) ~= "table" or getmetatable(definition) then
    definition = { definition }
  end
  local o, why = OBSERVER(definition, false)
  if not o then
    why = why:gsub("^sipeat%.observer: ", ""):gsub("^option %[1%]", "the handler")
    error(("sipeat.observers: %s: %s"):format(label, why), level + 1)
  end
  o.name, o.handler = name, o[1]
  o.plan = attempt.plan(o.retry, "sipeat.observers: " .. name, level + 1)
  return o
end

local function listed(entry, index, level)
  local label = ("entry %d"):format(index)
  if type(entry) ~= "table" or type(entry[1]) ~= "string" then
    local why = "sipeat.observers: %s: expected { \"name\", handler, … } or name = handler"
    error(why:format(label), level + 1)
  end
  local definition = {}
  for key, value in pairs(entry) do
    if key ~= 1 then
      definition[key == 2 and 1 or key] = value
    end
  end
  return (observer(entry[1], definition, entry[1], level + 1)) -- no tail call: levels count frames
end

local function compile(definitions, level)
  local list, seen = {}, {}
  if type(definitions) ~= "table" or next(definitions) == nil then
    error("sipeat.observers: a table of handlers by name is needed", level + 1)
  end
  for key, definition in pairs(definitions) do
    local entry
    if math.type(key) == "integer" then
      entry = listed(definition, key, level + 1)
    else
      entry = observer(tostring(key), definition, tostring(key), level + 1)
    end
    if seen[entry.name] then
      error(("sipeat.observers: %s is named twice"):format(entry.name), level + 1)
    end
    seen[entry.name] = true
    list[#list + 1] = entry
  end
  table.sort(list, function(a, b)
    return a.name < b.name
  end)
  return list
end

-- Runs one observer, with its own attempts, and leaves its outcome in the memory of the event. For
-- one that is not required, nobody tries the event again.
local function observe(o, event, ctx, outcome)
  attempt.held(o.plan, 1)
  for n = 1, o.plan.attempts do
    local child = context.child(ctx, "observer", o.name, {
      final = n == o.plan.attempts and (not o.required or context.is_final(ctx)),
    })
    local f = context.effect(ctx, "observer", o.name, o.handler)
    local ok, result = attempt.once(o.timeout, f, event, child)
    if ok then
      outcome.done, outcome.result, outcome.failure = true, result, nil
      context.keep(ctx, "outcome", place.below(ctx.place, "observers", o.name), outcome)
      return
    end
    outcome.failure = result
    if not attempt.goes_on(o.plan, n, result) then
      return
    end
    local slept, stopped = attempt.pause(o.plan, n, result)
    if not slept then
      outcome.failure = stopped
      return
    end
  end
end

-- The same with a span around it, if the event is recorded.
local function traced(o, event, ctx, outcome)
  local span = tracing.start("observer " .. o.name, tracing.INTERNAL, {
    ["sipeat.observer"] = o.name,
  })
  observe(o, event, ctx, outcome)
  local why = outcome.failure
  if span then
    span:ended(outcome.done, why, why and why.code)
  end
end

-- An observer that failed for good is not asked again.
local function is_open(outcome)
  return not outcome.done and not (outcome.failure and outcome.failure.kind == "permanent")
end

local function stop_all(tasks)
  for _, running in ipairs(tasks) do
    running:kill()
  end
  for _, running in ipairs(tasks) do
    running:join()
  end
end

-- Waits for all. nil and a failure when this task itself was stopped.
local function wait_for(tasks, outcomes)
  for _, running in ipairs(tasks) do
    local _, message, code = running:join()
    if code == "ECANCELED" then
      stop_all(tasks)
      return nil, failure.of(message, code)
    elseif code == "SCRIPT" then -- stopped where nothing could be caught, such as over its budget
      outcomes[running].failure = failure.new(tostring(message), "SCRIPT_ERROR", "bug")
    end
  end
  return true
end

-- The failure of all from the failures of some.
local function combine(failed, total)
  local parts, kind, code = {}, "permanent", nil
  for i, entry in ipairs(failed) do
    local why = entry.failure
    parts[i] = ("%s: %s"):format(entry.name, why.message)
    if why.kind ~= "permanent" and kind == "permanent" or why.kind == "cancelled" then
      kind = why.kind
    end
    if why.code == "UNKNOWN_OUTCOME" or #failed == 1 then
      code = why.code
    end
  end
  local text = ("%d of %d observers failed: %s"):format(#failed, total, table.concat(parts, "; "))
  local why = failure.new(text, code or "OBSERVERS_FAILED", kind)
  why.failures = {}
  why.refused = true
  for _, entry in ipairs(failed) do
    why.refused = why.refused and entry.failure.refused
    why.retry_at_ms = math.max(why.retry_at_ms or 0, entry.failure.retry_at_ms or 0)
    why.failures[entry.name] = entry.failure
    why.traceback = why.traceback or entry.failure.traceback
  end
  return why
end

-- One that is not required may fail, but what it left in doubt does not go unseen.
local function counts(o, why)
  return o.required or why.kind == "cancelled" or failure.in_doubt(why)
end

local function conclude(list, outcomes, ctx)
  local results, failed = {}, {}
  for _, o in ipairs(list) do
    local outcome = outcomes[o.name]
    if outcome.done then
      results[o.name] = outcome.result
    elseif counts(o, outcome.failure) then
      failed[#failed + 1] = { name = o.name, failure = outcome.failure }
    else
      ctx.log:warn(("observer %s failed and is not required: %s"):format(
        o.name, outcome.failure.message
      ))
    end
  end
  if #failed > 0 then
    return nil, combine(failed, #list)
  end
  return results
end

--- Makes one handler of several: `name = handler`, `name = { handler, required = false, retry = …,
--- timeout = "5s" }` or `{ "name", handler, … }`. Results by name, or nil and a failure that names
--- each observer that failed; it is permanent only if trying again can help none of them.
return function(definitions)
  local list = compile(definitions, 2)
  journal.want()
  return function(event, ctx)
    ctx = context.complete(event, ctx)
    local outcomes = ctx.memory.observers or {}
    ctx.memory.observers = outcomes
    local tasks, by_task = {}, {}
    local kept, why = context.keep(ctx, "intent", place.below(ctx.place, "observers"), outcomes)
    if not kept then
      return nil, why
    end
    for _, o in ipairs(list) do
      local outcome = outcomes[o.name] or {}
      outcomes[o.name] = outcome
      if is_open(outcome) then
        outcome.failure = failure.new("stopped before it had an outcome", "ECANCELED")
        local run = tracing.on and tracing.recording() and traced or observe
        local running = task.spawn(run, o, event, ctx, outcome)
        tasks[#tasks + 1], by_task[running] = running, outcome
      end
    end
    local ok, stopped = wait_for(tasks, by_task)
    if not ok then
      return nil, stopped
    end
    return conclude(list, outcomes, ctx)
  end
end
