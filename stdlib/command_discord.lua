--- `sipeat discord test`: sends the sample messages and says for each what came back.
local discord = require "sipeat.discord"
local output = require "sipeat.command_output"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED = 0, 1

local function what_came_back(result)
  local status = result.status and ("status %d"):format(result.status) or "no answer"
  if result.ok then
    return ("sent, %s, message %s"):format(status, tostring(result.id))
  end
  return ("%s: %s (%s)"):format(status, tostring(result.message), tostring(result.code))
end

--- Returns the exit code.
function M.run(options)
  local results, message = discord.test { patience = options.timeout }
  if not results then
    terminal.note("sipeat discord test: " .. message)
    return FAILED
  end
  local code = OK
  for _, result in ipairs(results) do
    if not result.ok then
      code = FAILED
    end
    if options.json then
      output.json(result)
    else
      local mark = result.ok and "ok      " or "failed  "
      local what = output.printable(what_came_back(result))
      terminal.write(("%s%s: %s, %d ms\n"):format(mark, result.name, what, result.ms))
    end
  end
  return code
end

return M
