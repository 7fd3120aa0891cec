--- Runs a plan on devices, each in a task of its own, and gives a report: plain tables, as --json
--- prints them.
local devices = require "sipeat.bench_device"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local prompt = require "sipeat.bench_prompt"
local serial = require "sipeat.serial"
local stats = require "sipeat.bench_stats"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local IDENTIFY = "5s"

-- --- one phase ---

local function traced(raised)
  if devices.failure(raised) then
    return raised
  end
  local text = debug.traceback(tostring(raised), 2)
  local cut = text:find("\n%s*%[C%]: in function 'xpcall'\n%s*stdlib/bench_run", 1)
  text = text:sub(1, cut and cut - 1 or -1) -- what is below the phase is ours
  return { text = (text:gsub("\n%s*%[C%]: in %?", "", 1)) }
end

local function judge_series(phase)
  local wrong
  for i, series in ipairs(phase.series) do
    local summary = series:summary()
    local message = stats.beyond(summary, series.at_most, series.at_least, series.unit)
    wrong = wrong or message and ("%s: %s"):format(series.name, message)
    phase.series[i] = {
      name = series.name, unit = series.unit, summary = summary, points = series:points(),
      histogram = series:histogram(), outcome = message and "failed" or "passed",
      message = message, at_most = series.at_most, at_least = series.at_least,
    }
  end
  return wrong
end

local function empty_phase()
  return { steps = json.array(), series = json.array(), notes = json.array() }
end

local function attempt(device, declared)
  local phase = empty_phase()
  device.phase = phase
  local ok, raised, message, code = xpcall(task.with_timeout, traced, declared.options.timeout,
    function()
      local fine, why = xpcall(declared.f, traced, device)
      return { fine = fine, raised = why }
    end)
  if ok and raised then
    ok, raised = raised.fine, raised.raised
  elseif ok then
    ok, raised = false, { text = code == "ETIMEDOUT" and message or "it was stopped" }
  end
  local failed = not ok and (devices.failure(raised) or raised.text or tostring(raised)) or nil
  local beyond = judge_series(phase)
  phase.message = failed or beyond
  for _, step in ipairs(phase.steps) do
    if step.outcome == "failed" and not phase.message then
      phase.message = ("%s: %s"):format(step.name, step.message)
    end
  end
  phase.outcome = phase.message and "failed" or "passed"
  return phase
end

local function run_phase(device, declared)
  local began, attempts = sys.monotonic_ms(), 0
  local phase
  repeat
    attempts = attempts + 1
    phase = attempt(device, declared)
  until phase.outcome == "passed" or attempts > declared.options.retries or device.stopped
  phase.name, phase.attempts, phase.ms = declared.name, attempts, sys.monotonic_ms() - began
  phase.optional = declared.options.optional or nil
  return phase
end

-- --- one device ---

local function open_line(device, plan)
  local options = { reopen = true }
  for name, value in pairs(plan.line) do
    options[name] = value
  end
  options.port, options.protocol = device.port, plan.protocol
  options.settings = plan.protocol and plan.settings or nil
  if device.port == "sim" then
    local simulator, message, code = serial.simulate {
      protocol = plan.protocol, settings = plan.simulator,
    }
    if not simulator then
      return nil, message, code
    end
    device.simulator, options.port = simulator, simulator.path
  end
  return serial.open(options)
end

-- What the plan asks for, where the command line and the board said nothing.
local function serial_number(device, plan)
  local id = device.info.id ~= nil and device.info.id ~= "" and tostring(device.info.id) or nil
  if device.serial or not plan.serial_number then
    return device.serial or id
  end
  return device:ask("serial number?", { pattern = plan.serial_number, default = id })
end

-- The phase that each run begins with.
local function connect(plan)
  return { name = "connect", options = { retries = 0, timeout = "2m" }, f = function(device)
    device.line = device:step("open", function()
      local line, message = open_line(device, plan)
      return line, message
    end)
    if plan.protocol then
      device.info = device:step("identify", { retries = 9, pause = "500ms" }, function()
        local info, message = device:command("identify", {}, IDENTIFY)
        if info and info.ok ~= false then
          return info
        end
        return nil, message or info.reason or info.code
      end)
    end
    device.serial = serial_number(device, plan)
  end }
