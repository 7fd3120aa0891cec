--- Serial ports of a test: there are none, since boards do not live in its virtual time.
local permissions = require "sipeat.core.permissions"

local M = {}

local function refuse(options)
  if options.port and options.port ~= "" then
    permissions.permit("ports", options.port)
  end
  local why = "serial: a test of scripts has no ports (sipeat bench works with simulators)"
  return nil, why, "ENOTSUP"
end

--- What scripts get in the place of `real`, the module sipeat.core.serial.
function M.open(real)
  return {
    open = refuse,
    list = function()
      return {}
    end,
    protocols = real.protocols,
    describe = real.describe,
    checksum = real.checksum,
  }
end

return M
