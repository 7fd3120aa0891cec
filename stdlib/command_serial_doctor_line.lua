--- The part of `sipeat serial doctor` that listens and sends: wrong speed, echo, loopback.
local common = require "sipeat.command_serial"
local monitor = require "sipeat.command_serial_monitor"
local opts = require "sipeat.opts"
local serial = require "sipeat.serial"
local show = require "sipeat.command_serial_show"
local sys = require "sipeat.core.sys"

local M = {}

local LISTEN = "2s"
local SPEEDS = { 9600, 115200, 57600, 38400, 19200, 4800, 2400, 1200 }
local GOOD = 0.9 -- of the bytes make sense
local HEARD = 4096 -- bytes are enough
local ENOUGH = 8 -- bytes, to say anything of a speed

-- What comes within that time at that speed; or nil, message.
local function hear(self, baud, time)
  local line <close>, message = serial.open(common.line_options(
    self.options, self.options.operand, { baud = baud, reopen = false }))
  if not line then
    return nil, message
  end
  return common.hear(line, opts.duration_ms(time), function(got)
    return #got >= HEARD
  end)
end

-- The speed at which what comes makes most sense.
local function best_speed(self, baud, time, describe)
  local best, best_sense = nil, 0
  for _, speed in ipairs(SPEEDS) do
    local bytes = speed ~= baud and hear(self, speed, time)
    local sense = bytes and #bytes >= ENOUGH and show.sense(bytes, describe) or 0
    if sense > best_sense then
      best, best_sense = speed, sense
    end
  end
  return best_sense >= GOOD and best or nil
end

--- Does anything arrive by itself, and does it make sense at this speed?
function M.listen(self)
  local time = self.options.listen or LISTEN
  local baud = common.line_options(self.options, self.options.operand).baud
  local describe = monitor.describer(self.options.protocol)
  local bytes, message = hear(self, baud, time)
  if not bytes then
    return self:say("bad", "listen", message)
  elseif bytes == "" then
    return self:say(self.options.protocol and "warn" or "ok", "listen",
      ("nothing came within %s"):format(time),
      "many boards speak only when asked: sipeat serial identify, or --protocol NAME; else look "
      .. "at power, ground, and whether TX and RX are crossed")
  end
  local what = ("%d bytes: %s"):format(#bytes, show.hex(bytes:sub(1, 12)))
  if show.sense(bytes, describe) >= GOOD then
    return self:say("ok", "listen", what)
  end
  local better = best_speed(self, baud, time, describe)
  if better then
    return self:say("bad", "speed", what .. (", which makes no sense at %d baud"):format(baud),
      ("at %d baud it does: use --baud %d"):format(better, better))
  end
  self:say(describe and "bad" or "warn", "speed",
    what .. (", which makes no sense at %d baud"):format(baud),
    "no other usual speed is better: look at --bits and --parity, ground, and swapped A and B")
end

--- Whether what we send comes back by itself: an adapter that echoes, or TX and RX joined. Sends
--- one byte of a kind that begins no order of any protocol here.
function M.wiring(self)
  local line <close>, message = serial.open(
    common.line_options(self.options, self.options.operand, { reopen = false }))
  if not line then
    return self:say("bad", "echo", message)
  end
  local ok, why = line:write "\0"
  if not ok then
    return self:say("bad", "echo", why)
  end
  local got = common.hear(line, 300, function(bytes)
    return bytes ~= ""
  end)
  if got == "\0" then
    self:say("warn", "echo", "what is sent comes back: the adapter echoes, or TX and RX touch",
      "a two-wire adapter does that: tell the protocol, as in echo=true; or look at the wires")
  else
    self:say("note", "echo", "what is sent does not come back")
  end
end

-- What is missing from the bytes that came back, in words.
local function explain(sent, got)
  if got == "" then
    return "nothing came back", "are TX and RX joined at the far end of the cable?"
  elseif got:gsub("\n", "\r") == sent:gsub("\n", "\r") then
    return "CR and LF were changed on the way", "something between translates line ends"
  elseif not got:find "[\17\19]" and #got == #sent - 2 then
    return "11 and 13 (XON, XOFF) are missing", "flow control is on: --flow none"
  elseif #got == #sent then
    return "bytes came back changed", "a ground that is missing, or another --bits or --parity"
  end
  return ("%d of %d bytes came back"):format(#got, #sent),
    "a bad contact, or an adapter that cannot keep this speed: try a lower --baud"
end

--- TX and RX are joined: all 256 bytes must come back.
function M.loopback(self)
  local line <close>, message = serial.open(
    common.line_options(self.options, self.options.operand, { reopen = false }))
  local sent = ""
  for byte = 0, 255 do
    sent = sent .. string.char(byte)
  end
  local ok = line and line:write(sent)
  if not ok then
    return self:say("bad", "loopback", message or "it cannot be written to")
  end
  local began = sys.monotonic_ms()
  local baud = common.line_options(self.options, self.options.operand).baud
  local got, why = common.hear(line, 1000 + #sent * 12000 // baud, function(bytes)
    return #bytes >= #sent
  end)
  if not got then
    return self:say("bad", "loopback", why)
  end
  if got == sent then
    return self:say("ok", "loopback", ("all 256 bytes came back in %.1f ms"):format(
      sys.monotonic_ms() - began))
  end
  local what, advice = explain(sent, got)
  self:say("bad", "loopback", what, advice)
end

return M
