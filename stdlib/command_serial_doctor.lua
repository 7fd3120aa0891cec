--- `sipeat serial doctor`: why a port does not work. Checks from the file up to the board; each
--- says what to do.
local common = require "sipeat.command_serial"
local identify = require "sipeat.command_serial_identify"
local lines = require "sipeat.command_serial_doctor_line"
local opts = require "sipeat.opts"
local report = require "sipeat.command_doctor_report"
local serial = require "sipeat.serial"
local sys = require "sipeat.core.sys"

local M = {}

local SLOW_LATENCY_MS = 4 -- of an FTDI adapter; its default is 16

local function is_network(port)
  return port:find "^%w+://" ~= nil
end

local function names_of(ports)
  local names = {}
  for i, port in ipairs(ports) do
    names[i] = port.path
  end
  return names
end

-- The file is there and is a terminal.
local function check_file(self, port)
  local facts = self.options.facts(port)
  if not facts.exists then
    local names = names_of(serial.list() or {})
    local near = opts.nearest(port, names)
    self:say("bad", "port", ("%s: %s"):format(port, facts.error),
      near and ("did you mean %s?"):format(near)
        or #names > 0 and "there are: " .. table.concat(names, ", ")
        or "no serial port is there: plug the adapter in, and look with sipeat serial list --watch")
    return nil
  elseif facts.kind == "other" then
    self:say("bad", "port", port .. " is no serial port",
      "sipeat serial list names those there are")
    return nil
  end
  local through = facts.path ~= port and (" (%s)"):format(facts.path) or ""
  self:say("ok", "port", port .. through
    .. (facts.kind == "terminal" and ", a pseudo-terminal" or ""))
  return facts
end

local function check_permission(self, port, facts)
  if facts.readable and facts.writable then
    self:say("ok", "permission", ("%s may open it"):format(facts.user))
    return true
  end
  local advice = ("sudo usermod -aG %s %s, then log out and in again"):format(
    facts.group, facts.user)
  if facts.member or facts.mode & 0x30 ~= 0x30 then -- 060: the group's
    advice = ("its mode is %04o and its owner %s: a udev rule gives it to a group"):format(
      facts.mode, facts.owner)
  end
  self:say("bad", "permission", ("%s may not open %s (group %s)"):format(
    facts.user, port, facts.group), advice)
  return false
end

-- What serial.list knows of that file.
local function entry_of(facts)
  for _, port in ipairs(serial.list() or {}) do
    if port.path == facts.path then
      return port
    end
  end
end

local function check_holder(self, entry)
  if not entry or not entry.holder then
    return true
  end
  local advice = "end it, or let it work through: sipeat serial monitor PORT --through OTHER"
  if tostring(entry.holder):find "ModemManager" then
    advice = "ModemManager probes new ports: sudo systemctl disable --now ModemManager"
  end
  self:say("bad", "holder", ("%s has it open"):format(entry.holder), advice)
  return false
end

local function check_name(self, entry)
  if not entry then
    return
  elseif entry.serial and entry.by_id then
    self:say("ok", "name", "stable: " .. entry.by_id)
  elseif entry.by_path then
    self:say("warn", "name", "the adapter has no serial number: two of them look the same",
      ("name it by its socket, %s, and let the board be identified"):format(entry.by_path))
  end
end

local function check_latency(self, facts)
  local tty = facts.path:match "([^/]+)$"
  local text = sys.read_file(("/sys/bus/usb-serial/devices/%s/latency_timer"):format(tty))
  local ms = text and tonumber(text)
  if ms and ms > SLOW_LATENCY_MS then
    self:say("warn", "latency", ("the adapter holds bytes back for up to %d ms"):format(ms),
      "opening it with sipeat asks for low latency; for other programs: setserial "
      .. facts.path .. " low_latency")
  elseif ms then
    self:say("ok", "latency", ("%d ms"):format(ms))
  end
end

-- Everything that is known without opening it. False: opening makes no sense.
local function before_opening(self, port)
  local facts = check_file(self, port)
  if not facts or not check_permission(self, port, facts) then
    return false
  end
  local entry = entry_of(facts)
  check_name(self, entry)
  check_latency(self, facts)
  return check_holder(self, entry)
end

local function check_open(self, port)
  local line, message, code = serial.open(
    common.line_options(self.options, port, { reopen = false }))
  if line then
    line:close()
    self:say("ok", "open", ("opened at %d baud"):format(
      common.line_options(self.options, port).baud))
    return true
  end
  self:say("bad", "open", message, code == "EBUSY"
    and "stop that program, or wait until it is done" or nil)
  return false
end

local function check_board(self)
  local name = self.options.protocol
  local board, message = identify.ask(self.options, name, self.options.timeout or "3s")
  if board and board.ok ~= false then
    local id = tostring(board.id or "")
    self:say("ok", "board", ("it answers as %s%s"):format(name, id ~= "" and " " .. id or ""))
    return true
  end
  self:say("bad", "board", ("it does not answer in %s: %s"):format(
    name, message or board.reason or "it refused"))
  return false
end

--- Returns the exit code.
function M.run(options)
  local self = report.new(options)
  local port = options.operand
  local may = is_network(port) or before_opening(self, port)
  if may and check_open(self, port) then
    if options.loopback then
      lines.loopback(self)
    elseif not options.protocol then
      lines.listen(self)
    elseif not check_board(self) then
      lines.listen(self)
      lines.wiring(self)
    end
  end
  return self:close "Nothing is wrong with it."
end

return M
