--- The outbox of a test: a record that it takes is in the log at once.
local M = {}

local function yes()
  return true
end

--- What sipeat.core.outbox is in a test.
function M.open()
  return {
    configure = yes,
    want = yes,
    status = function()
      return { open = false }
    end,
  }
end

return M
