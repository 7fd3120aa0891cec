--- What is typed after `sipeat publish`, or stands on a line of a file, as a record to send.
local event = require "sipeat.event"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

-- The topics of the SipEat flows; other types live in scripts, which publish has not read.
local TOPICS = {
  ["contact.created"] = "sipeat.contact.events",
  ["request.created"] = "sipeat.request.events",
  ["machine.created"] = "sipeat.machine.events",
}

local LINE_KEYS = {
  "type", "data", "topic", "key", "headers", "value", "id", "source", "time", "partition",
}
local KNOWN = {}
for _, key in ipairs(LINE_KEYS) do
  KNOWN[key] = true
end

local function bad(message, ...)
  return nil, message:format(...), "BAD_DATA"
end

--- The topic of a type: the one that was named, a known one, or the fallback. nil, message, code
--- otherwise.
function M.topic_of(type_name, topic, fallback)
  topic = topic or TOPICS[type_name] or fallback
  if topic then
    return topic
  end
  return bad("which topic %s goes to is not known here: name it with --topic", opts.show(type_name))
end

local function headers_of(headers)
  local out = {}
  if headers == nil then
    return out
  elseif type(headers) ~= "table" or json.is_array(headers) then
    return bad("headers is an object of name and text, got %s", opts.show(headers))
  end
  for name, value in pairs(headers) do
    if type(value) ~= "string" then
      return bad("header %s is text, got %s", name, opts.show(value))
    end
    out[name] = value
  end
  return out
end

--- An event as a record in the binary form of CloudEvents.
function M.from_event(type_name, data, line)
  local topic, message, code = M.topic_of(type_name, line.topic, line.fallback)
  if not topic then
    return nil, message, code
  end
  local made = event.untyped(type_name, data, {
    id = line.id or sys.uuid(),
    time = line.time,
    source = line.source or "sipeat-publish",
    key = line.key,
  })
  local value, headers = event.encode(made, { mode = "binary" })
  if not value then
    return nil, headers, "BAD_DATA"
  end
  for name, text in pairs(line.headers) do
    headers[name] = text
  end
  return {
    topic = topic, key = made.key, value = value, headers = headers, partition = line.partition,
  }
end

-- { topic, key, value, headers }: as it is, without an envelope.
local function from_value(line)
  local value = line.value
  if value == json.null then
    value = nil
  elseif type(value) ~= "string" then
    local message, code
    value, message, code = json.encode(value)
    if not value then
      return nil, message, code
    end
  end
  if not line.topic then
    return bad("a topic is missing: put \"topic\" on the line, or give --topic")
  end
  return {
    topic = line.topic, key = line.key, value = value, headers = line.headers,
    partition = line.partition,
  }
end

local function check_texts(line)
  for _, name in ipairs { "type", "topic", "id", "source", "time" } do
    local value = line[name]
    if value ~= nil and (type(value) ~= "string" or value == "") then
      return bad("%s is text, got %s", name, opts.show(value))
    end
  end
  if line.partition ~= nil and math.type(line.partition) ~= "integer" then
    return bad("partition is a whole number, got %s", opts.show(line.partition))
  end
  return true
end

local function check_line(line)
  for name in pairs(line) do
    if not KNOWN[name] then
      local near = opts.nearest(name, LINE_KEYS)
      return bad("unknown field %s%s", name, near and " (did you mean " .. near .. "?)" or "")
    end
  end
  return check_texts(line)
end

--- A line {"type": …, "data": …} is an event; {"topic": …, "key": …, "value" or "data": …} goes as
--- it is. `defaults` has topic and key for lines without them, and as fallback the topic of types
--- that are not known. Returns the record, or nil, message, "BAD_DATA".
function M.from_line(text, defaults)
  local line, message, code = json.decode(text)
  if message then
    return nil, message, code
  elseif type(line) ~= "table" or json.is_array(line) then
    return bad("a line is a JSON object, got %s", opts.show(line))
  end
  for name, value in pairs(line) do
    if value == json.null and name ~= "value" and name ~= "data" then
      line[name] = nil
    end
  end
  local ok
  ok, message, code = check_line(line)
  if not ok then
    return nil, message, code
  end
  line.topic, line.key = line.topic or defaults.topic, line.key or defaults.key
  line.fallback = defaults.fallback
  if math.type(line.key) == "integer" then
    line.key = tostring(line.key)
  elseif line.key ~= nil and type(line.key) ~= "string" then
    return bad("key is text, got %s", opts.show(line.key))
  end
  line.headers, message, code = headers_of(line.headers)
  if not line.headers then
    return nil, message, code
  elseif line.type then
    return M.from_event(line.type, line.data, line)
  end
  if line.value == nil then
    line.value = line.data
  end
  if line.value == nil then
    return bad("a line has \"type\" and \"data\", or \"topic\" and \"value\"")
  end
  return from_value(line)
end

return M
