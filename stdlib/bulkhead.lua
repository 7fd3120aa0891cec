--- Bulkhead: so many calls at once and no more, so that one slow service does not take every slot.
local guard = require "sipeat.guard"
local line = require "sipeat.guard_line"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local BULKHEAD = opts.spec("sipeat.bulkhead", {
  name = { "string", required = true },
  limit = { "integer", required = true, min = 1, max = 1000000 },
  queue = { "integer", default = 1000, min = 0, max = 1000000 },
  wait = { "duration", default = "30s" },
  only = { "string[]" },
})

local State = {}
State.__index = State

-- Gives free places to those who wait, in order.
local function hand_over(self)
  while self.line.first and self.used < self.options.limit do
    local place = self.line.first
    self.used, place.granted = self.used + 1, true
    self.line:leave(place)
    place.signal:wake()
  end
end

function State:apply(o)
  self.options = o
  hand_over(self)
end

local bulkheads = guard.kind("sipeat.bulkhead", BULKHEAD, function(name, o)
  local state = setmetatable({
    name = name, line = line.new(), used = 0, passed = 0, waited = 0, rejected = 0,
  }, State)
  state:apply(o)
  return state
end)

local Place = {}
Place.__index = Place

function Place:__close()
  self.state.used = self.state.used - 1
  hand_over(self.state)
end

local function taken(self)
  self.passed = self.passed + 1
  return setmetatable({ state = self }, Place)
end

local function refuse(self)
  self.rejected = self.rejected + 1
  local why = ("bulkhead %s: %d calls run and %d wait, not called"):format(
    self.name, self.used, self.line.count
  )
  return nil, guard.refusal(why, "BULKHEAD_FULL")
end

-- Waits for a place that has been entered. true, or nil, message, code.
local function wait_for_turn(self, place)
  local limit_ms = sys.monotonic_ms() + self.options.wait
  while not place.granted do
    local left_ms = math.max(0, math.ceil(limit_ms - sys.monotonic_ms()))
    local ok, message, code = place.signal:wait(left_ms .. "ms")
    if not ok and not place.granted then
      self.line:leave(place)
      return nil, message, code
    elseif code == "ECANCELED" then
      self.used = self.used - 1
      hand_over(self)
      return nil, message, code
    end
  end
  return true
end

-- A place to be closed; or nil and a refusal, or message and code when the task was stopped.
local function acquire(self)
  if self.used < self.options.limit and self.line.count == 0 then
    self.used = self.used + 1
    return taken(self)
  elseif self.line.count >= self.options.queue then
    return refuse(self)
  end
  self.waited = self.waited + 1
  local ok, message, code = wait_for_turn(self, self.line:enter())
  if ok then
    return taken(self)
  elseif code == "ETIMEDOUT" then
    return refuse(self)
  end
  return nil, message, code
end

--- What is known of each bulkhead, by name.
function M.status()
  local list = {}
  for i, state in ipairs(bulkheads:all()) do
    list[i] = {
      name = state.name, limit = state.options.limit, in_use = state.used,
      waiting = state.line.count, passed = state.passed, waited = state.waited,
      rejected = state.rejected,
    }
  end
  return list
end

local function around(state)
  return function(f)
    return function(...)
      local place <close>, why, code = acquire(state)
      if not place then
        return nil, why, code or why.code
      end
      return f(...)
    end
  end
end

return setmetatable(M, { __call = bulkheads:wrapper(around) })
