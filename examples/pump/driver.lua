--- A driver for a board that sipeat does not know: a pump for syrup, in a page.
--
-- A frame is 02, the length of what it says, what it says, and the XOR of all. The board says "?"
-- five times a second and stops its motor unless it hears "!" within 100 ms. It is told "V", "C"
-- (how many ml it has pumped) and "D" with a number of ml; later it says "F" by itself.
local serial = require "sipeat.serial"

local FRAMING = { kind = "length", start = "\2", at = 1, extra = 3, check = "xor8", max = 64 }

local M = {}

local Pump = {}
Pump.__index = Pump

function M.frame(says)
  local bytes = "\2" .. string.char(#says) .. says
  return bytes .. serial.checksum("xor8", bytes)
end

-- What it says to that: the rest behind the letter.
function Pump:ask(says, deadline)
  local letter = says:sub(1, 1)
  local frame, message, code = self.line:ask(M.frame(says), deadline)
  if not frame then
    return nil, message, code
  elseif frame:sub(3, 3) ~= letter then
    return nil, ("asked for %s, the pump said %q"):format(letter, frame:sub(3)), "BAD_DATA"
  end
  return frame:sub(4)
end

function Pump:counter()
  local text, message, code = self:ask("C", "1s")
  return text and math.tointeger(text), message, code
end

--- Opens the pump, and asks who it is. A line that is kept outlives a reload of the script.
function M.open(port, patience)
  local line, message, code = serial.open { port = port, framing = FRAMING, keep = true }
  if not line then
    return nil, message, code
  end
  local self = setmetatable({ line = line, patience = patience or "10s" }, Pump)
  local ok
  ok, message, code = line:answer("\2\1?", M.frame "!") -- in C: no script is that punctual
  if ok then
    self.version, message, code = self:ask("V", "1s")
  end
  if not self.version then
    line:close()
    return nil, message, code
  end
  return self
end

-- Waits for what the board says by itself; other frames are of no use now.
local function finished(self)
  local frame
  repeat
    frame = self.line:frame(self.patience)
  until not frame or frame:sub(3, 3) == "F"
  return frame
end

--- Pumps: "done", or nil with a code. NOT_SENT and REFUSED: nothing came out. UNKNOWN: it may have.
function Pump:dose(ml)
  local before, message = self:counter()
  if not before then
    return nil, message, "NOT_SENT"
  end
  local answer = self:ask(("D%d"):format(ml), "1s") -- said once; without an answer it may be heard
  if answer and answer ~= "" then
    return nil, "the pump refuses: " .. answer, "REFUSED"
  elseif finished(self) then
    return "done"
  end
  local after = self:counter()
  if after and after == before + ml then
    return "done"
  end
  return nil, "the pump did not say that it was done", "UNKNOWN"
end

return M
