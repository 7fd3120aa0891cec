--- Options tables: what a function takes is declared once, at load time, and checked at each call.
--
-- A spec names every key with its type, default and limits. The checker that opts.spec makes throws
-- at the caller's line on an unknown key (naming the nearest known one), a missing or a wrong
-- value, and returns a checked copy in which durations are milliseconds and sizes are bytes.
-- Defaults stand in the spec and nowhere else.
local core = require "sipeat.core.task"

local M = {}

local SECRET = "sipeat.secret" -- what getmetatable answers for a secret of sipeat.env
local SIZE_UNITS = { b = 1, kb = 1024, mb = 1024 ^ 2, gb = 1024 ^ 3 }

--- Every spec by its name, for tools: name -> { key -> field }.
M.specs = {}

--- Milliseconds of "200ms", "1.5s", "5m", "2h", "3d" or "1w".
function M.duration_ms(text)
  if type(text) ~= "string" then
    local why = "a duration is a string with a unit, as in \"200ms\"; got %s"
    return nil, why:format(M.show(text)), "EINVAL"
  end
  local ms = core.parse_duration(text)
  if not ms then
    local why = "%s is no duration; use ms, s, m, h, d or w, as in \"200ms\""
    return nil, why:format(M.show(text)), "EINVAL"
  end
  return ms
end

--- Bytes of "512b", "64kb", "10mb" or "1gb" (1 kb is 1,024 bytes); a number is bytes already.
function M.size_bytes(value)
  local number, unit = value, "b"
  if type(value) == "string" then
    number, unit = value:lower():match("^(%d+%.?%d*)%s*(%a+)$")
    number = tonumber(number)
  elseif math.type(value) ~= "integer" or value < 0 then
    number = nil
  end
  local factor = number and SIZE_UNITS[unit]
  if not factor then
    local why = "%s is no size; use b, kb, mb or gb, as in \"10mb\""
    return nil, why:format(M.show(value)), "EINVAL"
  end
  return math.floor(number * factor + 0.5)
end

local function byte_escape(char)
  return ("\\x%02x"):format(char:byte())
end

--- How a value appears in a message: short, quoted when text, never a secret's content.
function M.show(value)
  local kind = type(value)
  if kind == "string" then
    if #value > 40 then
      value = value:sub(1, 37):gsub("[\192-\255][\128-\191]*$", "") .. "..." -- no half character
    end
    value = ("%q"):format(value):gsub("\\\n", "\\n")
    if not utf8.len(value) then
      value = value:gsub("[\128-\255]", byte_escape)
    end
    return value
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value)
  end
  return getmetatable(value) == SECRET and "a secret" or "a " .. kind
end

local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal
    diagonal, row[0] = row[0], i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

