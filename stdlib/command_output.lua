--- How the verbs print: tables, JSON lines, text from outside without control bytes.
local json = require "sipeat.json"
local terminal = require "sipeat.core.terminal"

local M = {}

--- As command_text has it.
M.printable = require("sipeat.command_text").printable

-- Columns that a text takes: one for each character.
local function width(text)
  return utf8.len(text) or #text
end

--- Rows of texts and numbers under a heading, as lines; columns with numbers stand at the right.
function M.table(heading, rows)
  local widths, numbers, lines = {}, {}, {}
  table.insert(rows, 1, heading)
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, width(tostring(cell)))
      numbers[i] = numbers[i] or math.type(cell) == "integer"
    end
  end
  for n, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local text = tostring(cell)
      local gap = (" "):rep(widths[i] - width(text))
      cells[i] = numbers[i] and gap .. text or text .. gap
    end
    lines[n] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return terminal.write(table.concat(lines, "\n") .. "\n")
end

--- One JSON object on a line.
function M.json(value)
  local text, message, code = json.encode(value)
  if not text then
    return nil, message, code
  end
  return terminal.write(text .. "\n")
end

--- Asks for `name` to be typed. False when something else is, or when nobody is there to ask.
function M.confirm(what, name)
  local answer = terminal.ask(("This changes %s.\nType its name to go on: "):format(what))
  return answer == name
end

return M
