--- Draws one run for people: its event, its timeline, what was said of it, and what can be said.
local json = require "sipeat.json"
local output = require "sipeat.command_output"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local VALUE_COLUMNS = 100
local LABEL_COLUMNS = 24
local COLOURS = { good = "32", bad = "31", doubt = "33", person = "36", faint = "2" }

--- At most that many columns of it, without control bytes.
function M.short(text, columns)
  text = output.printable(text or "")
  return utf8.len(text) > columns and text:sub(1, utf8.offset(text, columns) - 1) .. "…" or text
end

--- A value as JSON, shortened.
function M.value(value, columns)
  return M.short(json.encode(value) or "?", columns)
end

local function shown(value)
  return value ~= nil and M.value(value, VALUE_COLUMNS) or nil
end

local function took(ms)
  if ms < 1000 then
    return ("%d ms"):format(ms)
  elseif ms < 120000 then
    return ("%.1f s"):format(ms / 1000)
  elseif ms < 2 * 3600000 then
    return ("%.1f min"):format(ms / 60000)
  end
  return ("%.1f h"):format(ms / 3600000)
end

-- --- the timeline ---

-- What begins and what ends it is one line, if nothing else came in between.
local function merged(timeline)
  local list, begun = {}, {}
  for _, moment in ipairs(timeline) do
    local last = moment.step and begun[moment.step]
    if (moment.phase == "outcome" or moment.phase == "undo_outcome") and last
      and list[#list] == last then
      last.status, last.duration_ms, last.result = moment.status, moment.duration_ms, moment.result
      last.message, last.ended = moment.message, true
    else
      local line = {}
      for name, value in pairs(moment) do
        line[name] = value
      end
      list[#list + 1] = line
      begun[moment.step or ""] = line
    end
  end
  return list
end

local KIND = {
  done = "good", undone = "good", unknown = "doubt", ["failed, in doubt"] = "doubt",
  failed = "bad", ["not undone"] = "bad", begun = "doubt", ["undo begun"] = "doubt",
  skipped = "faint",
}
local MARKS = { good = "●", bad = "✗", doubt = "?", person = "▲", faint = "○" }

local function words_of(line)
  local undo = line.phase:find "^undo" and line.status == "undone" and "" or nil
  local parts = { undo or "", line.status or "" }
  if line.duration_ms then
    parts[#parts + 1] = "in " .. took(line.duration_ms)
  end
  if line.attempt and line.attempt > 1 then
    parts[#parts + 1] = ("(attempt %d)"):format(line.attempt)
  end
  return (table.concat(parts, " "):gsub("^%s+", ""))
end

local PHASE_KINDS = { sleep = "faint", wait = "faint", signal = "good", state = "faint" }

-- { at, kind, label, words, details }
local function step_line(line)
  local details = {}
  details[#details + 1] = shown(line.args)
  if line.result ~= nil then
    details[#details + 1] = "→ " .. shown(line.result)
  end
  details[#details + 1] = line.message and M.short(line.message, VALUE_COLUMNS)
  return {
    at = line.at, kind = KIND[line.status] or "faint", label = line.step, words = words_of(line),
    details = table.concat(details, " "),
  }
end

local function other_line(line)
  local what = line.place:match "([^/]+)$" or line.place
  return {
    at = line.at, kind = line.message and "bad" or PHASE_KINDS[line.phase] or "faint",
    label = line.phase == "state" and what or line.phase,
    words = line.phase == "state" and (line.value == nil and not line.message and "cleared" or "")
      or what,
    details = line.message and M.short(line.message, VALUE_COLUMNS) or shown(line.value) or "",
  }
end

local function lines_of(run)
  local lines = {}
  for i, line in ipairs(merged(run.timeline)) do
    lines[i] = line.step and step_line(line) or other_line(line)
    lines[i].order = i
  end
  for _, said in ipairs(run.audit) do
    lines[#lines + 1] = {
      at = said.at, kind = "person", label = said.verb, words = "by " .. output.printable(said.who),
      details = M.short(said.why, VALUE_COLUMNS), order = 0, -- before what it wrote
    }
  end
  table.sort(lines, function(a, b)
    if a.at ~= b.at then
      return a.at < b.at
    elseif a.order ~= b.order then
      return a.order < b.order
    end
    return a.label < b.label
  end)
  return lines
end

local function print_timeline(run, paint)
  local began = sys.parse_time(run.began)
  local width = 0
  local lines = lines_of(run)
  for _, line in ipairs(lines) do
    line.label = M.short(line.label, LABEL_COLUMNS)
    width = math.max(width, utf8.len(line.label))
  end
  local day
  for _, line in ipairs(lines) do
    if line.at:sub(1, 10) ~= day then
      day = line.at:sub(1, 10)
      terminal.write(("\n  %s\n"):format(day))
    end
    local ms = sys.parse_time(line.at) - began
    local gap = (" "):rep(width - utf8.len(line.label))
    local text = ("  %s  %9s  %s %s%s  %s"):format(line.at:sub(12, 23), "+" .. took(ms),
      paint(line.kind, MARKS[line.kind]), line.label, gap, paint(line.kind, line.words))
    terminal.write((text .. (line.details ~= "" and "  " .. line.details or "")):gsub("%s+$", "")
      .. "\n")
  end
end

-- --- the rest ---

local function print_head(run, paint)
  local state = run.state == "parked" and paint("doubt", run.state) or run.state
  local rows = {
    { "run", run.id }, { "state", state },
    { "why", run.why and output.printable(run.why) }, { "due", run.due },
    { "handled by", run.handled_by }, { "flow", run.flow },
    { "event", ("%s %s"):format(output.printable(run.type), output.printable(run.event_id)) },
    { "record", ("%s partition %d offset %d%s"):format(output.printable(run.topic), run.partition,
      run.offset, run.key and ", key " .. output.printable(run.key) or "") },
    { "began", run.began }, { "changed", run.changed }, { "script", run.script },
  }
  for i = 1, 11 do
    local entry = rows[i]
    if entry[2] then
      terminal.write(("%-11s %s\n"):format(entry[1], entry[2]))
    end
  end
end

local function print_steps(run)
  local rows = {}
  for i, step in ipairs(run.steps) do
    rows[i] = {
      M.short(step.step, LABEL_COLUMNS), step.status, step.attempts,
      step.key and M.short(step.key, 60) or "",
    }
  end
  if #rows > 0 then
    terminal.write "\n"
    output.table({ "STEP", "STATUS", "ATTEMPTS", "IDEMPOTENCY KEY" }, rows)
  end
end

local function print_next(run)
  if #run.next == 0 then
    return
  end
  terminal.write "\nwhat can be said (each with --why TEXT):\n"
  for _, what in ipairs(run.next) do
    terminal.write(("  sipeat chains %s %s%s  # %s\n"):format(what.verb, run.id,
      what.step and " " .. what.step or "", what.text))
  end
end

--- Prints the object of sipeat.chain_object.full.
function M.print(run, coloured)
  local function paint(kind, text)
    return coloured and text ~= "" and ("\27[%sm%s\27[0m"):format(COLOURS[kind], text) or text
  end
  print_head(run, paint)
  print_timeline(run, paint)
  print_steps(run)
  print_next(run)
end


return M
