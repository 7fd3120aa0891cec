--- Records to events and back: CloudEvents (binary and structured) and the plain JSON shapes.
--
-- Reading never throws: what is broken comes back as nil, message, "BAD_DATA". The data of an event
-- whose type and id stand in headers is decoded when it is first touched; if it turns out broken
-- then, that raises a permanent failure.
local core = require "sipeat.core.event"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local tracing = require "sipeat.core.trace"

local M = {}

local PENDING = {} -- key in an event: its data is still the text of `value`

local Event = { __name = "sipeat.event" }

function Event.__index(self, key)
  if key == "data" and rawget(self, PENDING) then
    local data, message, code = M.data(self)
    if message then
      error(failure.permanent(message, code), 0)
    end
    return data
  end
end

function Event:__tostring()
  return ("event %s %s"):format(tostring(self.type), tostring(self.id))
end

--- Gives a table the behaviour of an event.
function M.event(t)
  return setmetatable(t, Event)
end

--- The decoded data of an event, or nil, message, "BAD_DATA". Data that is null or absent is nil.
function M.data(event)
  local made, found, why, why_code = core.data(event)
  if made then
    return found, why, why_code
  elseif not rawget(event, PENDING) then
    return rawget(event, "data")
  end
  local data, message, code = json.lazy(event.value)
  if message then
    return nil, message, code
  end
  if data == json.null then
    data = nil
  end
  event[PENDING], event.data = nil, data
  return data
end

-- Names under which type, id and time are found in headers and bodies, in this order.
local TYPE_HEADERS = { "ce_type", "event-type", "eventType", "event_type", "type" }
local ID_HEADERS = { "ce_id", "event-id", "eventId", "event_id", "id", "message-id" }
local BODY_TYPES = { "type", "eventType", "event_type" }
local BODY_IDS = { "id", "eventId", "event_id" }
local BODY_TIMES = { "occurredAt", "time", "timestamp", "occurred_at" }
local CE_REQUIRED = { "id", "source", "specversion", "type" }

-- What of a body is the envelope's own and not an attribute of the event.
local ENVELOPE = { data = true, version = true, source = true }
for _, names in ipairs { BODY_TYPES, BODY_IDS, BODY_TIMES } do
  for _, name in ipairs(names) do
    ENVELOPE[name] = true
  end
end

-- Attributes of CloudEvents that have a field of their own in an event.
local CE_FIELDS = {
  id = true, source = true, type = true, time = true, specversion = true, datacontenttype = true,
  data = true, data_base64 = true, version = true, traceparent = true,
}

local function bad(message, ...)
  return nil, message:format(...), "BAD_DATA"
end

local function first_of(t, names)
  for i = 1, #names do
    local value = t[names[i]]
    if value ~= nil and value ~= "" and value ~= json.null then
      return value, names[i]
    end
  end
end

local function header_map(headers)
  local map = {}
  for i = 1, headers and #headers or 0 do
    local header = headers[i]
    map[header.name or header[1]] = header.value or header[2]
  end
  return map
end

-- First header under one of the names, which must be text when it is there.
local function text_header(headers, names)
  local value, name = first_of(headers, names)
  if value and not utf8.len(value) then
    return bad("header %s is not UTF-8 text", name)
  end
  return value
end

local function text_of(value)
  if type(value) == "string" then
    return value
  elseif type(value) == "number" then
    return tostring(value)
  end
end

-- A time in a body: text as it is, a number as milliseconds since 1970.
local function time_of(value, rec)
  if type(value) == "string" then
    return value
  end
  local ms = math.type(value) == "integer" and value or rec.timestamp
  if ms and ms >= 0 and ms < 1e14 then
    return sys.iso_time(ms)
  end
end

-- What every event has, whatever its shape.
local function base(rec, headers)
  local trace = headers.traceparent or headers.ce_traceparent
  return setmetatable({
    topic = rec.topic,
    partition = rec.partition,
    offset = rec.offset,
    key = rec.key,
    value = rec.value,
    headers = headers,
    trace = tracing.valid(trace) and trace or nil,
    attributes = {},
  }, Event)
end

local function is_json(content_type)
  return content_type == nil or content_type:lower():find("json", 1, true) ~= nil
end

-- Puts the value of the record into an event as its data, without decoding it yet.
local function defer(event, content_type)
  if event.value == nil then
    return event
  elseif is_json(content_type) then
    event[PENDING] = true
  else
    event.data = event.value
  end
  return event
end

local function finish(event, rec)
  event.id = event.id or ("%s:%d:%d"):format(rec.topic, rec.partition, rec.offset)
  event.version = event.version or "1.0"
  event.source = event.source or rec.topic
  return event
end

local function has_all(t, prefix)
  for _, name in ipairs(CE_REQUIRED) do
    local value = t[prefix .. name]
    if type(value) ~= "string" or value == "" then
      return false, name
    end
  end
  return true
end

