--- Values of an event as people read them: names of fields, money, lists and nested objects.
local json = require "sipeat.json"
local money = require "sipeat.money"

local M = {}

local SECRET = "sipeat.secret" -- what getmetatable answers for a secret of sipeat.env
local MAX_DEPTH = 3
local MAX_ITEMS = 40 -- of one list or object; the rest is counted

-- Words that are written in capitals.
local CAPITALS = {
  api = "API", crm = "CRM", gps = "GPS", iban = "IBAN", id = "ID", ids = "IDs", ip = "IP",
  iso = "ISO", mac = "MAC", pos = "POS", sim = "SIM", sku = "SKU", ssid = "SSID", uri = "URI",
  url = "URL", usb = "USB", utc = "UTC", uuid = "UUID", vat = "VAT",
}

--- "customerName", "customer_name" and "customer-name" as "Customer Name".
---@param key string
---@return string
function M.name(key)
  local text = key:gsub("[_%-%.%s]+", " "):gsub("(%l)(%u)", "%1 %2"):gsub("(%u)(%u%l)", "%1 %2")
  text = text:gsub("I Ds%f[%A]", "IDs")
  text = text:gsub("[%w\x80-\xFF]+", function(word)
    return CAPITALS[word:lower()] or word:sub(1, 1):upper() .. word:sub(2)
  end)
  return text
end

local function by_name(a, b)
  return tostring(a) < tostring(b)
end

--- The keys of an object: those of `order` first, then the others by name.
---@param object table
---@param order string[]?
---@return any[]
function M.keys(object, order)
  local keys, rest, seen = {}, {}, {}
  for _, key in ipairs(order or {}) do
    if object[key] ~= nil and not seen[key] then
      seen[key] = true
      keys[#keys + 1] = key
    end
  end
  for key in next, object do
    if not seen[key] then
      rest[#rest + 1] = key
    end
  end
  table.sort(rest, by_name)
  return table.move(rest, 1, #rest, #keys + 1, keys)
end

local function number(value)
  if math.type(value) == "integer" then
    return ("%d"):format(value)
  elseif value == math.floor(value) and math.abs(value) < 2 ^ 53 then
    return ("%d"):format(math.tointeger(value))
  end
  return ("%.14g"):format(value)
end

local function is_list(value)
  return #value > 0 and next(value, #value) == nil and value[1] ~= nil
end

local readable

local function and_more(parts, count)
  if count > MAX_ITEMS then
    parts[#parts + 1] = ("… and %d more"):format(count - MAX_ITEMS)
  end
  return parts
end

local function list(value, depth)
  local parts, nested = {}, false
  for i = 1, math.min(#value, MAX_ITEMS) do
    nested = nested or type(value[i]) == "table"
    parts[i] = readable(value[i], depth + 1)
  end
  if nested and depth == 0 then
    for i, part in ipairs(parts) do
      parts[i] = i .. ". " .. part
    end
    return table.concat(and_more(parts, #value), "\n")
  end
  return table.concat(and_more(parts, #value), ", ")
end

local function object(value, depth)
  local parts, keys = {}, M.keys(value)
  for i = 1, math.min(#keys, MAX_ITEMS) do
    parts[i] = M.name(tostring(keys[i])) .. ": " .. readable(value[keys[i]], depth + 1)
  end
  return table.concat(and_more(parts, #keys), depth == 0 and "\n" or ", ")
end

function readable(value, depth)
  local kind = type(value)
  if value == nil or value == json.null then
    return "—"
  elseif kind == "boolean" then
    return value and "Yes" or "No"
  elseif kind == "number" then
    return number(value)
  elseif kind == "string" then
    return value:find("%S") and value or "—"
  elseif kind ~= "table" then
    return kind == "userdata" and tostring(value) or kind
  elseif getmetatable(value) == SECRET or (getmetatable(value) or M).__tostring then
    return tostring(value) -- a failure says its message, a secret says "***"
  elseif money.is(value) then
    return money.format(value)
  elseif next(value) == nil then
    return "—"
  elseif depth >= MAX_DEPTH then
    return "…"
  elseif is_list(value) then
    return list(value, depth)
  end
  return object(value, depth)
end

--- Any value as text: lists with commas, objects line by line, nothing as a dash.
---@param value any
---@return string
function M.readable(value)
  return readable(value, 0)
end

return M
