--- `sipeat bench FILE`: loads a hardware test, runs it on the devices, and writes the reports.
local common = require "sipeat.command_serial"
local junit = require "sipeat.command_junit"
local output = require "sipeat.command_output"
local report_html = require "sipeat.command_bench_html"
local run = require "sipeat.bench_run"
local state = require "sipeat.bench_state"
local stats = require "sipeat.bench_stats"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, SCRIPT = 0, 1, 2, 3

local function complain(message)
  terminal.note("sipeat bench: " .. message)
end

-- --- the terminal ---

local MARKS = { passed = "passed", failed = "FAILED", skipped = "-", stopped = "stopped" }

local function value_text(step)
  return step.value ~= nil and step.value ~= true and stats.text(step.value, step.unit) or ""
end

-- The limits of a series: "p50 at most 500, max at most 2000".
local function limits_of(series)
  local parts = {}
  for _, name in ipairs { "count", "min", "mean", "p50", "p95", "p99", "max" } do
    for _, word in ipairs { "at_least", "at_most" } do
      local limit = (series[word] or {})[name]
      if limit then
        parts[#parts + 1] = ("%s %s %s"):format(name, (word:gsub("_", " ")), stats.text(limit))
      end
    end
  end
  return table.concat(parts, ", ")
end

local function rows_of(device)
  local rows = {}
  local function add(...)
    rows[#rows + 1] = { ... }
  end
  for _, phase in ipairs(device.phases) do
    add(phase.name, "", "", "", MARKS[phase.outcome], ("%.0f ms"):format(phase.ms))
    for _, step in ipairs(phase.steps) do
      add("", step.name, output.printable(value_text(step)), step.limits or "",
        MARKS[step.outcome], ("%.0f ms"):format(step.ms))
    end
    for _, series in ipairs(phase.series) do
      local s = series.summary
      local text = s.count == 0 and "no values" or ("%d: min %s, p50 %s, p99 %s, max %s"):format(
        s.count, stats.text(s.min), stats.text(s.p50), stats.text(s.p99),
        stats.text(s.max, series.unit))
      add("", series.name, text, limits_of(series), MARKS[series.outcome], "")
    end
  end
  return rows
end

local function first_line(text)
  return output.printable(text:match "^[^\n]*")
end

local function print_device(device)
  terminal.write(("\n%s  %s%s\n"):format(output.printable(device.name),
    output.printable(device.port),
    device.serial and "  serial number " .. output.printable(device.serial) or ""))
  local rows = rows_of(device)
  if #rows > 0 then
    output.table({ "PHASE", "STEP", "VALUE", "LIMITS", "RESULT", "TIME" }, rows)
  end
  for _, phase in ipairs(device.phases) do
    if phase.message then
      terminal.write(("  %s: %s\n"):format(phase.name, first_line(phase.message)))
    end
    for _, note in ipairs(phase.notes) do
      terminal.write(("  %s: %s\n"):format(phase.name, first_line(note)))
    end
  end
  local why = device.message and ": " .. first_line(device.message) or ""
  terminal.write(("%s%s\n"):format(MARKS[device.outcome], why))
end

local function print_report(options, report)
  if options.json then
    return output.json(report)
  end
  terminal.write(("%s  (%s)\n"):format(output.printable(report.name), report.file))
  local passed = 0
  for _, device in ipairs(report.devices) do
    print_device(device)
    passed = passed + (device.outcome == "passed" and 1 or 0)
  end
  terminal.write(("\n%d of %d devices passed in %.1f s\n"):format(passed, #report.devices,
    report.ms / 1000))
end

-- --- files ---

local function junit_of(report)
  local suites = {}
  for i, device in ipairs(report.devices) do
    local suite = { name = ("%s %s"):format(report.name, device.serial or device.name) }
    for n, phase in ipairs(device.phases) do
      suite[n] = {
        name = phase.name, class = ("%s.%s"):format(report.name, device.serial or device.name),
        file = report.file, ms = phase.ms, status = phase.outcome,
        message = phase.message or "an earlier phase failed",
      }
    end
    suites[i] = suite
  end
  return junit.document(suites)
end

local function write_files(options, report)
  local ok = true
  for _, file in ipairs {
    { options.junit, junit_of }, { options.html, report_html.page },
  } do
    if file[1] then
      local out <close>, message = terminal.create(file[1])
      local written = out ~= nil
      if written then
        written, message = out:write(file[2](report))
      end
      if not written then
        complain(message)
        ok = false
      end
    end
  end
  return ok
end

-- --- the run ---

local function targets_of(options)
  local targets = {}
  if #options.ports == 0 then
    return nil, "which device? --port PORT, or --port sim for a simulated one "
      .. "(sipeat serial list names the ports)"
  elseif #options.serials > #options.ports then
    return nil, "there are more serial numbers than ports"
  end
  local seen = {}
  for i, port in ipairs(options.ports) do
    if seen[port] and port ~= "sim" then
      return nil, ("%s is named twice"):format(port)
    end
    seen[port] = true
    targets[i] = {
      name = "#" .. i, port = port == "sim" and port or common.port_name(options, port),
      serial = options.serials[i],
    }
  end
  return targets
end

-- Parameters that the file does not know are a mistake.
local function unknown_parameter()
  for name in pairs(state.with) do
    if state.parameters[name] == nil then
      return ("the plan has no parameter %s"):format(name)
    end
  end
end

-- The plan as the command line wants it; or nil, message, exit code.
local function plan_of(options)
  if not state.plan then
    return nil, ("%s declares no bench.plan"):format(options.file), SCRIPT
  elseif #state.phases == 0 then
    return nil, ("%s declares no bench.phase"):format(options.file), SCRIPT
  end
  local wrong = unknown_parameter()
  local plan, settings
  if not wrong then
    plan, wrong = run.adjusted(state.plan, options)
  end
  if not wrong then
    settings, wrong = common.settings(options.set, plan.settings)
  end
  if wrong then
    return nil, wrong, USAGE
  elseif not settings then
    return nil, "no settings", USAGE
  end
  return plan
end

local function progress(device, text)
  terminal.status(("%s  %s  %s"):format(device.name, device.port, output.printable(text)))
end

--- Returns the exit code.
function M.run(options)
  local targets, message = targets_of(options)
  local _
  if targets then
    _, message = common.settings(options.with, state.with, true)
  end
  if message then
    complain(message)
    return USAGE
  end
  local script <close>, why = options.load(options.file)
  if not script then
    complain(why)
    return SCRIPT
  end
  local plan, wrong, code = plan_of(options)
  if not plan then
    complain(wrong)
    return code
  end
  local report, interrupted = run.run(plan, state.phases, targets, {
    file = options.file, progress = progress, yes = options.yes, operator = options.operator,
    pattern = options.keyword, keep_going = options.keep_going,
    parameters = next(state.parameters) and state.parameters or nil,
  })
  terminal.status ""
  print_report(options, report)
  if interrupted then
    return FAILED
  end
  local written = write_files(options, report)
  return written and report.outcome == "passed" and OK or FAILED
end

return M
