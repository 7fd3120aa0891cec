--- The outbox of a test: a record that it takes is in the log at once.
local permissions = require "sipeat.core.permissions"

local M = {}

local function yes()
  return true
end

--- What sipeat.core.outbox is in a test.
function M.open()
  return {
    configure = function(options)
      if options.path then
        permissions.permit("paths", options.path)
      end
      return true
    end,
    want = yes,
    status = function()
      return { open = false }
    end,
  }
end

return M
