--- Places in an event's memory as text: the keys that lead there, "a/b/c".
local M = {}

local ESCAPED = { ["%"] = "%25", ["/"] = "%2F" }

--- The place of a key below another place (nil: the top), and below that the next key, and so on.
function M.below(parent, key, ...)
  local part = tostring(key)
  if part:find("[%%/]") then
    part = part:gsub("[%%/]", ESCAPED)
  end
  local at = parent and parent .. "/" .. part or part
  if ... == nil then
    return at
  end
  return M.below(at, ...)
end

--- A key as it was before it became part of a place.
function M.unescape(key)
  return (key:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- Puts a value where its place says, and makes what leads there.
function M.put(memory, place, value)
  local at, last = memory, nil
  for key in place:gmatch "[^/]+" do
    if last then
      at[last] = at[last] or {}
      at = at[last]
    end
    last = M.unescape(key)
  end
  at[last] = value
end

return M
