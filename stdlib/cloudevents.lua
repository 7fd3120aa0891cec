--- CloudEvents 1.0 over HTTP: binary, structured and batched requests to events and back. (Over
--- Kafka a flow reads and writes them by itself; both go through sipeat.record.)
local answer = require "sipeat.answer"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local record = require "sipeat.record"
local sys = require "sipeat.core.sys"

local M = {}

local BATCH_ITEMS = 10000 -- of a request that is read
local BATCH_TYPE = "application/cloudevents-batch+json"

local TO_REQUEST = opts.spec("sipeat.cloudevents.to_request", {
  mode = { "string", default = "binary", enum = { "binary", "structured" } },
  content_type = { "string" },
})

local SEND = opts.spec("sipeat.cloudevents.send", {
  mode = { "string", default = "binary", enum = { "binary", "structured", "batch" } },
  content_type = { "string" },
  headers = { "table", default = {} },
  timeout = { "duration", default = "10s" },
})

-- --- header values: percent-encoded UTF-8 (HTTP binding, section 3.1.3.2) ---

local function encode_value(text)
  return (text:gsub("[^!#$&-~]", function(c) -- all but printable ASCII without blank, " and %
    return ("%%%02X"):format(c:byte())
  end))
end

local function decode_value(text)
  local quoted = text:match '^"(.*)"$'
  text = quoted and quoted:gsub("\\(.)", "%1") or text
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- --- reading ---

local function bad(message, ...)
  return nil, "cloudevents: " .. message:format(...), "BAD_DATA"
end

local function content_type_of(req)
  return req.headers["content-type"] or ""
end

local function is_batch(req)
  return content_type_of(req):lower():find("^application/cloudevents%-batch") ~= nil
end

