--- What the search for messages is told: the parameters of its URL, and which records fit.
local core = require "sipeat.core.http"
local core_kafka = require "sipeat.core.kafka"
local moment = require "sipeat.moment"
local opts = require "sipeat.opts"

local M = {}

local MAX_FINDS, FINDS = 1000, 50
local CONDITIONS = 16 -- of one search
local MAX_PARTITIONS = 10000
local DEPTH = 32 -- of a JSON path

-- --- the URL ---

-- name -> list of values, in their order. nil and a message.
local function parameters(text)
  local out = {}
  for pair in text:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    name, value = core.decode(name, true), core.decode(value, true)
    if not name or not value or not utf8.len(name) or not utf8.len(value) then
      return nil, "the query is not well-formed (percent-encoding or UTF-8)"
    end
    out[name] = out[name] or {}
    table.insert(out[name], value)
  end
  return out
end

--- "2h" as that long ago, a time as it is: ms since 1970; or nil, message, "BAD_REQUEST".
function M.time_ms(text, name)
  local at = moment.past_ms(text)
  if not at then
    return nil, ("%s is %s; got %s"):format(name, moment.KINDS, opts.show(text)), "BAD_REQUEST"
  end
  return at
end

local function integer_of(text, name, least, most)
  local value = text:find "^%d+$" and math.tointeger(tonumber(text))
  if not value or value < least or value > most then
    return nil, ("%s is a number from %d to %d, got %s"):format(name, least, most, opts.show(text))
  end
  return value
end

local readers = {}

function readers.from(o, text)
  if text == "newest" or text == "oldest" then
    o.from = text
    return true
  end
  local at, message = M.time_ms(text, "from")
  o.from, o.from_ms = "time", at
  return at ~= nil, message
end

function readers.until_(o, text)
  local message
  o.until_ms, message = M.time_ms(text, "until")
  return o.until_ms ~= nil, message
end

function readers.offset(o, text)
  local message
  o.offset, message = integer_of(text, "offset", 0, math.maxinteger - 1)
  return o.offset ~= nil, message
end

function readers.limit(o, text)
  local message
  o.limit, message = integer_of(text, "limit", 1, MAX_FINDS)
  return o.limit ~= nil, message
end

function readers.partition(o, text)
  o.partitions = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local number, message = integer_of(part, "partition", 0, MAX_PARTITIONS)
    if not number then
      return nil, message
    end
    table.insert(o.partitions, number)
  end
  return true
end

function readers.cursor(o, text)
  o.cursor = text
  return true
end

function readers.tail(o, text)
  o.tail = text == "1"
  return o.tail or text == "0", "tail is 1 or 0"
end

-- --- conditions: functions of a record, and what a reader's sieve can know of them ---
--
-- A sieve passes over what certainly does not fit, before Lua sees it.

local conditions = {}

local function contains(text, part) -- part is in small letters
  return text ~= nil and text:lower():find(part, 1, true) ~= nil
end

conditions["key"] = function(text)
  return function(record)
    return record.key == text
  end, { "key", text }
end

conditions["key~"] = function(text)
  local part = text:lower()
  return function(record)
    return contains(record.key, part)
  end, { "key~", part }
end

function conditions.text(text)
  local part = text:lower()
  return function(record)
    if contains(record.value, part) or contains(record.key, part) then
      return true
    end
    for _, header in ipairs(record.headers) do
      if contains(header[2], part) then
        return true
      end
    end
    return false
  end, { "text~", part }
end

-- "name", "name=value" or "name~part".
function conditions.header(text)
  local name, operator, value = text:match "^([^=~]+)([=~])(.*)$"
  name = name or text
  local part = operator == "~" and value:lower()
  return function(record)
    for _, header in ipairs(record.headers) do
      if header[1] == name and (not operator or operator == "=" and (header[2] or "") == value
        or part and contains(header[2], part)) then
        return true
      end
    end
    return false
  end, { "header" .. (operator or ""), part or value or "", name }
end

-- --- JSON paths ---

