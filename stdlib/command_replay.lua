--- `sipeat replay FILE [SCRIPT]`: a recorded chain on today's script, and where the two part.
local export = require "sipeat.chain_export"
local json = require "sipeat.json"
local object = require "sipeat.chain_object"
local output = require "sipeat.command_output"
local replay = require "sipeat.replay"
local scripts = require "sipeat.replay_script"
local show = require "sipeat.command_chains_show"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, SCRIPT = 0, 1, 2, 3
local COLUMNS = 100

local TEXTS = {
  new = "new: the recording has no such step", missing = "missing: it was run then",
  arguments = "other arguments", key = "another idempotency key", outcome = "another outcome",
  order = "another order",
}

local function complain(message)
  terminal.note("sipeat replay: " .. output.printable(message))
end

local function shown(value)
  if value == nil then
    return "nothing"
  end
  return show.value(object.masked(value), COLUMNS)
end

local function print_part(part)
  terminal.write(("    %s\n"):format(TEXTS[part.kind]))
  if part.kind ~= "new" then
    terminal.write(("      recorded  %s\n"):format(shown(part.recorded)))
  end
  if part.kind ~= "missing" then
    terminal.write(("      now       %s\n"):format(shown(part.now)))
  end
end

local function print_report(report)
  for _, step in ipairs(report.steps) do
    terminal.write(("  %s %s\n"):format(#step.parts == 0 and "=" or "≠",
      output.printable(step.step)))
    for _, part in ipairs(step.parts) do
      print_part(part)
    end
  end
  for _, part in ipairs(report.parts) do
    print_part(part)
  end
  for _, one in ipairs(report.outputs) do
    terminal.write(("  would send: %s\n"):format(shown(one)))
  end
  local outcome = report.outcome
  terminal.write(("recorded: %s; now: %s%s\n"):format(outcome.recorded, outcome.now,
    outcome.message and " (" .. show.short(outcome.message, COLUMNS) .. ")" or ""))
  terminal.write(report.same and "the same\n" or "they part\n")
end

-- The script's bytes: of the path, else as the journal had it.
local function blob_of(options, recorded)
  if options.step then
    return scripts.blob(options.step)
  elseif recorded.files then
    return recorded.files
  end
  return nil, "the file does not have the script: name one, sipeat replay FILE SCRIPT", "USAGE"
end

-- The report; or nil, message, code.
local function run(options)
  local text, message, code = sys.read_file(options.id)
  if not text then
    return nil, message, code
  end
  local recorded
  recorded, message, code = export.read(text)
  if not recorded then
    return nil, options.id .. ": " .. message, code
  end
  local blob
  blob, message, code = blob_of(options, recorded)
  if not blob then
    return nil, message, code == "USAGE" and code or "SCRIPT"
  end
  local outputs = json.array {}
  scripts.cut_off(outputs)
  local flow
  flow, message, code = scripts.flow(blob, recorded.run.flow, recorded.run.topic)
  if not flow then
    return nil, message, code == "NO_FLOW" and code or "SCRIPT"
  end
  return replay.run(recorded, flow, outputs)
end

--- Returns the exit code.
function M.run(options)
  local report, message, code = run(options)
  if not report then
    complain(message)
    return code == "SCRIPT" and SCRIPT or code == "USAGE" and USAGE or FAILED
  elseif options.json then
    json.array(report.steps)
    json.array(report.parts)
    for _, step in ipairs(report.steps) do
      json.array(step.parts)
    end
    output.json(report)
  else
    print_report(report)
  end
  return report.same and OK or FAILED
end

return M