local function read(value, headers)
  local list = {}
  for name, text in pairs(headers) do
    list[#list + 1] = { name, text }
  end
  local event, message = record.from_record { value = value, headers = list, partition = 0,
    offset = 0, topic = "http" }
  if not event then
    return bad("%s", message)
  end
  event.topic, event.partition, event.offset = nil, nil, nil
  local ok, why = record.data(event) -- a sender is told at once, not when somebody looks at it
  if ok == nil and why then
    return bad("%s", why)
  end
  return event
end

local REQUIRED = { "specversion", "id", "source", "type" }

-- Other headers of the request are not the event's: they would leave with it when it is published.
local function read_binary(req)
  local headers = {
    ["content-type"] = req.headers["content-type"], traceparent = req.headers.traceparent,
  }
  for name, value in pairs(req.headers) do
    local attribute = name:match "^ce%-([a-z0-9]+)$"
    if attribute then
      headers["ce_" .. attribute] = decode_value(value)
    end
  end
  for _, name in ipairs(REQUIRED) do
    if not headers["ce_" .. name] or headers["ce_" .. name] == "" then
      return bad("the header ce-%s is missing, and the body is no CloudEvent by its type", name)
    end
  end
  return read(req.body ~= "" and req.body or nil, headers)
end

local function read_structured(text, req)
  return read(text, { ["content-type"] = "application/cloudevents+json",
    traceparent = req.headers.traceparent })
end

local function read_batch(req)
  local items, message = json.decode(req.body or "")
  if not json.is_array(items) then
    return bad("a batch is a JSON array%s", message and ": " .. message or "")
  elseif #items > BATCH_ITEMS then
    return bad("a batch has at most %d events", BATCH_ITEMS)
  end
  local events = {}
  for i, item in ipairs(items) do
    if type(item) ~= "table" then
      return bad("event %d of the batch is no object", i)
    end
    local event, why = read_structured(assert(json.encode(item)), req)
    if not event then
      return bad("event %d of the batch: %s", i, why)
    end
    events[i] = event
  end
  return events
end

--- The event of a request that is binary or structured; or nil, message, "BAD_DATA".
---@param req {headers: table<string, string>, body: string}
function M.from_request(req)
  if is_batch(req) then
    return bad "the request is a batch: read it with cloudevents.all_from_request"
  elseif not content_type_of(req):lower():find "^application/cloudevents" then
    return read_binary(req)
  elseif not content_type_of(req):lower():find "^application/cloudevents%+json" then
    return bad("the content type %s is not supported", opts.show(content_type_of(req)))
  end
  return read_structured(req.body or "", req)
end

--- The events of a request of any mode, as a list; or nil, message, "BAD_DATA": all or none.
function M.all_from_request(req)
  if is_batch(req) then
    return read_batch(req)
  end
  local event, message, code = M.from_request(req)
  if not event then
    return nil, message, code
  end
  return { event }
end

--- The attributes of an event as CloudEvents name them, extensions included; values are texts,
--- numbers or booleans.
function M.attributes(event)
  local out = {}
  for name, value in pairs(event.attributes or {}) do
    out[name] = value
  end
  local content_type = event.headers and event.headers["content-type"]
  if content_type and content_type:lower():find "^application/cloudevents" then
    local body = json.decode(event.value)
    content_type = body.datacontenttype or "application/json"
  end
  out.id, out.source, out.type, out.time = event.id, event.source, event.type, event.time
  out.specversion, out.datacontenttype = "1.0", content_type
  return out
end

-- --- writing ---

local function check(event, level)
  for _, name in ipairs { "id", "source", "type" } do
    if type(event) ~= "table" or type(event[name]) ~= "string" or event[name] == "" then
      error(("cloudevents: the event has no %s"):format(name), level + 1)
    end
  end
end

-- Data that is text or bytes of a type of its own, not JSON.
local function raw_type(event, o)
  local kind = o.content_type
  if kind and not kind:lower():find "json" then
    if type(event.data) ~= "string" then
      error(("cloudevents: data of the type %s is a string"):format(kind), 3)
    end
    return kind
  end
end

-- The event without data that JSON cannot hold.
local function without_bytes(event)
  return setmetatable({ data = "" }, { __index = event })
end

local function binary(event, raw)
  local shown = raw and without_bytes(event) or event
  local text, headers, code = record.encode(shown, { mode = "binary" })
  if not text then
    return nil, headers, code
  end
  local out = {}
  for name, value in pairs(headers) do
    local attribute = name:match "^ce_(.+)$"
    out[attribute and "ce-" .. attribute or name] = attribute and encode_value(value) or value
  end
  out["content-type"] = raw or out["content-type"]
  return { headers = out, body = raw and event.data or event.data ~= nil and text or "" }
end

local function structured(event, raw)
  local bytes = raw and not utf8.len(event.data)
  local shown = bytes and without_bytes(event) or event
  local text, headers, code = record.encode(shown, { mode = "structured" })
  if not text then
    return nil, headers, code
  elseif raw then
    local body = assert(json.decode(text))
    body.datacontenttype = raw
    if bytes then
      body.data, body.data_base64 = nil, sys.base64(event.data)
    end
    text = assert(json.encode(body))
  end
  return { headers = headers, body = text }
end

--- An event as a request: { headers =, body = } for http.post. With a `content_type` that is not
--- JSON the event's data is a string of that type.
---@param event sipeat.Event
---@param options sipeat.cloudevents.ToRequestOptions?
function M.to_request(event, options)
  local o = TO_REQUEST(options)
  check(event, 2)
  local raw = raw_type(event, o)
  return (o.mode == "binary" and binary or structured)(event, raw)
end

--- Events as one request.
---@param events sipeat.Event[]
function M.to_batch(events)
  local bodies = {}
  for i, event in ipairs(events) do
    check(event, 2)
    local one, message, code = structured(event)
    if not one then
      return nil, message, code
    end
    bodies[i] = one.body
  end
  return {
    headers = { ["content-type"] = BATCH_TYPE .. "; charset=UTF-8" },
    body = "[" .. table.concat(bodies, ",") .. "]",
  }
end

--- Posts an event, or a list of them in the mode "batch": the answer; or nil and a failure, also
--- when the receiver refuses it.
---@param url string|sipeat.Secret
---@param event sipeat.Event|sipeat.Event[]
---@param options sipeat.cloudevents.SendOptions?
function M.send(url, event, options)
  local o = SEND(options)
  local made, message, code
  if o.mode == "batch" then
    made, message, code = M.to_batch(event)
  else
    made, message, code = M.to_request(event, { mode = o.mode, content_type = o.content_type })
  end
  if not made then
    return nil, failure.of(message, code)
  end
  for name, value in pairs(o.headers) do
    made.headers[name:lower()] = env.is_secret(value) and env.reveal(value) or value
  end
  made.timeout = o.timeout .. "ms"
  local response
  response, message, code = require("sipeat.http").post(url, made)
  if not response then
    return nil, failure.of("cloudevents: " .. message, code)
  end
  local why = answer.failure("cloudevents", response)
  if why then
    return nil, why
  end
  return response
end

return M
