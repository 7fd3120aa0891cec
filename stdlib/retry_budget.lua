--- Retry budget: retries are at most a share of the traffic, so that they cannot become the load.
--
-- First attempts are the traffic; a retry is allowed while the retries of the last ten seconds stay
-- below that share of them, or below a few each second when there is hardly any traffic. One that
-- is not allowed waits or is held: it is never lost, and never ends an event.
local guard = require "sipeat.guard"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local window = require "sipeat.guard_window"

local M = {}

local BUDGET = opts.spec("sipeat.retry_budget", {
  name = { "string", required = true },
  share = { "number", default = 0.1, min = 0, max = 10 },
  min_per_second = { "number", default = 1, min = 0.01, max = 100000 },
  only = { "string[]" },
})

local WINDOW_MS = 10000
local PAUSE_MIN_MS, PAUSE_MAX_MS = 200, 10000

local State = {}
State.__index = State

function State:apply(o)
  self.options = o
end

local budgets = guard.kind("sipeat.retry_budget", BUDGET, function(name, o)
  return setmetatable({
    name = name, options = o, window = window.new(WINDOW_MS), allowed = 0, denied = 0, traffic = 0,
  }, State)
end)

--- Counts a first attempt.
function State:note()
  self.traffic = self.traffic + 1
  self.window:add("first", sys.monotonic_ms())
end

-- Retries that the window may hold.
local function room(self, now)
  local o = self.options
  return o.share * self.window:sum("first", now) + o.min_per_second * WINDOW_MS / 1000
end

--- Takes one retry out of the budget: true, or false when it has none left.
function State:take()
  local now = sys.monotonic_ms()
  if self.window:sum("retry", now) + 1 > room(self, now) then
    self.denied = self.denied + 1
    self.window:add("denied", now)
    return false
  end
  self.allowed = self.allowed + 1
  self.window:add("retry", now)
  return true
end

--- How long a retry that was denied waits before it asks again: the longer the more there are.
function State:pause_ms()
  local now = sys.monotonic_ms()
  local per_ms = room(self, now) / WINDOW_MS
  local waiting = self.window:sum("denied", now) / (WINDOW_MS / 1000)
  local ms = math.max(PAUSE_MIN_MS, math.min(PAUSE_MAX_MS, waiting / per_ms))
  return math.random(math.ceil(ms / 2), math.ceil(ms))
end

--- What is known of each budget, by name.
function M.status()
  local list = {}
  for i, state in ipairs(budgets:all()) do
    local now = sys.monotonic_ms()
    list[i] = {
      name = state.name, share = state.options.share, traffic = state.traffic,
      allowed = state.allowed, denied = state.denied,
      left = math.max(0, math.floor(room(state, now) - state.window:sum("retry", now))),
    }
  end
  return list
end

--- The budget that an option names: its name, or its options. Throws at `level`.
function M.of(budget, level)
  local options = type(budget) == "string" and { name = budget } or budget
  return budgets:declare(options, level + 1)
end

-- Which attempt a call is: a handler's ctx says so.
local function is_retry(_, ctx)
  return type(ctx) == "table" and math.type(ctx.attempt) == "integer" and ctx.attempt > 1
end

local function around(state)
  return function(f)
    return function(...)
      if not is_retry(...) then
        state:note()
      elseif not state:take() then
        local why = ("retry budget %s: retries are at their share of the traffic, not called")
          :format(state.name)
        local at = sys.monotonic_ms() + state:pause_ms()
        return nil, guard.refusal(why, "RETRY_BUDGET", at), "RETRY_BUDGET"
      end
      return f(...)
    end
  end
end

return setmetatable(M, { __call = budgets:wrapper(around) })
