--- `sipeat key new`: a pair of keys as lines of a key file.
local core = require "sipeat.core.crypto"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE = 0, 1, 2

local function random_name()
  local bytes = sys.random(3)
  local hex = ("%02x%02x%02x"):format(bytes:byte(1, 3))
  return ("%s-%s"):format(sys.iso_time():sub(1, 10), hex)
end

--- Returns the exit code.
function M.run(options)
  local name = options.name or random_name()
  if not name:find "^[%w_.-]+$" or #name > 64 then
    terminal.note "sipeat key new: a name has letters, digits, \".\", \"_\" and \"-\""
    return USAGE
  end
  local seal, open = core.seal_keys()
  local ok = terminal.write(("%s seal %s\n%s open %s\n"):format(
    name, sys.base64(seal), name, sys.base64(open)
  )) and terminal.flush()
  return ok and OK or FAILED
end

return M
