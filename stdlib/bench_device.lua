--- A device under test: its line, and what phases measure on it.
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local prompt = require "sipeat.bench_prompt"
local stats = require "sipeat.bench_stats"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local Device = {}
Device.__index = Device

local Failed = {} -- metatable of what ends a phase

local STEP = opts.spec("sipeat.bench.step", {
  min = { "number" },
  max = { "number" },
  equals = { "any" },
  unit = { "string" },
  retries = { "integer", default = 0, min = 0, max = 1000 },
  pause = { "string", default = "0ms" },
  timeout = { "string" },
  go_on = { "boolean", default = false },
})

local SERIES = opts.spec("sipeat.bench.series", {
  unit = { "string" },
  at_most = { "table" },
  at_least = { "table" },
})

local ASK = opts.spec("sipeat.bench.ask", {
  default = { "string" },
  pattern = { "string" },
  choices = { "string[]" },
})

--- `fields`: name, port, line, simulator?, info. report is where measurements go.
function M.new(fields)
  fields.report = { phases = json.array() }
  return setmetatable(fields, Device)
end

--- The message, when that was raised to end a phase.
function M.failure(raised)
  return getmetatable(raised) == Failed and raised.message or nil
end

local function fail(message)
  error(setmetatable({ message = message }, Failed), 0)
end

--- Ends the phase: it has failed.
function Device:fail(message)
  fail(tostring(message))
end

-- What is wrong with a value by the step's limits, or nil.
local function beyond(value, o)
  if o.equals ~= nil and value ~= o.equals then
    return ("got %s, expected %s"):format(opts.show(value), opts.show(o.equals))
  elseif (o.min or o.max) and type(value) ~= "number" then
    return ("got %s, a number is needed"):format(opts.show(value))
  elseif o.min and value < o.min or o.max and value > o.max then
    return ("%s is out of limits (%s)"):format(stats.text(value, o.unit), M.limits(o))
  end
end

--- Limits in words: "10 to 20 ms", "at most 20 ms".
function M.limits(o)
  local function text(value)
    return stats.text(value, o.unit)
  end
  if o.equals ~= nil then
    return "= " .. text(o.equals)
  elseif o.min and o.max then
    return ("%s to %s"):format(stats.text(o.min), text(o.max))
  end
  return o.max and "at most " .. text(o.max) or o.min and "at least " .. text(o.min) or ""
end

local function value_of(value)
  local kind = type(value)
  return (kind == "number" or kind == "string" or kind == "boolean") and value or nil
end

local function record(self, name, o, fields)
  local step = {
    name = name, unit = o.unit, min = o.min, max = o.max, equals = o.equals,
    limits = M.limits(o),
  }
  for key, value in pairs(fields) do
    step[key] = value
  end
  local steps = self.phase.steps
  steps[#steps + 1] = step
  self.progress(self, step)
  return step
end

-- One try: value, or nil and what is wrong, and the value that was out of limits.
local function try(f, o, self)
  local results
  if o.timeout then
    results = table.pack(task.with_timeout(o.timeout, f, self))
  else
    results = table.pack(f(self))
  end
  local value, message = results[1], results[2]
  if results.n == 0 then
    value = true -- a step that returns nothing at all has found nothing wrong
  elseif value == nil or value == false then
    return nil, tostring(message or "it gave " .. tostring(value))
  end
  local wrong = beyond(value, o)
  return not wrong and value or nil, wrong, value
end

--- f(device) -> value; or nil or false and a message: it failed. Tried again as `retries` says;
--- then the phase ends, unless `go_on`: then this returns nil and the message.
function Device:step(name, options, f)
  if f == nil then
    options, f = nil, options
  end
  local o = STEP(options)
  local began, attempts, seen = sys.monotonic_ms(), 0, nil
  local value, message
  repeat
    attempts = attempts + 1
    if attempts > 1 and not task.sleep(o.pause) then
      break
    end
    local ok
    ok, value, message, seen = xpcall(try, function(e)
      return M.failure(e) and e or { text = debug.traceback(tostring(e), 2) }
    end, f, o, self)
    if not ok then
      local raised = value
      value = nil
      message = M.failure(raised) or raised.text or tostring(raised)
    end
  until value ~= nil or attempts > o.retries
  record(self, name, o, {
    outcome = value ~= nil and "passed" or "failed", value = value_of(value or seen),
    message = value == nil and message or nil, attempts = attempts,
    ms = sys.monotonic_ms() - began,
  })
  if value == nil and not o.go_on then
    fail(("%s: %s"):format(name, message))
  end
  return value, message
end

--- A value that is measured already, with limits as a step has them.
function Device:measure(name, value, options)
  return self:step(name, options, function()
    if value == nil then
      return nil, "nothing was measured"
    end
    return value
  end)
end

--- Many values of one kind: series:add(value). Judged by its limits when the phase ends, and
--- plotted in the report.
function Device:series(name, options)
  local o = SERIES(options)
  local series = stats.series(name, o.unit)
  series.at_most, series.at_least = o.at_most, o.at_least
  self.phase.series[#self.phase.series + 1] = series
  return series
end

--- A remark for the report.
function Device:note(text)
  local notes = self.phase.notes
  notes[#notes + 1] = tostring(text)
end

--- A command to the board: what its engine answers; or nil, message, code.
function Device:command(name, fields, timeout)
  if not self.protocol then
    error("device:command: the plan names no protocol: use device.line", 2)
  end
  return self.line:command(name, fields or {}, { timeout = timeout or "30s" })
end

local function accepting(o)
  return function(answer)
    if o.pattern and not answer:find("^" .. o.pattern .. "$") then
      return nil, ("%s does not look like %s"):format(opts.show(answer), o.pattern)
    end
    for _, choice in ipairs(o.choices or {}) do
      if choice == answer then
        return answer
      end
    end
    if o.choices then
      return nil, "one of " .. table.concat(o.choices, ", ")
    end
    return answer
  end
end

--- Asks the operator. With --yes: the default. Raises, and so ends the phase, when nobody answers.
function Device:ask(text, options)
  local answer, message = prompt.ask(("[%s] %s"):format(self.name, text), options and
    options.default, accepting(ASK(options)))
  if answer == nil then
    fail(message)
  end
  return answer
end

--- Asks for yes or no; `default` is true unless told. Returns a boolean.
function Device:confirm(text, default)
  local answer = self:ask(text .. " (yes or no)", {
    default = default == false and "no" or "yes", choices = { "yes", "no", "y", "n" },
  })
  return answer:sub(1, 1) == "y"
end

--- Makes something go wrong: a simulated board is told, at a real one the operator is asked to.
function Device:fault(fields, request)
  if self.simulator then
    local ok, message = self.simulator:command("fault", fields)
    if not ok then
      fail("fault: " .. message)
    end
  elseif not self:confirm(request .. " Done?") then
    fail("the operator did not: " .. request)
  end
end

return M
