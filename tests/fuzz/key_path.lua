--- The option key of a flow: what is a path is taken and found in a record's data, and what is not
-- is refused with a message.
local core = require "sipeat.core.flow"
local json = require "sipeat.json"

local registered

function core.register(spec)
  registered = spec
end

local flow = require "sipeat.flow"

-- The keys of a path, split as slowly as it gets; nil when it is none.
local function keys_of(text)
  local keys = {}
  for key in (text .. "."):gmatch "([^.]*)%." do
    if key == "" then
      return nil
    end
    keys[#keys + 1] = key
  end
  return keys[1] == "data" and keys[2] and keys or nil
end

local function check(condition, what, text)
  if not condition then
    error(("%s: %q"):format(what, text), 0)
  end
end

-- A body of CloudEvents' data with `found` at the path.
local function value_at(keys, found)
  local value = found
  for i = #keys, 2, -1 do
    value = { [keys[i]] = value }
  end
  return json.encode(value)
end

local function record(value)
  local headers = {
    { name = "event-type", value = "x" }, { name = "event-id", value = "1" },
  }
  return {
    topic = "t", partition = 0, offset = 0, key = "k", value = value, headers = headers,
    timestamp = 1,
  }
end

local function check_found(keys, text)
  for _, found in ipairs { "m-7", 12, 1.5 } do
    local value = value_at(keys, found)
    if value then -- a key that is no UTF-8 is in no JSON
      check(registered.key_of(record(value)) == tostring(found), "not found", text)
      check(registered.key_of(record "{}") == nil, "found in nothing", text)
      check(registered.key_of(record "{") == nil, "found in what is broken", text)
    end
  end
end

return function(text)
  registered = nil
  local ok, message = pcall(flow, { topic = "t", group = "g", key = text, on = { x = print } })
  local header, keys = text:match "^header:(.+)$", keys_of(text)
  check(ok == (header ~= nil or keys ~= nil and #keys <= 16), tostring(message), text)
  if not ok then
    check(type(message) == "string" and message:find("sipeat.flow: key", 1, true)
      and utf8.len(message), tostring(message), text)
  elseif header then
    check(registered.key_header == header, "another header", text)
  elseif registered.key_of then
    check_found(keys, text)
  end
end