-- "data.items[0].sku" as { "data", "items", 0, "sku" }, "[*]" as true; or nil and a message.
local function path_of(text)
  local path, at = {}, 1
  text = text:gsub("^%$%.?", "")
  while at <= #text do
    local index, stop = text:match("^%[(%d+)%]()", at)
    local any = not index and text:match("^%[%*%]()", at)
    local quoted, after = text:match('^%["([^"]*)"%]()', at)
    local name, rest = text:match("^%.?([^%.%[%]]+)()", at)
    if index then
      path[#path + 1], at = math.tointeger(tonumber(index)), stop
    elseif any then
      path[#path + 1], at = true, any
    elseif quoted then
      path[#path + 1], at = quoted, after
    elseif name then
      path[#path + 1], at = name, rest
    else
      return nil, ("json: %s is no path, such as data.items[0].sku"):format(opts.show(text))
    end
  end
  if #path == 0 or #path > DEPTH then
    return nil, ("json: a path of 1 to %d names is needed"):format(DEPTH)
  end
  return path
end

local RELATIONS = {
  ["="] = 1, ["!="] = 1, ["~"] = 1, [">"] = 1, [">="] = 1, ["<"] = 1, ["<="] = 1,
}

-- "path=value" and the like as a path, an operator and a value.
local function split_json(text)
  local quoted, at = false, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c == '"' then
      quoted = not quoted
    elseif not quoted and RELATIONS[text:sub(at, at + 1)] then
      return text:sub(1, at - 1), text:sub(at, at + 1), text:sub(at + 2)
    elseif not quoted and RELATIONS[c] then
      return text:sub(1, at - 1), c, text:sub(at + 1)
    end
    at = at + 1
  end
  return text
end

-- A text that the value must contain to fit, if it has no escapes, and which is found sooner; nil
-- when there is none.
local function needle_of(path, operator, wanted)
  if operator == "=" and wanted:find "^[%w_%- ]+$" and not tonumber(wanted) then
    return wanted
  end
  for i = #path, 1, -1 do
    if type(path[i]) == "string" and path[i]:find '^[%w_%-]+$' then
      return ('"%s"'):format(path[i])
    end
  end
end

function conditions.json(text)
  local name, relation, wanted = split_json(text)
  local path, message = path_of(name)
  if not path then
    return nil, message
  end
  local part = relation == "~" and wanted:lower() or wanted or ""
  local test = { "path", part, relation or "", path = path, number = tonumber(wanted) }
  local passes = core_kafka.json_match(test)
  return function(record)
    return record.value ~= nil and passes(record.value)
  end, { "json", needle_of(path, relation, wanted) or "" }, test
end

-- --- all of it ---

local ORDER = { "key", "key~", "header", "json", "text" } -- cheap ones first

local function add_conditions(o, given)
  for _, name in ipairs(ORDER) do
    for _, text in ipairs(given[name] or {}) do
      local fits, test, exact = conditions[name](text)
      if not fits then
        return nil, test
      elseif #o.conditions == CONDITIONS then
        return nil, ("at most %d conditions"):format(CONDITIONS)
      end
      table.insert(o.conditions, fits)
      table.insert(o.sieve, test)
      table.insert(o.sieve, exact)
    end
  end
  return true
end

--- The search that a query describes: { from, from_ms?, until_ms?, offset?, partitions?, limit,
--- cursor?, tail, conditions, sieve }; or nil, message, "BAD_REQUEST".
function M.parse(query)
  local given, message = parameters(query)
  if not given then
    return nil, message, "BAD_REQUEST"
  end
  local o = { from = "newest", limit = FINDS, tail = false, conditions = {}, sieve = {} }
  for name, values in pairs(given) do
    local read = readers[name == "until" and "until_" or name]
    if name == "until_" or not read and not conditions[name] then
      return nil, "there is no parameter " .. opts.show(name), "BAD_REQUEST"
    elseif read then
      local ok
      ok, message = read(o, values[#values])
      if not ok then
        return nil, message, "BAD_REQUEST"
      end
    end
  end
  local ok
  ok, message = add_conditions(o, given)
  if not ok then
    return nil, message, "BAD_REQUEST"
  elseif o.offset and #(o.partitions or {}) ~= 1 then
    return nil, "offset needs the one partition that it is in: partition", "BAD_REQUEST"
  end
  o.sieve.from_ms, o.sieve.until_ms = o.from_ms, o.until_ms
  return o
end

--- Does a record fit all that is asked for?
function M.fits(o, record)
  local at = record.timestamp
  if o.from_ms and at < o.from_ms or o.until_ms and at >= o.until_ms then
    return false
  end
  for _, fits in ipairs(o.conditions) do
    if not fits(record) then
      return false
    end
  end
  return true
end

return M
