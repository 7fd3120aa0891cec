--- JSON over lua-cjson, exact both ways.
--
-- cjson 2.1.0 alone decodes every number as a float, cannot tell [] from {}, prints 14 digits and
-- writes broken UTF-8 through. Here integral numbers are integers, integers of 64 bits and all
-- doubles survive a round trip, an empty array stays one, and what JSON cannot hold is refused with
-- the path to it. Nothing throws but an exhausted memory.
local cjson = require "sipeat.core.cjson".new()
local opts = require "sipeat.opts"

local M = {}

local MAX_DEPTH = 128
local EXACT = 10 ^ 14 -- cjson prints 14 significant digits
local PRECISIONS = { "%.14g", "%.15g", "%.16g", "%.17g" } -- the last one holds every double
local ROUNDED = 2 ^ 53 -- from here on not every integer is a double

cjson.decode_max_depth(MAX_DEPTH)
cjson.encode_max_depth(MAX_DEPTH)
cjson.decode_invalid_numbers(false)

local Array = { __name = "sipeat.json.array" }
local Bad = {} -- metatable of what the walks raise

--- JSON's null inside tables, where nil would be a missing key.
M.null = cjson.null

--- Marks a table as an array, so that it is written as [] when empty; a new table without argument.
--- Returns it.
function M.array(t)
  return setmetatable(t or {}, Array)
end

function M.is_array(value)
  return getmetatable(value) == Array or type(value) == "table" and #value > 0
end

--- An empty array to write; read-only.
M.empty_array = setmetatable({}, Array)

-- Placeholders for what cjson cannot print are strings that nobody else can know; they are replaced
-- in the text.
local TOKEN = ("@sipeat-%016x-"):format(math.random(0))
local TOKEN_PATTERN = '"' .. TOKEN:gsub("%-", "%%-") .. '(%d+)@"'

local function bad(path, depth, what)
  local parts = {}
  for i = 1, depth do
    parts[i] = (math.type(path[i]) == "integer" and "[%s]" or ".%s"):format(path[i])
  end
  local place = table.concat(parts):gsub("^%.", "")
  error(setmetatable({ place == "" and what or place .. ": " .. what }, Bad), 0)
end

