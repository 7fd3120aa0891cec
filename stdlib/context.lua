--- The ctx that a pattern hands to what it is made of.
--
-- A child looks like its parent (fields, and methods such as ctx:emit) and has a scope of its own:
-- an idempotency key that is the same on each attempt, and memory that lives across the attempts of
-- one event. A handler that is called without a flow gets a ctx all the same, and every failure is
-- final there.
local failure = require "sipeat.failure"
local log = require "sipeat.log"
local place = require "sipeat.place"
local wait = require "sipeat.durable_wait"

local M = {}

-- Methods belong to the flow's own ctx: they get it as self, whichever child they are called on.
local function bound(parent, method)
  return function(_, ...)
    return method(parent, ...)
  end
end

-- What each part of a handler has of its own.
local SCOPED = { sleep = wait.sleep, wait = wait.wait }

-- Keys in a child that are no field of a script's.
local PARENT <const>, SLOT <const>, NAME <const> = "(parent)", "(slot)", "(name)"
M.PARENT = PARENT

-- What it shares with its parent.
local function inherit(ctx, name)
  local parent = ctx[PARENT]
  local value = parent[name]
  if type(value) ~= "function" then
    return value
  end
  return SCOPED[name] or bound(parent, value)
end

-- What a child has of its own is made when it is first asked for: most handlers ask for none of it.
local OWN = {}

function OWN.scope(ctx)
  local parent = ctx[PARENT]
  return (parent.scope or parent.id or "event") .. ":" .. ctx[NAME]
end

function OWN.key(ctx)
  return ctx.scope
end

function OWN.memory(ctx)
  local memories, slot = ctx[PARENT].memory, ctx[SLOT]
  local memory = memories[slot] or { state = nil } -- room
  memories[slot] = memory
  return memory
end

function OWN.place(ctx)
  return place.below(ctx[PARENT].place, ctx[SLOT])
end

local Child, Complete = {}, { __index = inherit }

function Child.__index(ctx, name)
  local make = OWN[name]
  if not make then
    return inherit(ctx, name)
  end
  local value = make(ctx)
  rawset(ctx, name, value)
  return value
end

--- The ctx, or one that has what every handler may expect.
function M.complete(event, ctx)
  if ctx and ctx.memory and ctx.log then
    return ctx
  end
  ctx = ctx or {}
  return setmetatable({
    [PARENT] = ctx,
    id = ctx.id or event.id,
    key = ctx.key or ctx.id or event.id,
    attempt = ctx.attempt or 1,
    memory = ctx.memory or {},
    log = ctx.log or log.new "sipeat",
  }, Complete)
end

--- Does nobody try again after this attempt?
function M.is_final(ctx)
  return ctx.final ~= false
end

--- A child for the part `name` of the pattern `pattern`. `fields` are set on it.
function M.child(ctx, pattern, name, fields)
  fields = fields or { scope = nil, key = nil, memory = nil, place = nil, run = nil } -- room
  fields[PARENT], fields[SLOT], fields[NAME] = ctx, pattern .. ":" .. name, name
  return setmetatable(fields, Child)
end

--- What the contexts of the step of that name have in common, for M.step.
function M.part(name)
  local own = { [SLOT] = "step:" .. name, [NAME] = name, step = name }
  return {
    __index = function(ctx, field)
      return own[field] or Child.__index(ctx, field)
    end,
  }
end

--- As child, for a step of a chain; a key of nil is the scope.
function M.step(ctx, part, key, results, transact)
  return setmetatable({
    [PARENT] = ctx, key = key, results = results, transact = transact,
  }, part)
end

-- Has a chain left doubt, or begun and neither come to its end nor given up? What is done has.
local function is_open(state, is_done)
  if type(state) ~= "table" then
    return false
  elseif state.failure then
    return failure.in_doubt(state.failure)
  elseif state.finished or is_done then
    return false
  end
  for _, record in pairs(state.steps or {}) do
    if record.status or record.doubt then
      return true
    end
  end
  return state.undoing ~= nil
end

-- Is that all of a chain that has come to its end?
local function is_over(child)
  local state = child.state
  return type(state) == "table" and state.finished and not state.failure
    and next(child, next(child)) == nil
end

--- The place of a chain in that memory that was stopped on its way, or is in doubt; nil when there
--- is none. After the last attempt nobody goes on with it, whatever its handler made of that.
function M.unfinished(memory, is_done)
  for slot, child in pairs(memory) do
    local pattern, name
    if type(child) == "table" and slot ~= "state" and not is_over(child) then
      pattern, name = tostring(slot):match "^(%l+):(.+)$"
    end
    if pattern then
      local observed = pattern == "observer" and (memory.observers or {})[name]
      local ended = is_done or observed and observed.done
      local inside = is_open(child.state, ended) and "" or M.unfinished(child, ended)
      if inside then
        local at = place.below(nil, slot)
        return inside == "" and at or at .. "/" .. inside
      end
    end
  end
end

--- The function that stands for an effect: f itself, or, in a replay, one that answers as recorded.
--- `what`: "run", "reconcile", "undo" of the step `name`, or "observer".
function M.effect(ctx, what, name, f)
  local world = ctx.world
  return world and world:effect(ctx, what, name, f) or f
end

--- Says that what stands at that place of the event's memory is `value` now. With a journal it is
--- durable when this answers true, or with `later` before the next one that does not say so. nil
--- and a failure when it cannot be: then nothing may happen that counts on it. `quoted` is the JSON
--- of `text`, a text in the value that need not be written as JSON again.
function M.keep(ctx, phase, where, value, later, text, quoted)
  local run = ctx.run
  if not run then
    return true
  end
  return run:keep(phase, where, value, later, text, quoted)
end

--- Itself: a simulation may put another one in its place.
M.keep_in_journal = M.keep

return M
