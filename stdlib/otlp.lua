--- Spans to an OpenTelemetry collector: OTLP over HTTP as JSON, in batches that no event waits for.
--
-- JSON is protobuf's, but for ids, which are hex, and enums, which are numbers; 64-bit integers are
-- texts (opentelemetry-proto, docs/specification.md). 429, 502, 503 and 504 are tried again, as
-- long as the batch does; all else that a collector refuses is dropped and counted, and so is what
-- finds no room. The settings are OpenTelemetry's variables.
local answer = require "sipeat.answer"
local batch = require "sipeat.batch"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local http = require "sipeat.http"
local json = require "sipeat.json"
local log = require("sipeat.log").new "otlp"
local sys = require "sipeat.core.sys"

local M = {}

local STATUS_ERROR = 2
local ANSWER_BYTES = "256kb"
local AGAIN = { [429] = true, [502] = true, [503] = true, [504] = true }
local SILENT_MS = 60 * 1000 -- between two lines about spans that were not taken

-- --- encoding ---

local function text(value)
  return sys.valid_utf8(value) and value or sys.utf8_clean(value)
end

local function double(value)
  if value ~= value then
    return "NaN"
  elseif value == math.huge or value == -math.huge then
    return value > 0 and "Infinity" or "-Infinity"
  end
  return value
end

local function value_of(value)
  local kind = math.type(value) or type(value)
  if kind == "integer" then
    return { intValue = tostring(value) }
  elseif kind == "float" then
    return { doubleValue = double(value) }
  elseif kind == "boolean" then
    return { boolValue = value }
  end
  return { stringValue = text(tostring(value)) }
end

-- A table of names to values as a list, sorted; nil when it is empty.
local function attributes_of(t)
  local list = {}
  for name, value in pairs(t) do
    list[#list + 1] = { key = text(tostring(name)), value = value_of(value) }
  end
  table.sort(list, function(a, b)
    return a.key < b.key
  end)
  return list[1] and list or nil
end

local function events_of(span)
  local list = {}
  for i, event in ipairs(span.events) do
    list[i] = {
      timeUnixNano = tostring(event.at_ns), name = text(event.name),
      attributes = attributes_of(event.attributes),
    }
  end
  return list[1] and list or nil
end

--- The JSON of one span.
function M.encode(span)
  return json.encode {
    traceId = span.trace_id, spanId = span.id, parentSpanId = span.parent_id,
    traceState = span.before_state, flags = 1, name = text(span.name), kind = span.kind,
    startTimeUnixNano = tostring(span.start_ns), endTimeUnixNano = tostring(span.end_ns),
    attributes = attributes_of(span.attributes), events = events_of(span),
    droppedAttributesCount = span.count > span.limit and span.count - span.limit or nil,
    status = span.error and { code = STATUS_ERROR, message = text(span.error) } or nil,
  }
end

-- "a=1,b=2" with percent-encoded values.
local function pairs_of(given)
  local out = {}
  for name, value in (given or ""):gmatch "([^=,]+)=([^,]*)" do
    value = value:gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
    out[name:match "^%s*(.-)%s*$"] = value:match "^%s*(.-)%s*$"
  end
  return out
end

local function resource()
  local attributes = pairs_of(env.get "OTEL_RESOURCE_ATTRIBUTES")
  attributes["service.name"] = env.get "OTEL_SERVICE_NAME" or attributes["service.name"] or "sipeat"
  attributes["service.instance.id"] = attributes["service.instance.id"] or sys.uuid()
  attributes["process.pid"] = sys.pid
  attributes["telemetry.sdk.name"], attributes["telemetry.sdk.language"] = "sipeat", "lua"
  attributes["telemetry.sdk.version"] = sys.version
  return attributes
end

-- What stands before and behind the spans of a request.
local function envelope()
  local around = json.encode {
    resourceSpans = { {
      resource = { attributes = attributes_of(resource()) },
      scopeSpans = { {
        scope = { name = "sipeat", version = sys.version }, spans = { "(spans)" },
      } },
    } },
  }
  local from, to = around:find("\"(spans)\"", 1, true)
  return around:sub(1, from - 1), around:sub(to + 1)
end

-- --- sending ---

local function number(name, default, min)
  local given = env.get(name)
  local value = given and math.tointeger(tonumber(given))
  if given and (not value or value < min) then
    log:warn(("%s=%s is no integer from %d on: %d is used"):format(name, given, min, default))
  end
  return value and value >= min and value or default
end

local function setting(name)
  return env.get("OTEL_EXPORTER_OTLP_TRACES_" .. name) or env.get("OTEL_EXPORTER_OTLP_" .. name)
end

local function url_of()
  local url = env.get "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
  if not url then
    url = env.get "OTEL_EXPORTER_OTLP_ENDPOINT":gsub("/+$", "") .. "/v1/traces"
  end
  if setting "PROTOCOL" == "grpc" then
    log:warn("OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not spoken: JSON goes by HTTP to " .. url)
  end
  return url
end

local complained_ms = -SILENT_MS

-- A collector that takes a request may say that it has thrown some of it away: that is not sent
-- again.
local function note_rejected(body)
  local said = body ~= "" and json.decode(body)
  local partial = type(said) == "table" and said.partialSuccess
  local count = type(partial) == "table" and tonumber(partial.rejectedSpans) or 0
  if count > 0 and sys.monotonic_ms() - complained_ms >= SILENT_MS then
    complained_ms = sys.monotonic_ms()
    log:warn(("the collector has rejected %d spans: %s"):format(
      count, tostring(partial.errorMessage or "it does not say why")
    ))
  end
end

-- What the answer to a batch means: true, or nil and a failure.
local function verdict(response, message, code)
  if not response and code == "TOO_BIG" then -- the answer is: what was sent has arrived
    return nil, failure.permanent("otlp: " .. message, "BAD_ANSWER")
  elseif not response then
    return nil, failure.of("otlp: " .. message, code)
  end
  local why = answer.failure("otlp", response)
  if not why then
    note_rejected(response.body)
    return true
  elseif not AGAIN[response.status] and why.code ~= "TOO_BIG" then
    why.kind = "permanent"
  end
  return nil, why
end

local function sender()
  local url, headers = url_of(), pairs_of(setting "HEADERS")
  local timeout = number("OTEL_EXPORTER_OTLP_TIMEOUT", 10000, 1) .. "ms"
  local before, behind = envelope()
  for name, value in pairs(headers) do
    headers[name] = env.conceal(value)
  end
  headers["content-type"], headers["user-agent"] = "application/json", "sipeat/" .. sys.version
  return function(items)
    return verdict(http.post(url, {
      headers = headers, body = before .. table.concat(items, ",") .. behind, timeout = timeout,
      ca_file = setting "CERTIFICATE", max_body_bytes = ANSWER_BYTES,
    }))
  end
end

--- f(span), which queues a span for the collector that the environment names, and never waits.
function M.exporter()
  local queue = batch.new {
    name = "otlp", send = sender(),
    max_items = number("OTEL_BSP_MAX_QUEUE_SIZE", 8192, 1),
    batch_items = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1),
    flush = number("OTEL_BSP_SCHEDULE_DELAY", 1000, 1) .. "ms",
    max_bytes = "16mb", batch_bytes = "2mb",
  }
  return function(span)
    local item, message = M.encode(span)
    if item then
      queue:add(item)
    else
      log:warn("a span cannot be written: " .. message)
    end
  end
end

return M