--- The name in `names` (a list) that `name` was probably meant to be, or nil.
function M.nearest(name, names)
  local best, best_distance = nil, math.max(2, #name // 3) + 1
  for _, candidate in ipairs(names) do
    local d = distance(name:lower(), candidate:lower())
    if d < best_distance or d == best_distance and best and candidate < best then
      best, best_distance = candidate, d
    end
  end
  return best
end

--- The names of a table's keys, sorted, as text: for messages.
function M.names(t)
  local list = {}
  for key in pairs(t) do
    list[#list + 1] = tostring(key)
  end
  table.sort(list)
  return list
end

--- The Lua pattern of a text in which "*" stands for anything, as in "order.*".
function M.glob(text)
  return "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

--- Can it be called, as a function can?
function M.is_callable(value)
  if type(value) == "function" then
    return true
  end
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and type(meta.__call) == "function"
end

local function plain(kind)
  return function(value)
    return type(value) == kind, value
  end
end

-- type -> function(value) -> fits, value to hand on, why not
local TYPES = {
  string = plain "string",
  number = plain "number",
  boolean = plain "boolean",
  table = plain "table",
  ["function"] = plain "function",
  any = function(value)
    return true, value
  end,
  integer = function(value)
    local integer = type(value) == "number" and math.tointeger(value)
    return integer ~= nil and integer ~= false, integer
  end,
  handler = function(value)
    return M.is_callable(value), value
  end,
  secret = function(value)
    return type(value) == "string" or getmetatable(value) == SECRET, value
  end,
  duration = function(value)
    local ms, why = M.duration_ms(value)
    return ms ~= nil, ms, why
  end,
  size = function(value)
    local bytes, why = M.size_bytes(value)
    return bytes ~= nil, bytes, why
  end,
  ["string[]"] = function(value)
    if type(value) ~= "table" then
      return false
    end
    local copy = {}
    for i = 1, #value do
      if type(value[i]) ~= "string" then
        return false
      end
      copy[i] = value[i]
    end
    return next(value, #value > 0 and #value or nil) == nil, copy
  end,
}

local function spell(name, key)
  return ("%s: option %s"):format(name, type(key) == "string" and key or ("[%s]"):format(key))
end

-- The first alternative of "a|b" that fits.
local function convert(field, value)
  local why
  for i = 1, #field.types do
    local fits, converted, reason = TYPES[field.types[i]](value)
    if fits then
      return true, converted
    end
    why = reason or why
  end
  return false, nil, #field.types == 1 and why or nil
end

local function choices(enum)
  local shown = {}
  for i, allowed in ipairs(enum) do
    shown[i] = M.show(allowed)
  end
  return "one of " .. table.concat(shown, ", ")
end

local function limits(field, value)
  if field.enum then
    for _, allowed in ipairs(field.enum) do
      if value == allowed then
        return nil
      end
    end
    return ("must be %s; got %s"):format(choices(field.enum), M.show(value))
  elseif field.min and type(value) == "number" and value < field.min then
    return ("must be at least %s; got %s"):format(field.min, value)
  elseif field.max and type(value) == "number" and value > field.max then
    return ("must be at most %s; got %s"):format(field.max, value)
  end
  return field.check and field.check(value)
end

local FIELD_KEYS = { default = 1, required = 1, enum = 1, min = 1, max = 1, check = 1, spec = 1 }

local function compile(name, key, field)
  local compiled = { types = {}, text = field[1] }
  for part in tostring(field[1]):gmatch("[^|]+") do
    if not TYPES[part] then
      error(("%s: unknown type %q"):format(spell(name, key), part), 4)
    end
    compiled.types[#compiled.types + 1] = part
  end
  for property, value in pairs(field) do
    if property ~= 1 and not FIELD_KEYS[property] then
      error(("%s: unknown property %s"):format(spell(name, key), tostring(property)), 4)
    end
    compiled[property] = value
  end
  if field.default ~= nil then
    local fits
    fits, compiled.value = convert(compiled, field.default)
    if not fits then
      error(("%s: its default is no %s"):format(spell(name, key), field[1]), 4)
    end
    if field.spec and type(compiled.value) == "table" then -- its own durations are converted too
      local why
      compiled.value, why = field.spec(compiled.value, false)
      if not compiled.value then
        error(("%s: its default: %s"):format(spell(name, key), why), 4)
      end
    end
  end
  return compiled
end

local function unknown(name, key, fields)
  local known = M.names(fields)
  local near = type(key) == "string" and M.nearest(key, known)
  return ("%s: unknown option %s (%s)"):format(
    name,
    type(key) == "string" and key or "[" .. tostring(key) .. "]",
    near and "did you mean " .. near .. "?" or "known: " .. table.concat(known, ", ")
  )
end

-- The checked copy, or nil and what is wrong.
local function check(name, fields, options)
  local out = {}
  if options ~= nil and type(options) ~= "table" then
    return nil, ("%s: expected a table of options, got %s"):format(name, M.show(options))
  end
  for key in pairs(options or out) do
    if not fields[key] then
      return nil, unknown(name, key, fields)
    end
  end
  for key, field in pairs(fields) do
    local value = options and options[key]
    if value == nil then
      if field.required then
        local expected = field.enum and choices(field.enum) or field.text
        return nil, ("%s is required (%s)"):format(spell(name, key), expected)
      end
      out[key] = field.value
    else
      local fits, converted, why = convert(field, value)
      if not fits then
        why = why or ("expected %s, got %s"):format(field.text, M.show(value))
        return nil, ("%s: %s"):format(spell(name, key), why)
      end
      why = limits(field, converted)
      if why then
        return nil, ("%s %s"):format(spell(name, key), why)
      end
      if field.spec and type(converted) == "table" then
        converted, why = field.spec(converted, false)
        if not converted then
          return nil, why
        end
      end
      out[key] = converted
    end
  end
  return out
end

--- Declares the options of one function. The result is called with the options and, if the function
--- is not called by the script directly, the level of the line to blame (as `error` counts, from
--- the function that calls the checker: 1 is that function, 2 its caller, which is the default);
--- level `false` returns nil, message instead.
function M.spec(name, fields)
  local compiled = {}
  for key, field in pairs(fields) do
    compiled[key] = compile(name, key, field)
  end
  M.specs[name] = fields
  return function(options, level)
    local out, message = check(name, compiled, options)
    if not out then
      if level == false then
        return nil, message, "EINVAL"
      end
      error(message, (level or 2) + 1)
    end
    return out
  end
end

--- How often and how patiently something is tried: `attempts` in all, pauses from backoff[1]
--- doubling to backoff[2].
M.retry = M.spec("sipeat.retry", {
  attempts = { "integer", default = 3, min = 1, max = 1000 },
  backoff = { "string[]", default = { "200ms", "30s" } },
  budget = { "string|table" },
})

--- A list of pauses in ms made from a checked retry: pause(n) is what to wait after the n-th failed
--- attempt.
function M.backoff(retry)
  local first, why = M.duration_ms(retry.backoff[1] or "0ms")
  local last, why_last = M.duration_ms(retry.backoff[2] or retry.backoff[1] or "0ms")
  if not first or not last or #retry.backoff > 2 then
    local reason = why or why_last or "expected one or two durations, as in { \"200ms\", \"30s\" }"
    return nil, "backoff: " .. reason, "EINVAL"
  end
  return function(attempt)
    return math.floor(math.min(first * 2 ^ (attempt - 1), math.max(first, last)))
  end
end

return M
