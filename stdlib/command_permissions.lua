--- `sipeat run --permissions`: what a script uses, as the list that it could declare.
--
-- What it asks for while it loads is known. What its handlers will ask for is looked for in the
-- text of its files: addresses, topics and variables that are written there. What is put together
-- at run time is not found: it is missing here, and refused when it is not declared.
local permissions = require "sipeat.permissions"
local scan = require "sipeat.permissions_scan"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, SCRIPT = 0, 1, 3

local function used(options, loaded)
  local found = {}
  for kind, names in pairs(permissions.uses()) do
    for _, name in ipairs(names) do
      scan.add(found, kind, name)
    end
  end
  for _, path in ipairs(options.files(loaded)) do
    local text, message = sys.read_file(path)
    if not text then
      return nil, message
    end
    scan.scan(text, found)
  end
  return found
end

--- Returns the exit code.
function M.run(options)
  options.begin()
  local loaded, message = options.load(options.file)
  if not loaded then
    terminal.note("sipeat run --permissions: " .. message)
    return SCRIPT
  end
  local found
  found, message = used(options, loaded)
  if not found then
    terminal.note("sipeat run --permissions: " .. message)
    return FAILED
  end
  terminal.note(permissions.declared() and "The script has declared what it needs. It uses:"
    or "The script has declared nothing, and may do everything. It uses:")
  local ok = terminal.write(scan.text(found)) and terminal.flush()
  return ok and OK or FAILED
end

return M
