--- The pump itself, for those who have none: a script that plays the board.
local serial = require "sipeat.serial"
local task = require "sipeat.task"

local M = {}

local function say(line, says)
  local bytes = "\2" .. string.char(#says) .. says
  return line:write(bytes .. serial.checksum("xor8", bytes))
end

-- One thing that it was told; `board.fault` makes it go wrong.
local function obey(board, says)
  local letter, ml = says:sub(1, 1), math.tointeger(says:sub(2)) or 0
  board.heard[#board.heard + 1] = says
  if letter == "V" then
    say(board.line, "VSYRUP 1.2")
  elseif letter == "C" then
    say(board.line, "C" .. board.pumped)
  elseif letter == "D" and ml > board.most then
    say(board.line, "Dtoo much")
  elseif letter == "D" and board.fault == "deaf" then
    board.fault = nil -- it did not understand, and says nothing
  elseif letter == "D" then
    board.pumped = board.pumped + ml
    say(board.line, "D")
    if board.fault ~= "silent" then
      say(board.line, "F" .. ml)
    end
  end
end

local Board = {}
Board.__index = Board

--- A fifth of a second of its life: it asks for a sign of life, and does what it is told.
function Board:turn()
  say(self.line, "?")
  local ends = task.monotonic_ms() + 200
  repeat
    local note, _, code = self.line:next(math.ceil(math.max(0, ends - task.monotonic_ms())) .. "ms")
    if note and note.name == "frame" then
      obey(self, note.bytes:sub(3))
    end
  until not note and code ~= "ETIMEDOUT" or task.monotonic_ms() >= ends
  return not self.line:state().closed
end

--- A new one: `path` is where a host finds it, `heard` what it was told, "!" included.
function M.new(link)
  local line, message, code = serial.simulate {
    link = link,
    framing = { kind = "length", start = "\2", at = 1, extra = 3, check = "xor8", max = 64 },
  }
  if not line then
    return nil, message, code
  end
  return setmetatable({ line = line, path = line.path, pumped = 0, most = 200, heard = {} }, Board)
end

return M
