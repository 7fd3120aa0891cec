--- `sipeat serial monitor`: every byte on a line, as it comes.
local common = require "sipeat.command_serial"
local pump = require "sipeat.command_serial_pump"
local serial = require "sipeat.serial"
local show = require "sipeat.command_serial_show"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local PATIENCE_US = 250000 -- for the rest of a frame
local LOOK = "100ms"

--- How frames of a protocol are put into words; nil without one.
function M.describer(name)
  return name and function(bytes, from_host)
    local words, used = serial.describe(name, bytes, from_host)
    return used, words
  end
end

--- Whether colours are wanted.
function M.colours(options)
  if options.colour == "always" or options.colour == "never" then
    return options.colour == "always"
  end
  return terminal.is_terminal "stdout" and not sys.getenv "NO_COLOR"
end

local Monitor = {}
Monitor.__index = Monitor

local function view(options, colour)
  return show.view {
    format = options.format, time = options.time, only = options.only, filter = options.filter,
    hide = options.hide, colour = colour, describe = M.describer(options.protocol),
  }
end

local function print_out(self, text, plain)
  local ok, message, code = true, nil, nil
  if text ~= "" then
    ok, message, code = terminal.write(text)
    ok = ok and terminal.flush()
    if not ok and message == nil then
      message, code = "the reader has gone", "EPIPE"
    end
  end
  if ok and self.log and plain ~= "" then
    ok, message, code = self.log:write(plain)
  end
  return ok, message, code
end

function Monitor:bytes(direction, at, bytes)
  local text = self.view:add(direction, at, bytes)
  local plain = self.log and self.plain:add(direction, at, bytes) or ""
  local ok, message, code = print_out(self, text, plain)
  if ok and self.options.max and self.view.frames >= self.options.max then
    self.pump:stop(true)
  end
  return ok, message, code
end

function Monitor:link(at, text)
  if self.options.bell then
    terminal.ring()
  end
  print_out(self, self.view:note(at, text), self.log and self.plain:note(at, text) or "")
end

-- What waits for the rest of its frame is shown when that does not come.
local function look(self)
  while task.sleep(LOOK) do
    local before = self.pump:at().start - PATIENCE_US
    print_out(self, self.view:flush(before), self.log and self.plain:flush(before) or "")
  end
end

local function typed_bytes(options, line)
  local hex = line:match "^:hex%s+(.*)$"
  if hex then
    local bytes = show.unhex(hex)
    return bytes, not bytes and "two digits a byte, as in \":hex FA FB\"" or nil
  end
  return line .. common.EOL[options.eol or "lf"]
end

--- Sends with the pauses of --byte-delay and --line-delay. true | nil, message, code.
function M.send_slowly(options, bytes, send)
  if not options.byte_delay and not options.line_delay then
    return send(bytes)
  end
  local pattern = options.byte_delay and "." or "[^\n]*\n?"
  for piece in bytes:gmatch(pattern) do
    local ok, message, code = true, nil, nil
    if piece ~= "" then
      ok, message, code = send(piece)
    end
    if ok and options.byte_delay then
      ok, message, code = task.sleep(options.byte_delay)
    end
    if ok and options.line_delay and piece:sub(-1) == "\n" then
      ok, message, code = task.sleep(options.line_delay)
    end
    if not ok then
      return nil, message, code
    end
  end
  return true
end

-- Lines that are typed here go out.
local function typing(self)
  local reader <close>, message = terminal.open "-"
  if not reader then
    return common.complain(self.options, message)
  end
  while true do
    local line, why = reader:poll()
    if type(line) == "string" then
      local bytes
      bytes, why = typed_bytes(self.options, line)
      if bytes then
        local _
        _, why = M.send_slowly(self.options, bytes, function(piece)
          return self.pump:send(piece)
        end)
      end
      if why then
        common.complain(self.options, why)
      end
    elseif not line then
      return why and common.complain(self.options, why)
    end
  end
end

--- Returns the exit code.
function M.run(options)
  local opened, message, reason = pump.open(options)
  if not opened and reason == "ECANCELED" then -- stopped before the port was open
    return common.OK
  elseif not opened then
    common.complain(options, message)
    return common.FAILED
  end
  local self = setmetatable({
    options = options, pump = opened, view = view(options, M.colours(options)),
    plain = options.log and view(options, false),
  }, Monitor)
  if options.log then
    self.log, message = terminal.create(options.log, true)
    if not self.log then
      opened:close()
      common.complain(options, message)
      return common.FAILED
    end
  end
  opened:spawn(look, self)
  if options.interactive then
    opened:spawn(typing, self)
  end
  local ok, code
  ok, message, code = opened:run {
    limit = options["for"],
    on_bytes = function(...)
      return self:bytes(...)
    end,
    on_link = function(...)
      return self:link(...)
    end,
  }
  print_out(self, self.view:flush(), self.log and self.plain:flush() or "")
  if not ok and code ~= "EPIPE" then
    common.complain(options, message)
    return common.FAILED
  end
  return common.OK
end

return M
