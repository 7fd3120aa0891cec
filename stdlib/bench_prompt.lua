--- The operator of a hardware test: one person for all devices, asked one question at a time.
--
-- With --yes nobody is asked, and a question takes its default. Without a terminal and without
-- --yes a question fails, as an answer that nobody gave is none.
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local turn = task.semaphore(1)
local reader, all_default

--- Before anything is asked: whether questions take their default.
function M.set(yes)
  all_default = yes
end

local function next_line()
  if not reader then
    local message
    reader, message = terminal.open "-"
    if not reader then
      return nil, message
    end
  end
  while true do
    local line, message, code = reader:poll()
    if line ~= true then
      return line, message, code
    end
  end
end

-- Asks until `accept(answer)` gives a value.
local function ask(text, default, accept)
  terminal.status ""
  while true do
    terminal.note(text)
    local line, message, code = next_line()
    if not line then
      local why = "nobody is there to answer: give --yes, or what is asked for as an option"
      return nil, message or why, code or "NO_OPERATOR"
    end
    line = line:match "^%s*(.-)%s*$"
    if line == "" then
      line = default
    end
    local value, why = nil, "an answer is needed"
    if line ~= nil then
      value, why = accept(line)
    end
    if value ~= nil then
      return value
    end
    terminal.note("  " .. why)
  end
end

--- Asks one person. accept(answer) -> value, or nil and what is wrong with the answer. `default` is
--- an answer or nil. Returns the value; or nil, message, code ("NO_OPERATOR": nobody answers).
function M.ask(text, default, accept)
  if all_default then
    if default == nil then
      return nil, ("%s: there is no default, and --yes asks nobody"):format(
        sys.utf8_clean(text)), "NO_OPERATOR"
    end
    local value, why = accept(default)
    return value, why, value == nil and "EINVAL" or nil
  end
  return turn:with(ask, default ~= nil and ("%s [%s]"):format(text, default) or text, default,
    accept)
end

--- The operator's terminal is left alone from here on.
function M.close()
  if reader then
    reader:close()
    reader = nil
  end
end

return M
