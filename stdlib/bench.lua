--- Hardware tests, run by `sipeat bench FILE`: local bench = require "sipeat.bench".
--
-- A file declares one plan and its phases. Each device goes through the phases by itself, in a task
-- of its own; a step that fails ends its phase, and a phase that fails ends the device's run.
local opts = require "sipeat.opts"
local state = require "sipeat.bench_state"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

M.sleep = task.sleep

local PLAN = opts.spec("sipeat.bench.plan", {
  name = { "string", required = true },
  about = { "string" },
  protocol = { "string" },
  settings = { "table", default = {} },
  line = { "table", default = {} },
  simulator = { "table", default = {} },
  serial_number = { "string" },
})

local PHASE = opts.spec("sipeat.bench.phase", {
  retries = { "integer", default = 0, min = 0, max = 100 },
  timeout = { "string", default = "10m" },
  optional = { "boolean", default = false },
})

--- Declares what is tested. Once in a file, before its phases.
---@param options sipeat.bench.PlanOptions
function M.plan(options)
  if state.plan then
    error("bench.plan: the file has a plan already: " .. opts.show(state.plan.name), 2)
  end
  state.plan = PLAN(options)
end

--- Declares a phase: f(device) runs for each device.
---@param name string
---@param options sipeat.bench.PhaseOptions?
---@param f fun(device: sipeat.bench.Device)
function M.phase(name, options, f)
  if f == nil then
    options, f = nil, options
  end
  if type(name) ~= "string" or name == "" then
    error("bench.phase: a phase has a name, got " .. opts.show(name), 2)
  elseif type(f) ~= "function" then
    error(("bench.phase %s: a function is needed, got %s"):format(name, opts.show(f)), 2)
  elseif state.names[name] then
    error(("bench.phase: two phases are called %s"):format(opts.show(name)), 2)
  end
  local checked = PHASE(options)
  local ms, why = opts.duration_ms(checked.timeout)
  if not ms then
    error(("bench.phase %s: timeout: %s"):format(name, why), 2)
  end
  state.names[name] = true
  state.phases[#state.phases + 1] = { name = name, options = checked, f = f }
end

local function converted(name, text, default)
  local value = text
  if math.type(default) == "integer" then
    value = math.tointeger(tonumber(text))
  elseif type(default) == "number" then
    value = tonumber(text)
  elseif type(default) == "boolean" then
    value = text == "true" or (text ~= "false" and nil)
  end
  if value == nil then
    error(("bench: --with %s=%s is no %s"):format(name, text,
      math.type(default) or type(default)), 3)
  end
  return value
end

--- A parameter of the plan: what `--with name=value` says, else the default. The default's type is
--- that of the value.
---@generic T
---@param name string
---@param default T
---@return T
function M.parameter(name, default)
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then
    error("bench.parameter: a name is needed, got " .. opts.show(name), 2)
  elseif type(default) ~= "string" and type(default) ~= "number" and type(default) ~= "boolean" then
    error(("bench.parameter %s: the default is a text, a number or a boolean"):format(name), 2)
  end
  local text = state.with[name]
  local value = default
  if text ~= nil then
    value = converted(name, text, default)
  end
  state.parameters[name] = value
  return value
end

--- Milliseconds that f(...) took, and then its results.
function M.time(f, ...)
  local began = sys.monotonic_ms()
  local results = table.pack(f(...))
  return sys.monotonic_ms() - began, table.unpack(results, 1, results.n)
end

return M
