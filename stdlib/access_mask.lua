--- Personal data in what is shown, covered: by the names of fields, and in any text by its shape
--- (addresses of mail, international telephone numbers, card numbers).
local json = require "sipeat.json"
local opts = require "sipeat.opts"

local M = {}

local COVER = "***"
local MAX_DEPTH = 128
local CARD_DIGITS = { 13, 19 }
local LOCAL_BYTES, DOMAIN_BYTES = 64, 253 -- the longest that an address of mail has

local kinds = {}

function kinds.text()
  return COVER
end

-- "Ada Lovelace" -> "A***"
function kinds.name(value)
  local first = value:match("^" .. utf8.charpattern)
  return (first or "") .. COVER
end

-- "ada@example.org" -> "a***@***.org"
function kinds.email(value)
  local first, ending = value:match("^(" .. utf8.charpattern .. ")[^@]*@.*(%.[^.]*)$")
  return first and ("%s%s@%s%s"):format(first, COVER, COVER, ending) or COVER
end

-- "+49 170 1234567" -> "***67"
function kinds.phone(value)
  return COVER .. (#value > 6 and value:match "%d%d$" or "")
end

-- What ends a card's number may be shown.
function kinds.card(value)
  return COVER .. (value:gsub("%D", ""):match "%d%d%d%d$" or "")
end

-- --- by shape ---

-- The check digit of a card's number.
local function is_card(digits)
  local sum = 0
  if #digits < CARD_DIGITS[1] or #digits > CARD_DIGITS[2] then
    return false
  end
  for i = 1, #digits do
    local digit = digits:byte(-i) - 48
    digit = i % 2 == 0 and digit * 2 or digit
    sum = sum + (digit > 9 and digit - 9 or digit)
  end
  return sum % 10 == 0
end

local function cover_digits(text)
  local digits = text:gsub("%D", "")
  if text:sub(1, 1) == "+" and #digits >= 8 and #digits <= 15 then
    return kinds.phone(text)
  elseif is_card(digits) then
    return kinds.card(text)
  end
end

-- A text with addresses of mail in it covered. What stands around each "@" is looked at in windows,
-- so that no text takes more time than its length.
local function cover_addresses(text)
  local out, from = {}, 1
  local at = text:find("@", 1, true)
  while at do
    local window = text:sub(math.max(from, at - LOCAL_BYTES), at - 1)
    local before = window:match "[%w._%%+\128-\255-]+$"
    if before and #before == LOCAL_BYTES then -- it may begin within a character
      before = before:gsub("^[\128-\191][\128-\191]?[\128-\191]?", "")
    end
    local after = text:sub(at + 1, at + DOMAIN_BYTES):match "^[%w\128-\255-]+%.[%w.@\128-\255-]*%a"
    if before and after then
      out[#out + 1] = text:sub(from, at - #before - 1)
      out[#out + 1] = kinds.email(before .. "@" .. after)
      from = at + #after + 1
    end
    at = text:find("@", math.max(from, at + 1), true)
  end
  out[#out + 1] = text:sub(from)
  return table.concat(out)
end

--- A text with addresses, telephone and card numbers in it covered.
local function scan(text)
  return (cover_addresses(text):gsub("%+?%d[%d %-()]+%d", cover_digits))
end

-- --- by name ---

local DEFAULTS = {
  email = "email", mail = "email", receiptemail = "email",
  phone = "phone", telephone = "phone", mobile = "phone",
  name = "name", customername = "name", firstname = "name", lastname = "name", fullname = "name",
  customer = "name", contact = "name",
  street = "text", address = "text", birthdate = "text", iban = "text", card = "card",
  cardnumber = "card", message = "text",
  password = "text", secret = "text", token = "text", authorization = "text", cookie = "text",
  apikey = "text",
}

local own = {} -- name or path -> kind, false to show it

-- "customer_name" and "customerName" are one name.
local function plain(name)
  return (name:lower():gsub("[_%-]", ""))
end

-- The kind of a field by its path, then by its name.
local function kind_of(path, name)
  local kind = own[path]
  if kind == nil then
    kind = own[plain(name)]
  end
  if kind == nil then
    kind = DEFAULTS[plain(name)]
  end
  return kind
end

local cover

local function cover_table(value, kind, path, depth)
  local out, is_list = {}, json.is_array(value)
  for key, item in pairs(value) do
    local name = tostring(key)
    local inner = is_list and path or path == "" and name or path .. "." .. name
    local own_kind = kind
    if not is_list then
      local found = kind_of(inner, name)
      own_kind = found == nil and kind or found
    end
    out[key] = cover(item, own_kind, inner, depth + 1)
  end
  return is_list and json.array(out) or out
end

-- `kind`: how to cover it; nil: by shape; false: not at all.
function cover(value, kind, path, depth)
  if type(value) == "table" then
    if depth > MAX_DEPTH then
      return COVER
    end
    -- what a covered name holds is covered whole, but "customer = { name, … }" by its fields
    return cover_table(value, kind ~= "name" and kind or nil, path, depth)
  elseif value == json.null or value == nil or kind == false then
    return value
  elseif kind then
    return kinds[kind](tostring(value))
  elseif type(value) == "string" then
    return scan(value)
  end
  return value
end

--- A value covered: of kind "text", "name", "email", "phone" or "card"; without one by its shape.
function M.mask(value, kind)
  if kind ~= nil and not kinds[kind] then
    error(("access.mask: there is no kind %s (there are: %s)"):format(
      opts.show(kind), table.concat(opts.names(kinds), ", ")), 2)
  end
  return cover(value, kind, "", 1)
end

--- A payload covered by the rules: a table, or a text, which may be JSON.
function M.payload(value)
  if type(value) == "string" and value:find "^%s*[%[{]" then
    local decoded = json.decode(value)
    if decoded ~= nil then
      return json.encode(cover(decoded, nil, "", 1)) or COVER
    end
  end
  return cover(value, nil, "", 1)
end

--- Sets the rules: name or path -> kind, or false for what is shown. A path names fields from the
--- top, lists left out: "data.items.note". They go before the built-in ones.
---@param rules table<string, string|false>
function M.rules(rules)
  local checked = {}
  for name, kind in pairs(rules) do
    if type(name) ~= "string" or kind ~= false and not kinds[kind] then
      local why = "access.mask_rules: %s = %s; a rule is a field's name or path, and %s or false"
      error(why:format(tostring(name), opts.show(kind), table.concat(opts.names(kinds), ", ")), 2)
    end
    checked[name:find(".", 1, true) and name or plain(name)] = kind
  end
  own = checked
end

return M
