--- Rate limit: a token bucket. Calls beyond the rate wait in order, as many as the queue takes.
local guard = require "sipeat.guard"
local line = require "sipeat.guard_line"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local RATE_LIMIT = opts.spec("sipeat.rate_limit", {
  name = { "string", required = true },
  rate = { "string", required = true },
  burst = { "integer", min = 1, max = 10000000 },
  queue = { "integer", default = 1000, min = 0, max = 1000000 },
  wait = { "duration", default = "30s" },
  only = { "string[]" },
})

-- What tokens may pile up to while somebody waits: timers are late by a turn of the loop, and what
-- they were late by must not be lost.
local LATE_MS = 100
local BURST_MS = 50 -- without `burst`: what comes in so long

--- Calls per millisecond of "100/s", "5/m" or "10/500ms"; or nil, message, "EINVAL".
function M.per_ms(rate)
  local count, per = rate:match "^(%d+%.?%d*)/(.+)$"
  local ms = per and opts.duration_ms(per:find "^%d" and per or "1" .. per)
  if not ms or ms < 1 or tonumber(count) <= 0 then
    local why = "rate: expected a number and a time, as in \"100/s\" or \"5/m\"; got %s"
    return nil, why:format(opts.show(rate)), "EINVAL"
  end
  return tonumber(count) / ms
end

local function check(options, level)
  local o = RATE_LIMIT(options, level + 1)
  local per_ms, why = M.per_ms(o.rate)
  if not per_ms then
    error("sipeat.rate_limit: option " .. why, level + 1)
  end
  o.per_ms = per_ms
  o.burst = o.burst or math.max(1, math.floor(per_ms * BURST_MS))
  return o
end

local State = {}
State.__index = State

local function make(name, o)
  local state = setmetatable({
    name = name, line = line.new(), tokens = o.burst, at_ms = sys.monotonic_ms(),
    passed = 0, waited = 0, rejected = 0,
  }, State)
  state:apply(o)
  return state
end

local function refill(self)
  local now, o = sys.monotonic_ms(), self.options
  local most = self.line.count > 0 and math.max(o.burst, o.per_ms * LATE_MS) or o.burst
  self.tokens = math.min(most, self.tokens + math.max(0, now - self.at_ms) * o.per_ms)
  self.at_ms = now
  return now
end

function State:apply(o)
  if self.options then
    refill(self) -- at the old rate so far
    self.tokens = math.min(self.tokens, o.burst)
  end
  self.options = o
  if self.line.first then
    self.line.first.signal:wake() -- its turn may be another time
  end
end

local limits = guard.kind("sipeat.rate_limit", check, make)

local function refuse(self, now, until_ms)
  self.rejected = self.rejected + 1
  local why = ("rate limit %s (%s): %d calls wait already, not called"):format(
    self.name, self.options.rate, self.line.count
  )
  return nil, guard.refusal(why, "RATE_LIMITED", now + math.max(0, until_ms))
end

local function pass(self)
  self.tokens, self.passed = self.tokens - 1, self.passed + 1
  return true
end

-- Waits until this place is the first one and there is a token for it.
local function wait_for_turn(self, place)
  while true do
    local _, message, code
    if self.line.first == place then
      refill(self)
      if self.tokens >= 1 then
        return pass(self)
      end
      local ms = math.max(1, math.ceil((1 - self.tokens) / self.options.per_ms))
      _, message, code = place.signal:wait(ms .. "ms")
    else
      _, message, code = place.signal:wait()
    end
    if code == "ECANCELED" then
      return nil, message, code
    end
  end
end

-- true; or nil and a refusal, or message and code when the task was stopped.
local function acquire(self)
  local now, o = refill(self), self.options
  if self.line.count == 0 and self.tokens >= 1 then
    return pass(self)
  end
  local wait_ms = (self.line.count + 1 - self.tokens) / o.per_ms
  if self.line.count >= o.queue or wait_ms > o.wait then
    return refuse(self, now, wait_ms)
  end
  self.waited = self.waited + 1
  local place = self.line:enter()
  local ok, message, code = wait_for_turn(self, place)
  self.line:leave(place)
  return ok, message, code
end

--- What is known of each rate limit, by name.
function M.status()
  local list = {}
  for i, state in ipairs(limits:all()) do
    refill(state)
    list[i] = {
      name = state.name, rate = state.options.rate, tokens = math.floor(state.tokens),
      waiting = state.line.count, passed = state.passed, waited = state.waited,
      rejected = state.rejected,
    }
  end
  return list
end

local function around(state)
  return function(f)
    return function(...)
      local ok, message, code = acquire(state)
      if not ok then
        return nil, message, code or message.code
      end
      return f(...)
    end
  end
end

return setmetatable(M, { __call = limits:wrapper(around) })
