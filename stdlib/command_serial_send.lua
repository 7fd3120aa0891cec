--- `sipeat serial send`: text, hex or a file to a port, and what comes back.
local common = require "sipeat.command_serial"
local monitor = require "sipeat.command_serial_monitor"
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local serial = require "sipeat.serial"
local show = require "sipeat.command_serial_show"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local WAIT = "1s" -- for --expect without --answer
local MAX_ANSWER = 1 << 20 -- bytes

local function from_reader(path)
  if path ~= "-" then
    return sys.read_file(path)
  end
  local reader <close>, message = terminal.open "-"
  if not reader then
    return nil, message
  end
  local lines = {}
  while true do
    local line, why = reader:poll()
    if type(line) == "string" then
      lines[#lines + 1] = line .. "\n"
    elseif not line then
      return not why and table.concat(lines) or nil, why
    end
  end
end

-- The bytes to send; or nil and what is wrong with what was given.
local function wanted(options)
  if options.file then
    if options.second then
      return nil, "TEXT and --file are two things to send: give one of them"
    end
    return from_reader(options.file)
  elseif not options.second then
    if options.pulse then
      return ""
    end
    return nil, "TEXT or --file is missing"
  end
  local bytes, message
  if options.hex then
    bytes = show.unhex(options.second)
    message = ("%s is no hex: two digits a byte, as in \"FA FB 42\""):format(
      output.printable(options.second))
  else
    bytes, message = common.unescape(options.second)
  end
  if not bytes then
    return nil, message
  end
  return bytes .. common.EOL[options.eol or "none"]
end

-- DTR or RTS off for a while, then on: boards whose reset hangs on it start anew.
local function pulse(line, options)
  local name, time = options.pulse:match "^(%l+)=(.+)$"
  local ok, message, code = line:lines { [name] = false }
  if ok then
    ok, message, code = task.sleep(time)
  end
  if ok then
    ok, message, code = line:lines { [name] = true }
  end
  return ok, message, code
end

-- What comes back until `expect` is in it or the time is over.
local function answer(line, options)
  return common.hear(line, opts.duration_ms(options.answer or WAIT), function(got)
    return #got >= MAX_ANSWER or options.expect and got:find(options.expect, 1, true) ~= nil
  end)
end

local function print_answer(options, sent, got)
  if options.json then
    return output.json {
      sent = show.hex(sent), received = show.hex(got), text = sys.utf8_clean(got),
    }
  elseif got ~= "" then
    local now = { start = 0, wall = 0 }
    local view = show.view { time = "off", describe = monitor.describer(options.protocol) }
    return terminal.write(view:add("in", now, got) .. view:flush())
  end
end

local function exchange(options, bytes)
  local line <close>, message, code = serial.open(
    common.line_options(options, options.operand, { reopen = false }))
  if not line then
    return nil, message, code
  end
  local ok = true
  if options.pulse then
    ok, message, code = pulse(line, options)
  end
  if not ok then
    return nil, message, code
  elseif bytes == "" then
    return true
  end
  ok, message, code = monitor.send_slowly(options, bytes, function(piece)
    return line:write(piece)
  end)
  if not ok then
    return nil, message, code
  end
  if not options.answer and not options.expect then
    return true
  end
  local got
  got, message, code = answer(line, options)
  if not got then
    return nil, message, code
  end
  print_answer(options, bytes, got)
  if options.expect and not got:find(options.expect, 1, true) then
    return nil, ("%s did not come back within %s (%d other bytes did)"):format(
      opts.show(options.expect), options.answer or WAIT, #got), "ETIMEDOUT"
  end
  return true
end

-- What is wrong with --pulse, or nil.
local function wrong_pulse(options)
  local name, time = (options.pulse or "dtr=1s"):match "^(%l+)=(.+)$"
  if name ~= "dtr" and name ~= "rts" or not opts.duration_ms(time) then
    return ("--pulse is dtr=TIME or rts=TIME, as in dtr=100ms; got %s"):format(
      output.printable(options.pulse))
  end
end

--- Returns the exit code.
function M.run(options)
  local wrong = wrong_pulse(options)
  local bytes
  if not wrong then
    bytes, wrong = wanted(options)
  end
  if bytes and options.expect then
    options.expect, wrong = common.unescape(options.expect)
  end
  if wrong then
    common.complain(options, wrong)
    return common.USAGE
  end
  local ok, message = exchange(options, bytes)
  if not ok then
    common.complain(options, message)
    return common.FAILED
  end
  return common.OK
end

return M
