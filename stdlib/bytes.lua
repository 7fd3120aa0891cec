--- Bytes in JSON: as text where they are text, else as Base64 under a name that says so.
local sys = require "sipeat.core.sys"

local M = {}

--- Sets into[name], or into[name .. "_base64"].
function M.put(into, name, bytes)
  if bytes == nil or sys.valid_utf8(bytes) then
    into[name] = bytes
  else
    into[name .. "_base64"] = sys.base64(bytes)
  end
end

--- What put was given.
function M.get(from, name)
  local text = from[name .. "_base64"]
  return text and sys.from_base64(text) or from[name]
end

return M
