--- What the file of a test has declared: tests in order and by name, and what runs around each.
local M = { tests = {}, before = {}, after = {} }

local Skip = {}

--- Raises what ends a test as skipped.
function M.skip(reason)
  error(setmetatable({ reason = reason }, Skip), 0)
end

--- The reason, when that was raised.
function M.skip_reason(raised)
  return getmetatable(raised) == Skip and raised.reason or nil
end

return M
