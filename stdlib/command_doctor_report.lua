--- How the doctors say what they found: a line for each check, what to do below it, JSON on demand.
local output = require "sipeat.command_output"
local terminal = require "sipeat.core.terminal"

local M = {}

local MARKS = { ok = "ok      ", bad = "wrong   ", warn = "careful ", note = "        " }

local Report = {}
Report.__index = Report

--- Says what came of a check. `state` is "ok", "bad", "warn" or "note"; `advice` what to do.
function Report:say(state, check, text, advice)
  self.worst = (state == "bad" or self.worst == "bad") and "bad" or self.worst
  if self.options.json then
    return output.json { check = check, state = state, text = text, advice = advice }
  end
  terminal.write(("%s%-11s %s\n"):format(MARKS[state], check, output.printable(text)))
  if advice then
    terminal.write(("%s%-11s -> %s\n"):format(MARKS.note, "", output.printable(advice)))
  end
  terminal.flush()
end

--- The last line: `all` when nothing is wrong. Returns the exit code.
function Report:close(all)
  if self.worst == "ok" and not self.options.json then
    terminal.write(all .. "\n")
  end
  return self.worst == "ok" and 0 or 1
end

--- A report of a verb with these options.
function M.new(options)
  return setmetatable({ options = options, worst = "ok" }, Report)
end

return M
