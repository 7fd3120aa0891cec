--- `sipeat serial replay`: a session file shown, or played to a port and compared with what comes
--- back.
local common = require "sipeat.command_serial"
local monitor = require "sipeat.command_serial_monitor"
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local serial = require "sipeat.serial"
local session = require "sipeat.command_serial_session"
local show = require "sipeat.command_serial_show"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local LATE = "1s"

local function started_us(header)
  return (sys.parse_time(header.started or "") or 0) * 1000
end

local function print_session(options, header, entries)
  local view = show.view {
    format = options.format, time = options.time or "start", only = options.only,
    filter = options.filter, hide = options.hide, colour = monitor.colours(options),
    describe = monitor.describer(options.protocol or header.protocol),
  }
  local wall = started_us(header)
  for _, entry in ipairs(entries) do
    local at = { start = entry.t_us, wall = wall + entry.t_us }
    local text = entry.link and view:note(at, entry.link)
      or view:add(entry.dir, at, entry.bytes)
    if not terminal.write(text) then
      return common.OK -- the reader has gone
    end
  end
  terminal.write(view:flush())
  return common.OK
end

-- Reads what comes in until `want` bytes are there or the time is over.
local function await(self, want)
  local got, message, code = common.hear(self.line, self.late_ms, function(bytes)
    return #self.got + #bytes >= want
  end)
  self.got = self.got .. (got or "")
  return got and true, message, code
end

-- Where two texts part: the first byte that differs, or nil.
local function difference(expected, got)
  for i = 1, #expected do
    if expected:byte(i) ~= got:byte(i) then
      return i
    end
  end
end

local function compare(self)
  local at = difference(self.expected, self.got)
  if not at then
    terminal.note(("sipeat serial replay: %d bytes sent; all %d that came then came again")
      :format(self.sent, #self.expected))
    return common.OK
  end
  terminal.note(("sipeat serial replay: byte %d of %d parts: %s came then, %s now"):format(
    at, #self.expected, show.hex(self.expected:sub(at, at + 7)),
    at > #self.got and "nothing" or show.hex(self.got:sub(at, at + 7))))
  return common.FAILED
end

-- An entry that is ours waits for its time, and for what had come before it.
local function play(self, entries)
  local began_ms = sys.monotonic_ms()
  for _, entry in ipairs(entries) do
    if entry.dir == self.ours then
      local ok, message, code = await(self, #self.expected)
      if not ok then
        return nil, message, code
      end
      local wait = entry.t_us / 1000 / self.speed - (sys.monotonic_ms() - began_ms)
      if wait >= 1 then
        ok, message, code = task.sleep(math.floor(wait) .. "ms")
      end
      if ok then
        ok, message, code = self.line:write(entry.bytes)
      end
      if not ok then
        return nil, message, code
      end
      self.sent = self.sent + #entry.bytes
    elseif entry.bytes then
      self.expected = self.expected .. entry.bytes
    end
  end
  return await(self, #self.expected)
end

local function play_to(options, header, entries)
  options.protocol = options.protocol or header.protocol
  options.baud = options.baud or header.baud
  local line <close>, message = serial.open(
    common.line_options(options, options.second, { reopen = false }))
  if not line then
    common.complain(options, message)
    return common.FAILED
  end
  local self = {
    line = line, ours = options.as == "board" and "in" or "out", speed = options.speed or 1,
    late_ms = opts.duration_ms(options.answer or LATE), sent = 0, expected = "", got = "",
  }
  local ok, code
  ok, message, code = play(self, entries)
  if not ok then
    common.complain(options, message)
    return code == "ECANCELED" and common.OK or common.FAILED
  end
  return compare(self)
end

local function bytes_of(entries, direction)
  local sum = 0
  for _, entry in ipairs(entries) do
    sum = sum + (entry.dir == direction and #entry.bytes or 0)
  end
  return sum
end

-- What the host sent may have been orders: a person says that they may go out again.
local function may_send(options, entries)
  if options.yes or options.as == "board" then
    return true
  end
  local answer = terminal.ask(("This sends the %d bytes that the host sent, orders to dispense "
    .. "included, to %s.\nType yes to go on: "):format(bytes_of(entries, "out"), options.second))
  return answer == "yes"
end

--- Returns the exit code.
function M.run(options)
  local text, message = sys.read_file(options.operand)
  local header, entries
  if text then
    header, entries = session.parse(text)
    message = not header and ("%s: %s"):format(options.operand, entries) or nil
  end
  if not header then
    common.complain(options, output.printable(message))
    return common.FAILED
  elseif options.protocol == nil and header.protocol and not common.protocol(header.protocol) then
    header.protocol = nil
  end
  if not options.second then
    return print_session(options, header, entries)
  elseif not may_send(options, entries) then
    common.complain(options, "nothing was sent")
    return common.FAILED
  end
  return play_to(options, header, entries)
end

return M