local function check_specversion(version)
  if version:find("^1%.") then
    return true
  end
  return bad("CloudEvents specversion %s is not supported (1.0 is)", opts.show(version))
end

local function from_binary(event, headers, rec)
  local ok, message, code = check_specversion(headers.ce_specversion)
  if not ok then
    return nil, message, code
  end
  for name, value in pairs(headers) do
    local attribute = name:match("^ce_(.+)$")
    if attribute and not (utf8.len(value) and utf8.len(name)) then
      return bad("header %s is not UTF-8 text", utf8.len(name) and name or opts.show(name))
    elseif attribute and not CE_FIELDS[attribute] then
      event.attributes[attribute] = value
    end
  end
  event.id, event.type, event.source = headers.ce_id, headers.ce_type, headers.ce_source
  event.time = headers.ce_time or time_of(nil, rec)
  event.version = headers.ce_version
  return finish(defer(event, headers["content-type"]), rec)
end

local BASE64 = {}
for i = 1, 64 do
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  BASE64[letters:byte(i)] = i - 1
end

local function base64_decode(text)
  local body = type(text) == "string" and text:match("^([%w+/]*)=?=?$")
  if not body or #text % 4 ~= 0 then
    return bad("data_base64 is not Base64")
  end
  local out, bits, held = {}, 0, 0
  for i = 1, #body do
    held, bits = (held << 6 | BASE64[body:byte(i)]) & 0xffffff, bits + 6
    if bits >= 8 then
      bits = bits - 8
      out[#out + 1] = string.char(held >> bits & 0xff)
    end
  end
  return table.concat(out)
end

local function from_structured(event, body, rec)
  local all, missing = has_all(body, "")
  if not all then
    return bad("structured CloudEvent: attribute %s is missing", missing)
  end
  local ok, message, code = check_specversion(body.specversion)
  if not ok then
    return nil, message, code
  end
  local data = body.data
  if data == nil and body.data_base64 ~= nil then
    data, message, code = base64_decode(body.data_base64)
    if message then
      return nil, message, code
    end
  end
  for name, value in pairs(body) do
    if not CE_FIELDS[name] then
      event.attributes[name] = value
    end
  end
  event.id, event.type, event.source = body.id, body.type, body.source
  event.time = time_of(body.time, rec)
  event.version = text_of(body.version)
  event.trace = event.trace or tracing.valid(body.traceparent) and body.traceparent or nil
  if data ~= json.null then
    event.data = data
  end
  return finish(event, rec)
end

-- An empty one names no source, and CloudEvents does not have it.
local function source_of(body)
  local text = text_of(body.source)
  return text ~= "" and text or nil
end

-- { id, type, orderId, data, occurredAt, version } and its like.
local function from_envelope(event, body, type_name, rec)
  for name, value in pairs(body) do
    if not ENVELOPE[name] then
      event.attributes[name] = value
    end
  end
  event.type = type_name
  event.id = event.id or text_of(first_of(body, BODY_IDS))
  event.time = time_of(first_of(body, BODY_TIMES), rec)
  event.version = text_of(body.version)
  event.source = source_of(body)
  event.data = body.data
  return finish(event, rec)
end

-- The whole body is the data; the type, if there is one, stands in a header.
local function from_body(event, body, type_name, rec)
  event.type = type_name
  event.time = time_of(nil, rec)
  if body ~= json.null then
    event.data = body
  end
  return finish(event, rec)
end

local function from_json(event, header_type, rec)
  local body, message, code = json.lazy(event.value)
  if message then
    return nil, message, code
  end
  if type(body) == "table" then
    local content_type = event.headers["content-type"]
    local declared = content_type and content_type:lower():find("^application/cloudevents")
    if declared or not header_type and has_all(body, "") then
      return from_structured(event, body, rec)
    end
    local body_type = first_of(body, BODY_TYPES)
    if
      type(body_type) == "string"
      and type(body.data) == "table"
      and (header_type == nil or header_type == body_type)
    then
      return from_envelope(event, body, body_type, rec)
    end
  end
  return from_body(event, body, header_type, rec)
end

--- The event that a record holds. It has id, type (nil when nothing names one), source, time,
--- version, data, topic, partition, offset, key, headers (name -> last value), attributes (other
--- fields of its envelope, such as orderId), trace, and value, the text as it came. An event
--- without id gets "topic:partition:offset". nil, message, "BAD_DATA" for what cannot be read.
function M.from_record(rec)
  local headers = header_map(rec.headers)
  local event = base(rec, headers)
  local content_type = headers["content-type"]
  if content_type and content_type:lower():find("^application/cloudevents") then
    if not content_type:lower():find("^application/cloudevents%+json") then
      return bad("content-type %s is not supported", opts.show(content_type))
    elseif rec.value == nil then
      return bad("a structured CloudEvent without a value")
    end
    return from_json(event, nil, rec)
  elseif has_all(headers, "ce_") then
    return from_binary(event, headers, rec)
  end
  local type_name, message, code = text_header(headers, TYPE_HEADERS)
  if message then
    return nil, message, code
  end
  event.id, message, code = text_header(headers, ID_HEADERS)
  if message then
    return nil, message, code
  end
  if rec.value == nil or type_name and (event.id or not is_json(content_type)) then
    event.type, event.time = type_name, time_of(nil, rec)
    return finish(defer(event, content_type), rec)
  end
  return from_json(event, type_name, rec)
end

--- As from_record, in less time when the record is of a usual shape.
function M.of(rec)
  local event = core.of(rec)
  if event then
    return event
  end
  return M.from_record(rec)
end

-- Fields of an event that the engine made, which few handlers read: as from_record fills them in.
local REST = {
  time = function(_, body, timestamp)
    return time_of(body and first_of(body, BODY_TIMES), { timestamp = timestamp })
  end,
  version = function(_, body)
    return body and text_of(body.version) or "1.0"
  end,
  source = function(event, body)
    return body and source_of(body) or event.topic
  end,
  headers = function()
    return {}
  end,
  trace = function(event)
    local trace = event.headers.traceparent or event.headers.ce_traceparent
    return tracing.valid(trace) and trace or nil
  end,
  attributes = function(_, body)
    local attributes = {}
    for name, value in pairs(body or {}) do
      if not ENVELOPE[name] then
        attributes[name] = value
      end
    end
    return attributes
  end,
}

core.class {
  __name = Event.__name,
  __tostring = Event.__tostring,
  plain = Event,
  refuse = function(message, code)
    error(failure.permanent(message, code), 0)
  end,
  rest = function(event, name, envelope, timestamp)
    local make = REST[name]
    return make and make(event, envelope and core.body(event) or nil, timestamp)
  end,
}

local ENCODE = opts.spec("sipeat.event.encode", {
  mode = { "string", enum = { "binary", "structured", "plain", "body" } },
})

local function wire_data(event)
  local data = event.data
  if data ~= nil and event.definition then
    return event.definition:to_wire(data)
  end
  return data
end

local function attribute_name(name)
  return type(name) == "string" and name:find("^[a-z0-9]+$") and not CE_FIELDS[name]
end

local function write_binary(event, headers)
  headers.ce_specversion, headers.ce_id, headers.ce_type = "1.0", event.id, event.type
  headers.ce_source, headers.ce_time, headers.ce_version = event.source, event.time, event.version
  headers["content-type"] = "application/json"
  for name, value in pairs(event.attributes or {}) do
    local text = attribute_name(name) and text_of(value)
    if text then
      headers["ce_" .. name] = text
    end
  end
  local data = wire_data(event)
  if data == nil then
    data = json.null
  end
  return json.encode(data)
end

local function write_structured(event, headers)
  local body = {
    specversion = "1.0", id = event.id, type = event.type, source = event.source, time = event.time,
    datacontenttype = "application/json", version = event.version, data = wire_data(event),
  }
  for name, value in pairs(event.attributes or {}) do
    if attribute_name(name) then
      body[name] = value
    end
  end
  headers["content-type"] = "application/cloudevents+json; charset=UTF-8"
  return json.encode(body)
end

local function write_plain(event, headers)
  local body = {}
  for name, value in pairs(event.attributes or {}) do
    body[name] = value
  end
  body.id, body.type, body.source, body.version = event.id, event.type, event.source, event.version
  body.occurredAt, body.data = event.time, wire_data(event)
  headers["content-type"] = "application/json"
  return json.encode(body)
end

local function write_body(event, headers)
  headers["event-type"], headers["event-id"] = event.type, event.id
  headers["content-type"] = "application/json"
  local data = wire_data(event)
  if data == nil then
    data = json.null
  end
  return json.encode(data)
end

local WRITERS = {
  binary = write_binary, structured = write_structured, plain = write_plain, body = write_body,
}

local WRITTEN = { ["content-type"] = true, ["event-type"] = true, ["event-id"] = true }

-- Headers of an event that are its own: not what an earlier way of writing it put there.
local function own_headers(event)
  local headers = {}
  for name, value in pairs(event.headers or {}) do
    if not name:find("^ce_") and not WRITTEN[name] then
      headers[name] = value
    end
  end
  headers.traceparent = event.trace or headers.traceparent
  return headers
end

--- The value and the headers (name -> value) of an event on the wire, or nil, message, "BAD_DATA".
--- mode: "binary" and "structured" are CloudEvents, "plain" is { id, type, data, occurredAt,
--- version }, "body" is the data alone with its type in the header event-type. Default: what its
--- definition says, else binary.
function M.encode(event, options)
  local o = ENCODE(options)
  local definition = event.definition
  local headers = own_headers(event)
  local write = WRITERS[o.mode or definition and definition.mode or "binary"]
  local value, message, code = write(event, headers)
  if not value then
    return nil, ("event %s: %s"):format(tostring(event.type), message), code
  end
  return value, headers
end

return M
