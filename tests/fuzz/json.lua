--- sipeat.json against lua-cjson: the same texts are accepted, and mean the same; and against
-- itself: lazily read, written and read again a value stays what it is.
local cjson = require "cjson"
local json = require "sipeat.json"

cjson.decode_max_depth(128)
cjson.decode_invalid_numbers(false)

-- All that lua-cjson accepts and sipeat.json refuses, by the reason that it gives.
local STRICTER = {
  "a control character in a string at", "not valid UTF-8 at", "a NUL byte in the text",
  "expected a digit behind the point at", -- 1.
  "expected a digit at", -- -.5
  "a number beyond the range of a double at",
}

local function stricter(message)
  for _, reason in ipairs(STRICTER) do
    if message:find(reason, 1, true) then
      return true
    end
  end
  return false
end

-- Equal, and with `exact` of the same type of number and with the same marks of arrays. lua-cjson
-- makes every number a float and knows no empty array.
local function same(a, b, exact)
  if type(a) == "table" and type(b) == "table" then
    for key, value in pairs(a) do
      if not same(value, b[key], exact) then
        return false
      end
    end
    for key in pairs(b) do
      if a[key] == nil then
        return false
      end
    end
    return not exact or json.is_array(a) == json.is_array(b)
  elseif math.type(a) and math.type(b) then
    return exact and a == b and math.type(a) == math.type(b) or not exact and a + 0.0 == b + 0.0
  end
  return a == b
end

local function check(condition, what, text)
  if not condition then
    error(("%s: %q"):format(what, text), 0)
  end
end

-- Touches fields as the bytes of the text say.
local function wander(value, text, at)
  while type(value) == "table" do
    at = at % #text + 1
    local pick, keys = text:byte(at), {}
    if pick % 3 == 0 then
      return
    end
    for key in text:gmatch '"(%w+)"' do
      keys[#keys + 1] = key
    end
    value = pick % 3 == 1 and value[pick % 5 + 1] or value[keys[pick % (#keys + 1)]]
  end
end

return function(text)
  local value, message, code = json.decode(text)
  local accepted, other = pcall(cjson.decode, text)
  if message then
    local known = value == nil and code == "BAD_DATA" and message:find "^json decode: .* at byte %d"
    check(known, message, text)
    check(not accepted or stricter(message), "refused: " .. message, text)
    check(select(2, json.lazy(text)) == message, "lazy gives another reason", text)
    return
  end
  check(accepted, "lua-cjson refuses it: " .. tostring(other), text)
  check(same(value, other, false), "means something else to lua-cjson", text)
  local untouched, touched = json.lazy(text), json.lazy(text)
  wander(touched, text, 0)
  check(same(touched, value, true), "lazily it is something else", text)
  for _, one in ipairs { untouched, value, touched } do
    local written, why = json.encode(one)
    check(written, "cannot be written again: " .. tostring(why), text)
    check(same(json.decode(written), value, true), "is something else when written", text)
  end
end
