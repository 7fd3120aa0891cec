--- `sipeat serial identify`: what board is on a port.
local common = require "sipeat.command_serial"
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local serial = require "sipeat.serial"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local TIMEOUT = "3s"
local AGAIN = "200ms"

-- A board that was just connected may need a moment: it is asked again until the time is over.
local function ask_until(line, timeout)
  local ends_ms = sys.monotonic_ms() + opts.duration_ms(timeout)
  while true do
    local left = math.max(1, math.floor(ends_ms - sys.monotonic_ms()))
    local board, message, code = line:command("identify", {}, { timeout = left .. "ms" })
    local again = board and board.ok == false and sys.monotonic_ms() < ends_ms
    if not again or not task.sleep(AGAIN) then
      return board, message, code
    end
  end
end

--- Asks with one protocol: its answer; or nil, message, code. The line is closed again.
function M.ask(options, name, timeout)
  local asked = setmetatable({ protocol = name }, { __index = options })
  local line <close>, message, code = serial.open(
    common.line_options(asked, options.operand, { protocol = name, reopen = false }))
  if not line then
    return nil, message, code
  end
  return ask_until(line, timeout)
end

local function tell(options, name, board)
  if options.json then
    local object = { protocol = name, port = options.operand }
    for key, value in pairs(board) do
      object[key] = value
    end
    return output.json(object)
  end
  local rest, names = {}, {}
  for key in pairs(board) do
    names[#names + 1] = key
  end
  table.sort(names)
  for _, key in ipairs(names) do
    if key ~= "ok" and board[key] ~= "" then -- what the board does not say of itself
      rest[#rest + 1] = ("%s %s"):format(key, output.printable(tostring(board[key])))
    end
  end
  return terminal.write(("%s: %s  %s\n"):format(
    output.printable(options.operand), name, table.concat(rest, ", ")))
end

--- Returns the exit code.
function M.run(options)
  local tried = {}
  for _, protocol in ipairs(serial.protocols()) do
    if not options.protocol or options.protocol == protocol.name then
      terminal.status(("asking in %s"):format(protocol.name))
      local board, message, code = M.ask(options, protocol.name, options.timeout or TIMEOUT)
      terminal.status ""
      if board and board.ok ~= false then
        tell(options, protocol.name, board)
        return common.OK
      elseif code == "ECANCELED" then
        return common.FAILED
      end
      message = message or board and board.reason or "it refused"
      if not board and code ~= "ETIMEDOUT" and code ~= "LOST" then -- the port itself does not work
        common.complain(options, output.printable(message))
        return common.FAILED
      end
      tried[#tried + 1] = ("  %-8s %s"):format(protocol.name, output.printable(message))
    end
  end
  common.complain(options, ("nothing on %s said what it is:\n%s\nTry: sipeat serial doctor %s")
    :format(output.printable(options.operand), table.concat(tried, "\n"),
      output.printable(options.operand)))
  return common.FAILED
end

return M
