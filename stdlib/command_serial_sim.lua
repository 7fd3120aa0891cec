--- `sipeat serial sim`: a simulated board behind a pseudo-terminal, with commands from standard
--- input.
local common = require "sipeat.command_serial"
local output = require "sipeat.command_output"
local serial = require "sipeat.serial"
local terminal = require "sipeat.core.terminal"
local task = require "sipeat.task"

local M = {}

local function list(options)
  local rows = {}
  for i, protocol in ipairs(serial.protocols()) do
    if options.json then
      output.json(protocol)
    end
    rows[i] = {
      protocol.name, protocol.title, ("%d baud"):format(protocol.baud), protocol.proof,
      table.concat(protocol.settings, " "),
    }
  end
  if not options.json then
    output.table({ "BOARD", "WHAT", "SPEED", "PROOF", "SETTINGS" }, rows)
  end
  return common.OK
end

local HELP = [[
NAME key=value …   a command of the simulated board, such as: fault kind=jam slot=2 times=1
help               this text
quit               end]]

-- "name key=value …" -> name, fields; or nil and what is wrong.
local function parse(line)
  local name = line:match "^%s*([%w_]+)"
  if not name then
    return nil, "a command is NAME key=value …"
  end
  local words = {}
  for word in line:match("^%s*[%w_]+(.*)$"):gmatch "%S+" do
    words[#words + 1] = word
  end
  local fields, message = common.settings(words, {})
  return fields and name, fields or message
end

local function tell(options, what)
  if options.json then
    return output.json(what)
  end
  local parts, names = {}, {}
  for name in pairs(what) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    parts[i] = ("%s=%s"):format(name, output.printable(tostring(what[name])))
  end
  return terminal.write(table.concat(parts, " ") .. "\n")
end

local function command(options, board, line)
  local name, fields = parse(line)
  if not name then
    return common.complain(options, fields)
  end
  local result, message = board:command(name, fields)
  if not result then
    return common.complain(options, message)
  end
  tell(options, type(result) == "table" and result or { ok = true })
  terminal.flush()
end

-- Until "quit" or Ctrl-C. The end of standard input ends nothing: it may run in the background.
local function serve(options, board)
  local reader <close> = terminal.open "-"
  while reader do
    local line = reader:poll()
    if not line or line == "quit" then
      if line then
        return
      end
      break
    elseif line == "help" then
      terminal.note(HELP)
    elseif line ~= true and line:find "%S" then
      command(options, board, line)
    end
  end
  while task.sleep "1h" do -- until it is stopped
  end
end

--- Returns the exit code.
function M.run(options)
  if not options.operand then
    return list(options)
  end
  local protocol, wrong = common.protocol(options.operand)
  local settings
  if protocol then
    settings, wrong = common.settings(options.set, {})
  end
  if not settings then
    common.complain(options, wrong)
    return common.USAGE
  end
  local board <close>, message = serial.simulate {
    protocol = protocol.name, settings = settings, link = options.link,
  }
  if not board then
    common.complain(options, message)
    return common.FAILED
  end
  if options.json then
    output.json { protocol = protocol.name, path = board:state().path, link = options.link }
  else
    terminal.write(("%s (%s) is at %s\n"):format(protocol.name, protocol.title,
      board.path))
  end
  terminal.flush()
  serve(options, board)
  return common.OK
end

return M