end

-- `patterns` is "text,text": one of them is in the name.
local function wanted(declared, patterns)
  local found = not patterns
  for pattern in (patterns or ""):gmatch "[^,]+" do
    found = found or declared.name:find(pattern, 1, true) ~= nil
  end
  return found
end

local function run_device(device, plan, phases, options)
  local report, began = device.report, sys.monotonic_ms()
  device.info = {}
  local all = { connect(plan) }
  for _, declared in ipairs(phases) do
    all[#all + 1] = wanted(declared, options.pattern) and declared or nil
  end
  local over = false
  for i, declared in ipairs(all) do
    local phase
    if over or device.stopped then
      phase = empty_phase()
      phase.name, phase.outcome, phase.attempts, phase.ms = declared.name, "skipped", 0, 0
    else
      options.progress(device, declared.name)
      phase = run_phase(device, declared)
    end
    report.phases[#report.phases + 1] = phase
    local failed = phase.outcome == "failed" and not phase.optional
    report.message = report.message or failed and ("%s: %s"):format(phase.name, phase.message)
      or nil
    over = over or failed and (i == 1 or not options.keep_going)
  end
  report.outcome = device.stopped and "stopped" or report.message and "failed" or "passed"
  report.serial, report.info = device.serial, device.info
  report.ms = sys.monotonic_ms() - began
end

local function close(device)
  if device.line then
    device.line:close()
  end
  if device.simulator then
    device.simulator:close()
  end
end

-- --- all of them ---

-- What a device that was interrupted has so far.
local function conclude(device)
  local report = device.report
  report.outcome = report.outcome or "stopped"
  report.message = report.message or report.outcome == "stopped" and "it was interrupted" or nil
  report.ms = report.ms or 0
  report.serial, report.info = report.serial or device.serial, device.info
end

--- `targets` is a list of { name, port, serial? }. options: progress(device, text), pattern?,
--- keep_going?, file, yes. Returns the report, and whether it was interrupted.
function M.run(plan, phases, targets, options)
  local report = {
    name = plan.name, about = plan.about, file = options.file, protocol = plan.protocol,
    operator = options.operator, started = sys.iso_time(), parameters = options.parameters,
    version = sys.version, devices = json.array(),
  }
  local began, list, tasks, interrupted = sys.monotonic_ms(), {}, {}, false
  prompt.set(options.yes)
  for i, target in ipairs(targets) do
    local device = devices.new {
      name = target.name, port = target.port, serial = target.serial, protocol = plan.protocol,
      progress = function(one, step)
        options.progress(one, step.name)
      end,
    }
    device.report.name, device.report.port = target.name, target.port
    list[i], report.devices[i] = device, device.report
    tasks[i] = task.spawn(run_device, device, plan, phases, options)
  end
  for i, running in ipairs(tasks) do
    local _, message, code = running:join()
    if code == "ECANCELED" and not running:done() then
      interrupted = true
      list[i].stopped = true
      running:kill()
    elseif code == "SCRIPT" then
      list[i].report.outcome, list[i].report.message = "failed", message
    end
  end
  prompt.close()
  for _, device in ipairs(list) do
    close(device)
    conclude(device)
  end
  report.ms = sys.monotonic_ms() - began
  report.outcome = "passed"
  for _, device in ipairs(report.devices) do
    report.outcome = device.outcome ~= "passed" and device.outcome or report.outcome
  end
  return report, interrupted
end

--- The plan with what the command line changes; or nil and what is wrong.
function M.adjusted(plan, options)
  local changed = {}
  for name, value in pairs(plan) do
    changed[name] = value
  end
  changed.protocol = options.protocol or plan.protocol
  changed.settings, changed.line = {}, {}
  for name, value in pairs(plan.settings) do
    changed.settings[name] = value
  end
  for name, value in pairs(plan.line) do
    changed.line[name] = value
  end
  changed.line.baud = options.baud or plan.line.baud
  if changed.protocol then
    local names = {}
    for i, protocol in ipairs(serial.protocols()) do
      names[i] = protocol.name
      if protocol.name == changed.protocol then
        return changed
      end
    end
    return nil, ("protocol %s is none of %s"):format(opts.show(changed.protocol),
      table.concat(names, ", "))
  end
  return changed
end

return M
