--- Places in an event's memory as text: the keys that lead there, "a/b/c".
local M = {}

local ESCAPED = { ["%"] = "%25", ["/"] = "%2F" }

local MANY <const> = 1000

local escaped, count = {}, 0 -- keys as they were asked for: those of a script are few

local function escape(key)
  local part = escaped[key]
  if not part then
    part = tostring(key):gsub("[%%/]", ESCAPED)
    if count == MANY then
      escaped, count = {}, 0
    end
    escaped[key], count = part, count + 1
  end
  return part
end

--- The place of a key below another place (nil: the top), and below that the next key, and so on.
function M.below(parent, key, ...)
  local part = escape(key)
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
