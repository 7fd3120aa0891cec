--- Moments as people type them.
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

--- What a message says that such a moment is.
M.KINDS = "a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h"

--- Milliseconds since 1970-01-01 UTC of "2026-03-01", "2026-03-01 10:00", "2026-03-01T10:00:00Z"
--- or with an offset such as "+02:00"; nil when it is none of them.
function M.ms(text)
  local day, rest = text:match "^(%d%d%d%d%-%d%d%-%d%d)(.*)$"
  local minute, second, zone = (rest == "" and "T00:00" or rest or ""):match(
    "^[T ](%d%d:%d%d)(:?%d*%.?%d*)(.*)$")
  if not minute then
    return nil
  end
  zone = zone == "" and "Z" or zone:gsub("^([+-]%d%d)(%d%d)$", "%1:%2")
  return sys.parse_time(("%sT%s%s%s"):format(day, minute, second == "" and ":00" or second, zone))
end

--- "2h" as that long ago, a moment as it is: ms since 1970; nil when it is neither.
function M.past_ms(text)
  local ago = opts.duration_ms(text)
  local ms = ago and sys.now_ms() - ago or M.ms(text)
  return ms and math.floor(ms)
end

return M
