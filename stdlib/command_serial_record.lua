--- `sipeat serial record`: what is on a line, into a session file.
local common = require "sipeat.command_serial"
local pump = require "sipeat.command_serial_pump"
local session = require "sipeat.command_serial_session"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

--- Returns the exit code.
function M.run(options)
  local file <close>, message = terminal.create(options.second)
  if not file then
    common.complain(options, message)
    return common.FAILED
  end
  local opened
  opened, message = pump.open(options)
  if not opened then
    common.complain(options, message)
    return common.FAILED
  end
  local ok
  ok, message = file:write(session.header {
    port = options.operand, started = sys.iso_time(), protocol = options.protocol,
    baud = options.baud, through = options.through, note = options.note,
  })
  if ok then
    ok, message = opened:run {
      limit = options["for"],
      max = options.max,
      on_bytes = function(direction, at, bytes)
        terminal.status(("%.1f s, %d chunks"):format(at.start / 1e6, opened.chunks))
        return file:write(session.chunk(direction, at.start, bytes))
      end,
      on_link = function(at, text)
        file:write(session.link(at.start, text))
      end,
    }
  end
  terminal.status ""
  if ok then
    ok, message = file:close()
  end
  if not ok then
    common.complain(options, message)
    return common.FAILED
  end
  terminal.note(("sipeat serial record: %d chunks in %s"):format(opened.chunks, options.second))
  return common.OK
end

return M
