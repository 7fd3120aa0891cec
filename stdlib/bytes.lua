--- Bytes as text: in JSON as they are where they are text, else as Base64 under a name that says
--- so; and as hex.
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

--- Two lower-case digits for each byte.
function M.hex(bytes)
  return (bytes:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

--- The bytes of hex digits.
function M.unhex(text)
  return (text:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

return M
