--- Circuit breaker: a service that fails is left alone for a while, instead of being called again
--- and again.
--
-- closed: calls pass, and failures are counted over a window. open: calls fail at once, until the
-- time is up. half-open: a few calls pass as probes; when all of them succeed it closes, when one
-- fails it opens again. A call's verdict counts only in the phase in which the call began.
local failure = require "sipeat.failure"
local guard = require "sipeat.guard"
local log = require("sipeat.log").new "breaker"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local window = require "sipeat.guard_window"

local M = {}

local BREAKER = opts.spec("sipeat.breaker", {
  name = { "string", required = true },
  failures = { "integer", min = 1, max = 1000000 },
  ratio = { "number", min = 0.01, max = 1 },
  min_calls = { "integer", default = 10, min = 1, max = 1000000 },
  window = { "duration", default = "10s" },
  open = { "duration", default = "30s" },
  probes = { "integer", default = 1, min = 1, max = 1000 },
  failed = { "function" },
  only = { "string[]" },
})

local FAILURES = 5 -- without `failures` and `ratio`
local BUSY_SHARE = 10 -- while probes are under way others come back after this part of `open`
local BUSY_MIN_MS = 50

local State = {}
State.__index = State

local function make(name, o)
  local state = setmetatable({
    name = name, state = "closed", phase = 0, opened = 0, rejected = 0,
    succeeded = 0, failed = 0, ignored = 0,
  }, State)
  state:apply(o)
  return state
end

function State:apply(o)
  if not self.options or self.options.window ~= o.window then
    self.window = window.new(o.window)
  end
  self.options = o
end

local breakers = guard.kind("sipeat.breaker", BREAKER, make)

local function open(self, now, why)
  self.state, self.phase = "open", self.phase + 1
  self.opened, self.until_ms = self.opened + 1, now + self.options.open
  log:warn(("%s opens for %d ms: %s"):format(self.name, self.options.open, why))
end

local function half_open(self, now)
  self.state, self.phase = "half_open", self.phase + 1
  self.probing, self.probed = 0, 0
  self.until_ms = now + self.options.open -- probes without a verdict by then count as failed
end

local function close(self)
  self.state, self.phase, self.until_ms = "closed", self.phase + 1, nil
  self.window:clear()
  log:info(("%s closes: %d probes succeeded"):format(self.name, self.probed))
end

local function refuse(self, now)
  self.rejected = self.rejected + 1
  local at = self.until_ms
  if self.state == "half_open" then
    at = math.min(at, now + math.max(BUSY_MIN_MS, self.options.open / BUSY_SHARE))
  end
  local why = ("breaker %s is %s: not called, again in %d ms"):format(
    self.name, self.state == "open" and "open" or "half-open, its probes are under way",
    math.ceil(at - now)
  )
  return nil, guard.refusal(why, "BREAKER_OPEN", at)
end

-- Is the service failing, by what the window holds?
local function is_failing(self, now)
  local o, failed = self.options, self.window:sum("failed", now)
  if o.ratio then
    local calls = failed + self.window:sum("succeeded", now)
    if calls >= o.min_calls and failed >= o.ratio * calls then
      return true
    end
  end
  return failed >= (o.failures or not o.ratio and FAILURES or math.huge)
end

local Call = {}
Call.__index = Call

-- The verdict on a call: "succeeded", "failed", or nil when it says nothing of the service.
local function settle(call, verdict, text)
  local self, now = call.state, sys.monotonic_ms()
  call.settled = true
  local count = verdict or "ignored"
  self[count] = self[count] + 1
  if call.phase ~= self.phase then
    return
  elseif self.state == "half_open" then
    self.probing = self.probing - 1
    if verdict == "failed" then
      open(self, now, "a probe failed: " .. text)
    elseif verdict == "succeeded" then
      self.probed = self.probed + 1
      if self.probed >= self.options.probes then
        close(self)
      end
    end
  elseif verdict then
    self.window:add(verdict, now)
    if verdict == "failed" and is_failing(self, now) then
      open(self, now, text)
    end
  end
end

local function judge(why)
  if guard.is_refusal(why) or why.kind == "cancelled" or why.kind == "bug" then
    return nil
  end
  return why.kind == "permanent" and "succeeded" or "failed", why.message
end

-- What f raised, or its task was stopped in the middle.
function Call:__close(raised)
  if not self.settled then
    local verdict, text
    if failure.is(raised) then
      verdict, text = judge(raised)
    end
    settle(self, verdict, text)
  end
end

-- An answer that says that the server is in trouble.
local function is_bad_response(response)
  local status = type(response) == "table" and rawget(response, "status")
  return math.type(status) == "integer" and rawget(response, "headers") ~= nil
    and (status >= 500 or status == 429)
end

local function sort_out(call, ...)
  local why = failure.of_results(...)
  if why then
    settle(call, judge(why))
  elseif (call.state.options.failed or is_bad_response)(...) then
    settle(call, "failed", "the answer counts as a failure")
  else
    settle(call, "succeeded")
  end
  return ...
end

local function admit(self)
  local now = sys.monotonic_ms()
  if self.state == "open" and now >= self.until_ms then
    half_open(self, now)
  elseif self.state == "half_open" and now >= self.until_ms then
    open(self, now, "its probes gave no verdict in time")
  end
  if self.state == "half_open" and self.probing + self.probed < self.options.probes then
    self.probing = self.probing + 1
  elseif self.state ~= "closed" then
    return refuse(self, now)
  end
  return setmetatable({ state = self, phase = self.phase }, Call)
end

--- What is known of each breaker, by name.
function M.status()
  local list = {}
  for i, state in ipairs(breakers:all()) do
    list[i] = {
      name = state.name, state = state.state, opened = state.opened, rejected = state.rejected,
      succeeded = state.succeeded, failed = state.failed, ignored = state.ignored,
      open_for_ms = state.state == "open"
        and math.max(0, math.ceil(state.until_ms - sys.monotonic_ms())) or nil,
    }
  end
  return list
end

local function around(state)
  return function(f)
    return function(...)
      local call <close>, why = admit(state)
      if not call then
        return nil, why, why.code
      end
      return sort_out(call, f(...))
    end
  end
end

return setmetatable(M, { __call = breakers:wrapper(around) })
