--- `sipeat serial list`: the ports of this machine, and with --watch what comes and goes.
local output = require "sipeat.command_output"
local serial = require "sipeat.serial"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED = 0, 1
local EVERY = "500ms"

local function identity(port)
  if not port.vid then
    return "-"
  end
  return ("%04x:%04x"):format(port.vid, port.pid or 0)
end

local function cell(value)
  return value and value ~= "" and output.printable(tostring(value)) or "-"
end

local function row(port)
  return {
    cell(port.path), identity(port), cell(port.serial), cell(port.driver), cell(port.holder),
    cell(port.description), cell(port.by_id or port.by_path),
  }
end

-- What of a port is worth a line when it changes.
local function key(port)
  return table.concat({ port.path, identity(port), cell(port.serial), cell(port.holder) }, "\0")
end

local function print_all(options, ports)
  local rows = {}
  for i, port in ipairs(ports) do
    if options.json then
      output.json(port)
    end
    rows[i] = row(port)
  end
  if options.json then
    return
  elseif #rows == 0 then
    terminal.note "sipeat serial list: there are no serial ports; is the adapter plugged in?"
  else
    output.table(
      { "PORT", "USB", "SERIAL", "DRIVER", "HELD BY", "DESCRIPTION", "STABLE NAME" }, rows)
  end
end

local function tell(options, what, port)
  if options.json then
    local object = { event = what }
    for name, value in pairs(port) do
      object[name] = value
    end
    return output.json(object)
  end
  local parts = row(port)
  return terminal.write(("%s  %-8s  %s  %s  %s  held by %s\n"):format(
    os.date "%H:%M:%S", what, parts[1], parts[2], parts[6], parts[5]))
end

local function by_path(ports)
  local map = {}
  for _, port in ipairs(ports) do
    map[port.path] = port
  end
  return map
end

local function differences(options, before, now)
  for path, port in pairs(before) do
    if not now[path] then
      tell(options, "gone", port)
    end
  end
  for path, port in pairs(now) do
    if not before[path] then
      tell(options, "new", port)
    elseif key(before[path]) ~= key(port) then
      tell(options, "changed", port)
    end
  end
end

local function watch(options, ports)
  local before = by_path(ports)
  while terminal.flush() and task.sleep(EVERY) do
    local list = serial.list()
    if list then
      local now = by_path(list)
      differences(options, before, now)
      before = now
    end
  end
  return OK -- Ctrl-C, or the reader has gone
end

--- Returns the exit code.
function M.run(options)
  local ports, message = serial.list()
  if not ports then
    terminal.note("sipeat serial list: " .. message)
    return FAILED
  end
  print_all(options, ports)
  return options.watch and watch(options, ports) or OK
end

return M
