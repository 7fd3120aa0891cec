--- What a step may look like: checks the list that a chain or a set of commands is made of.
local attempt = require "sipeat.attempt"
local context = require "sipeat.context"
local failure = require "sipeat.failure"
local journal = require "sipeat.journal"
local opts = require "sipeat.opts"
local steps = require "sipeat.steps"

local M = {}

local EFFECTS = { "local", "idempotent", "at_most_once", "repeatable" }

local STEP = opts.spec("sipeat.step", {
  [1] = { "string", required = true },
  run = { "handler", required = true },
  args = { "handler" },
  undo = { "handler" },
  reconcile = { "handler" },
  effect = { "string", required = true, enum = EFFECTS },
  required = { "boolean", default = true },
  timeout = { "duration" },
  retry = { "table", spec = opts.retry },
  key = { "function" },
  point_of_no_return = { "boolean" },
  lifetime = { "duration" },
})

local UNDO_RETRY = { attempts = 3, backoff = { "200ms", "5s" } }

-- The checked step, or nil and what is wrong with it.
local function check(definition)
  if type(definition) ~= "table" then
    return nil, ("expected a table, got %s"):format(opts.show(definition))
  end
  local step, why = STEP(definition, false)
  if not step then
    return nil, (why:gsub("^sipeat%.step: ", ""))
  end
  step.name = step[1]
  local risky = step.effect == "at_most_once"
  if not step.name:find("^[%w_.-]+$") then
    return nil, "a step's name is made of letters, digits, _ - and ."
  elseif step.reconcile and not risky and step.effect ~= "idempotent" then
    return nil, ("reconcile is for at_most_once and idempotent effects; this one is %s"):format(
      step.effect
    )
  elseif step.lifetime and step.effect ~= "idempotent" then
    return nil, ("lifetime is that of an idempotency key; this effect is %s"):format(step.effect)
  elseif risky and step.retry and not step.reconcile then
    return nil, "an at_most_once effect is repeated only when reconcile proves that it did not "
      .. "happen: give it a reconcile, or take retry away"
  end
  if step.point_of_no_return == nil then
    step.point_of_no_return = risky and not step.undo
  end
  return step
end

local function compile(kind, name, list)
  local what = ("sipeat.%s %q"):format(kind, name)
  local undo_retry = list.undo_retry or UNDO_RETRY
  local checked, why = opts.retry(undo_retry, false)
  if not checked then
    error(("%s: undo_retry: %s"):format(what, why), 3)
  end
  local chain = {
    kind = kind,
    name = name,
    title = ("%s %s"):format(kind, name),
    steps = {},
    has = {}, -- name of a step -> true
    undo_plan = attempt.plan(checked, what, 3),
  }
  for key in pairs(list) do
    if key ~= "undo_retry" and (math.type(key) ~= "integer" or key < 1 or key > #list) then
      error(("%s: unknown option %s (known: undo_retry, and the steps)"):format(what, key), 3)
    end
  end
  for i, definition in ipairs(list) do
    local step, reason = check(definition)
    local label = type(definition) == "table" and type(definition[1]) == "string" and definition[1]
    if not step then
      error(("%s: step %s: %s"):format(what, label or i, reason), 3)
    elseif chain.has[step.name] then
      error(("%s: step %s: two steps have that name"):format(what, step.name), 3)
    end
    chain.has[step.name] = true
    step.part = context.part(step.name)
    step.plan = attempt.plan(step.retry, ("%s: step %s"):format(what, step.name), 3)
    step.is_plain = step.effect ~= "local" and not step.timeout and not step.lifetime
      and not step.plan.budget
    step.is_given = (step.key or step.args) and true -- key or arguments
    chain.steps[i] = step
  end
  return chain
end

--- The failure of a step as the failure of its chain, which goes on with the next attempt.
local function failed(chain)
  return function(step, why)
    local text = ("%s: step %s: %s"):format(chain.title, step.name, why.message)
    local out = failure.new(text, why.code, why.kind)
    out.chain, out.step, out.traceback = chain.name, step.name, why.traceback
    out.refused, out.retry_at_ms = why.refused, why.retry_at_ms
    return out
  end
end

--- Makes sipeat.chain and sipeat.commands: kind(name) takes a list of steps and gives a handler.
function M.maker(kind)
  return function(name)
    if type(name) ~= "string" or not name:find("^[%w_.-]+$") then
      local why = "sipeat.%s: a name of letters, digits, _ - and . is needed, got %s"
      error(why:format(kind, opts.show(name)), 2)
    end
    return function(list)
      if type(list) ~= "table" or #list == 0 then
        error(("sipeat.%s %q: a list of steps is needed"):format(kind, name), 2)
      end
      local chain = compile(kind, name, list)
      chain.failed = failed(chain)
      journal.want()
      return function(event, ctx)
        return steps.run(chain, event, ctx)
      end
    end
  end
end

return M
