--- Records to events: reading never raises, and what was read can be written and read again.
--
-- The input is a record: lines "name: value" are its headers, an empty line ends them, and the rest
-- is its value; without an empty line it has none.
local event = require "sipeat.event"
local failure = require "sipeat.failure"
local json = require "sipeat.json"

local function parse(bytes)
  local headers, rest = {}, bytes
  while rest do
    local line, after = rest:match "^([^\n]*)\n?(.*)$"
    if line == "" then
      return headers, after
    end
    local name, value = line:match "^([^:]*): ?(.*)$"
    headers[#headers + 1] = { name = name or line, value = value }
    rest = after ~= "" and after or nil
  end
  return headers, nil
end

local function record(headers, value)
  return {
    topic = "t", partition = 1, offset = 5, key = "k", value = value, headers = headers,
    timestamp = 1700000000000,
  }
end

local function check(condition, what)
  if not condition then
    error(what, 0)
  end
end

local function read(bytes)
  local headers, value = parse(bytes)
  local got, message, code = event.from_record(record(headers, value))
  if not got then
    check(code == "BAD_DATA" and type(message) == "string" and utf8.len(message),
      "a refusal without text or code")
  end
  return got
end

-- Data that is broken raises a permanent failure at the first touch, and is no event to write.
local function touch(got)
  local ok, data = pcall(function()
    return got.data
  end)
  if not ok then
    local why = failure.is(data) and data or nil
    check(why and why.kind == "permanent" and why.code == "BAD_DATA", "data raised something else")
  end
  return ok, data
end

local function check_fields(got)
  check(type(got.id) == "string" and got.id ~= "", "an event without id")
  check(type(got.version) == "string" and type(got.source) == "string", "version and source")
  for _, name in ipairs { "type", "time", "trace" } do
    local value = got[name]
    check(value == nil or type(value) == "string", name .. " is no text")
  end
end

local function list_of(headers)
  local list = {}
  for name, value in pairs(headers) do
    list[#list + 1] = { name = name, value = value }
  end
  return list
end

return function(bytes)
  local got = read(bytes)
  if not got then
    return
  end
  check_fields(got)
  local ok, data = touch(got)
  if not ok or not got.type then
    return
  end
  for _, mode in ipairs { "binary", "structured", "body" } do
    local value, headers = event.encode(got, { mode = mode })
    if value then
      local again, why = event.from_record(record(list_of(headers), value))
      check(again, ("%s: what was written is refused: %s"):format(mode, tostring(why)))
      check(again.type == got.type and again.id == got.id, mode .. ": another type or id")
      check(json.encode(again.data) == json.encode(data) or type(data) == "table",
        mode .. ": other data")
    end
  end
end
