--- What a test asserts, and how it says what is wrong.
local M = {}

local MAX_DEPTH = 20
local MAX_DIFFERENCES = 10
local MAX_TEXT = 2000

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
      return a < b
    end
    return type(a) == "number" and type(b) ~= "number"
      or type(b) ~= "number" and tostring(a) < tostring(b)
  end)
  return keys
end

local function show_key(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then
    return key
  end
  return "[" .. (type(key) == "string" and ("%q"):format(key) or tostring(key)) .. "]"
end

local function show(value, depth, seen)
  if type(value) == "string" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif depth >= MAX_DEPTH or seen[value] then
    return "{…}"
  end
  seen[value] = true
  local parts = {}
  for _, key in ipairs(sorted_keys(value)) do
    local text = show(value[key], depth + 1, seen)
    local plain = math.type(key) == "integer" and key == #parts + 1
    parts[#parts + 1] = plain and text or show_key(key) .. " = " .. text
  end
  seen[value] = nil
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

--- A value as text, with its fields in order.
function M.show(value)
  local text = show(value, 0, {})
  return #text > MAX_TEXT and text:sub(1, MAX_TEXT) .. "… (cut here)" or text
end

local function is_plain(value)
  return type(value) ~= "table" or rawequal(getmetatable(value), "sipeat.secret")
end

local function same(a, b, depth)
  if is_plain(a) or is_plain(b) or depth > MAX_DEPTH then
    return a == b and math.type(a) == math.type(b)
  elseif rawequal(a, b) then
    return true
  end
  for key, value in pairs(a) do
    if not same(value, b[key], depth + 1) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

--- Are they equal, table by table? 1 and 1.0 are not.
function M.same(a, b)
  return same(a, b, 0)
end

local function differences(path, got, expected, list, depth)
  if #list >= MAX_DIFFERENCES or same(got, expected, 0) then
    return list
  elseif is_plain(got) or is_plain(expected) or depth > MAX_DEPTH then
    local where = path == "" and "" or path .. ": "
    local text = "%sgot %s, expected %s"
    list[#list + 1] = text:format(where, M.show(got), M.show(expected))
    return list
  end
  local keys = {}
  for key in pairs(got) do
    keys[key] = true
  end
  for key in pairs(expected) do
    keys[key] = true
  end
  for _, key in ipairs(sorted_keys(keys)) do
    local name = show_key(key)
    local at = path == "" and name or path .. (name:sub(1, 1) == "[" and name or "." .. name)
    differences(at, got[key], expected[key], list, depth + 1)
  end
  return list
end

local function prefix(what)
  return what and tostring(what) .. ": " or ""
end

--- Raises unless both are equal; says where they differ.
function M.eq(got, expected, what)
  if same(got, expected, 0) then
    return
  end
  local list = differences("", got, expected, {}, 0)
  if is_plain(got) or is_plain(expected) then
    error(prefix(what) .. list[1], 2)
  end
  local text = "%stwo tables differ:\n  %s\n  got:      %s\n  expected: %s"
  error(text:format(prefix(what), table.concat(list, "\n  "), M.show(got), M.show(expected)), 2)
end

--- Raises unless the value is true (neither nil nor false); a message that came with it is shown,
--- as in t.ok(f()). Answers the value.
function M.ok(value, what)
  if not value then
    error(("got %s%s"):format(tostring(value), what and ": " .. M.show(what) or ""), 2)
  end
  return value
end

--- Raises unless `text` has `part` in it (plain text).
function M.has(text, part, what)
  if type(text) ~= "string" or not text:find(part, 1, true) then
    error(("%s%s lacks %s"):format(prefix(what), M.show(text), M.show(part)), 2)
  end
end

--- Raises unless f() raises, and, with `part`, what it raises has that text. Answers what was
--- raised.
function M.raises(f, part)
  local ok, raised = pcall(f)
  if ok then
    error("nothing was raised" .. (part and ", expected " .. M.show(part) or ""), 2)
  end
  local text = type(raised) == "table" and raised.message or tostring(raised)
  if part and not text:find(part, 1, true) then
    error(("raised %s, which lacks %s"):format(M.show(text), M.show(part)), 2)
  end
  return raised
end

return M
