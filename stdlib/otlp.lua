--- Spans to an OpenTelemetry collector: OTLP over HTTP as JSON, in batches that no event waits for.
--
-- Spans are written where they end (core/spans.h), and fetched from there many at a time.
-- JSON is protobuf's, but for ids, which are hex, and enums, which are numbers; 64-bit integers are
-- texts (opentelemetry-proto, docs/specification.md). 429, 502, 503 and 504 are tried again, as
-- long as the batch does; all else that a collector refuses is dropped and counted, and so is what
-- finds no room. The settings are OpenTelemetry's variables.
local answer = require "sipeat.answer"
local batch = require "sipeat.batch"
local core = require "sipeat.core.trace"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local http = require "sipeat.http"
local json = require "sipeat.json"
local log = require("sipeat.log").new "otlp"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local ANSWER_BYTES = "256kb"
local AGAIN = { [429] = true, [502] = true, [503] = true, [504] = true }
local SILENT_MS = 60 * 1000 -- between two lines about spans that were not taken

-- --- encoding ---

local function text(value)
  return sys.valid_utf8(value) and value or sys.utf8_clean(value)
end

-- The span with every text in it as UTF-8.
local function clean(span)
  local function cleaned(t)
    local out = {}
    for name, value in pairs(t) do
      out[text(tostring(name))] = type(value) == "string" and text(value) or value
    end
    return out
  end
  span.name, span.error = text(span.name), span.error and text(span.error)
  span.attributes = cleaned(span.attributes)
  for _, event in ipairs(span.events) do
    event.name, event.attributes = text(event.name), cleaned(event.attributes)
  end
  return span
end

--- Puts a span that is not UTF-8 among those that wait to be sent.
function M.put(span)
  return core.put(clean(span))
end

local function attributes_of(t)
  local list = {}
  for _, name in ipairs(opts.names(t)) do
    list[#list + 1] = { key = name, value = { stringValue = text(tostring(t[name])) } }
  end
  return list
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

local queue

--- Fetches what waits for the collector that the environment names; never waits.
function M.fetch()
  queue = queue or batch.new {
    name = "otlp", send = sender(), source = core.take,
    max_items = number("OTEL_BSP_MAX_QUEUE_SIZE", 8192, 1),
    batch_items = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1),
    flush = number("OTEL_BSP_SCHEDULE_DELAY", 1000, 1) .. "ms",
    max_bytes = "16mb", batch_bytes = "2mb",
  }
  queue:fetch()
end

return M