local function slot(slots, text)
  slots[#slots + 1] = text
  return TOKEN .. #slots .. "@"
end

local function exact_number(value, path, depth, slots)
  if math.type(value) == "integer" then
    if value > -EXACT and value < EXACT then
      return value
    end
    return slot(slots, ("%d"):format(value))
  elseif value ~= value or value == math.huge or value == -math.huge then
    bad(path, depth, tostring(value) .. " is no JSON number")
  end
  for i = 1, #PRECISIONS do
    local text = PRECISIONS[i]:format(value)
    if tonumber(text) == value then
      return i == 1 and value or slot(slots, text)
    end
  end
end

-- Complains about what is neither a list nor a table of named fields. `largest` is the largest of
-- `integers` integer keys, `others` the number of other keys.
local function check_shape(t, path, depth, integers, others, largest)
  if integers > 0 and others > 0 then
    bad(path, depth, "mixes list items with named fields")
  elseif largest > integers then
    local why = "a list with holes (%d of %d items); use json.null, or string keys"
    bad(path, depth, why:format(integers, largest))
  elseif others > 0 and getmetatable(t) == Array then
    bad(path, depth, "named fields in an array")
  end
end

local function check_key(key, path, depth)
  if math.type(key) ~= "integer" then
    bad(path, depth, ("a key is a %s; keys are 1, 2, 3 … or strings"):format(type(key)))
  elseif key < 1 then
    bad(path, depth, ("key %d: keys are 1, 2, 3 … or strings"):format(key))
  end
  return key
end

local encodable

local function encodable_table(t, path, depth, slots)
  if getmetatable(t) == "sipeat.secret" then
    bad(path, depth, "a secret is not written into JSON")
  elseif depth >= MAX_DEPTH then
    bad(path, math.min(depth, 8), ("nested deeper than %d, or in a circle"):format(MAX_DEPTH))
  end
  local integers, others, largest, changes = 0, 0, 0, nil
  for key, value in next, t do
    if type(key) == "string" then
      others = others + 1
    else
      integers, largest = integers + 1, math.max(largest, check_key(key, path, depth))
    end
    local kind = type(value)
    if kind ~= "string" and kind ~= "boolean" then
      path[depth + 1] = key
      local replaced = encodable(value, path, depth + 1, slots)
      if not rawequal(replaced, value) then
        changes = changes or {}
        changes[key] = replaced
      end
    end
  end
  check_shape(t, path, depth, integers, others, largest)
  if integers + others == 0 and getmetatable(t) == Array then
    return slot(slots, "[]")
  elseif changes then
    for key, value in next, t do
      if changes[key] == nil then
        changes[key] = value
      end
    end
  end
  return changes or t
end

-- The value itself, or a copy with placeholders for what cjson would not print exactly.
function encodable(value, path, depth, slots)
  local kind = type(value)
  if kind == "table" then
    return encodable_table(value, path, depth, slots)
  elseif kind == "number" then
    return exact_number(value, path, depth, slots)
  elseif kind ~= "string" and kind ~= "boolean" and value ~= M.null then
    bad(path, depth, ("a %s cannot be written as JSON"):format(kind))
  end
  return value
end

local function broken_text(value, path, depth)
  if type(value) == "string" and not utf8.len(value) then
    bad(path, depth, "text is not valid UTF-8")
  elseif type(value) == "table" then
    for key, item in next, value do
      path[depth + 1] = key
      broken_text(item, path, depth + 1)
      if type(key) == "string" and not utf8.len(key) then
        bad(path, depth, "a key is not valid UTF-8")
      end
    end
  end
end

local function encode(value)
  local slots = {}
  local text = cjson.encode(encodable(value, {}, 0, slots))
  if #slots > 0 then
    text = text:gsub(TOKEN_PATTERN, function(index)
      return slots[tonumber(index)]
    end)
  end
  if not utf8.len(text) then
    broken_text(value, {}, 0)
  end
  return text
end

-- nil, message, "BAD_DATA" for what was raised; memory and mistakes of ours go on upwards.
local function refuse(verb, raised)
  if getmetatable(raised) == Bad then
    return nil, ("json %s: %s"):format(verb, raised[1]), "BAD_DATA"
  elseif type(raised) == "string" and not raised:find("not enough memory", 1, true) then
    return nil, ("json %s: %s"):format(verb, (raised:gsub("^[^:]+:%d+: ", ""))), "BAD_DATA"
  end
  error(raised, 0)
end

--- The text of a value, or nil, message, "BAD_DATA".
function M.encode(value)
  local ok, text = pcall(encode, value)
  if not ok then
    return refuse("encode", text)
  end
  return text
end

-- Turns the floats that cjson makes of everything into integers where they are integral. True when
-- one of them is so large that cjson may have rounded it.
local function integers(t, path, depth)
  local blurred = false
  for key, value in next, t do
    local kind = type(value)
    if kind == "table" then
      path[depth + 1] = key
      blurred = integers(value, path, depth + 1) or blurred
    elseif kind == "number" then
      local integer = math.tointeger(value)
      if integer then
        t[key] = integer
      end
      if value >= ROUNDED or value <= -ROUNDED then
        blurred = true
        if value == math.huge or value == -math.huge then
          path[depth + 1] = key
          bad(path, depth + 1, "a number beyond the range of a double")
        end
      end
    end
  end
  return blurred
end

-- A reader for texts that cjson has accepted but would blur: empty arrays, long numbers.
local exact_value

local function skip(text, at)
  return text:find("[^ \t\r\n]", at)
end

local function exact_string(text, at)
  local stop = at + 1
  while true do
    local found = text:find('["\\]', stop)
    if text:byte(found) == 34 then
      local raw = text:sub(at, found)
      if raw:find("\\", 1, true) then
        return cjson.decode("[" .. raw .. "]")[1], found + 1
      end
      return raw:sub(2, -2), found + 1
    end
    stop = found + 2
  end
end

local function exact_array(text, at)
  local out, n = {}, 0
  at = skip(text, at + 1)
  if text:byte(at) == 93 then -- ]
    return setmetatable(out, Array), at + 1
  end
  while true do
    n = n + 1
    out[n], at = exact_value(text, at)
    at = skip(text, at)
    if text:byte(at) == 93 then
      return out, at + 1
    end
    at = skip(text, at + 1)
  end
end

local function exact_object(text, at)
  local out = {}
  at = skip(text, at + 1)
  while text:byte(at) ~= 125 do -- }
    if text:byte(at) == 44 then -- ,
      at = skip(text, at + 1)
    end
    local key
    key, at = exact_string(text, at)
    at = skip(text, at) + 1 -- the colon
    out[key], at = exact_value(text, skip(text, at))
    at = skip(text, at)
  end
  return out, at + 1
end

local LITERALS = { t = { true, 4 }, f = { false, 5 }, n = { M.null, 4 } }

function exact_value(text, at)
  local first = text:sub(at, at)
  if first == "{" then
    return exact_object(text, at)
  elseif first == "[" then
    return exact_array(text, at)
  elseif first == '"' then
    return exact_string(text, at)
  elseif LITERALS[first] then
    return LITERALS[first][1], at + LITERALS[first][2]
  end
  local token = text:match("^[%d%.eE+-]+", at)
  local number = tonumber(token)
  return math.tointeger(number) or number, at + #token
end

local function decode(text)
  local value = cjson.decode(text)
  local holder = { value }
  local blurred = integers(holder, {}, -1)
  local bracket = text:find("[", 1, true)
  if blurred or bracket and text:find("%[[ \t\r\n]*%]", bracket) then
    value = exact_value(text, skip(text, 1))
    holder[1] = value
    integers(holder, {}, -1)
  end
  return holder[1]
end

--- The value of a text, or nil, message, "BAD_DATA". JSON's null is json.null. Of equal keys the
--- last one counts. A number may end in its point, as in "1.": cjson allows it.
function M.decode(text)
  if type(text) ~= "string" then
    return nil, ("json decode: expected text, got %s"):format(opts.show(text)), "BAD_DATA"
  elseif not utf8.len(text) then
    return nil, "json decode: not valid UTF-8", "BAD_DATA"
  elseif text:find("\0", 1, true) then
    return nil, "json decode: a NUL byte in the text", "BAD_DATA"
  end
  local ok, value = pcall(decode, text)
  if not ok then
    return refuse("decode", value)
  end
  return value
end

return M
