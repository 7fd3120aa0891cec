--- The seam between work and its traces: contexts that travel, and spans of work that is recorded.
--
-- `on` says whether this process traces at all, and is what the rest asks first. A span is made
-- only for work that is recorded: start answers nil for all other. Settings are those of the
-- environment, by the names that OpenTelemetry gives them, read once when a worker begins.
local core = require "sipeat.core.trace"
local sys = require "sipeat.core.sys"

local M = {}

M.INTERNAL, M.SERVER, M.CLIENT, M.PRODUCER, M.CONSUMER = 1, 2, 3, 4, 5 -- SpanKind of OTLP

local ATTRIBUTES, EVENTS = 64, 32 -- of one span: others are left out
local TEXT_BYTES = 4096 -- of one attribute

M.current = core.headers
M.recording = core.recording
M.is_parent = core.valid

-- --- spans ---

local Span = {}
Span.__index = Span

local sink -- f(span), which never waits

-- A value as an attribute has it; nil for what has none.
local function plain(value)
  local kind = type(value)
  if kind == "string" then
    return #value > TEXT_BYTES and sys.utf8_clean(value:sub(1, TEXT_BYTES)) or value
  elseif kind == "number" or kind == "boolean" then
    return value
  end
  return value ~= nil and tostring(value) or nil
end

--- Sets an attribute. Texts are cut at 4 KiB, and the 65th attribute is left out.
function Span:set(name, value)
  local attributes = self.attributes
  if attributes[name] == nil then
    self.count = self.count + 1
    if self.count > ATTRIBUTES then
      return
    end
  end
  attributes[name] = plain(value)
end

--- Notes that something happened now.
function Span:event(name, attributes)
  if #self.events < EVENTS then
    local at_ns = core.now()
    self.events[#self.events + 1] = { name = name, at_ns = at_ns, attributes = attributes or {} }
  end
end

--- The work has failed: with a failure, or a message and a code.
function Span:fail(why, code)
  local message = plain(tostring(why))
  local is_failure = type(why) == "table" and why.code
  code = is_failure or code or "ERROR"
  self.error = message
  self:set("error.type", tostring(code))
  self:event("exception", {
    ["exception.type"] = tostring(code), ["exception.message"] = message,
    ["exception.stacktrace"] = type(why) == "table" and plain(why.traceback) or nil,
  })
end

--- Ends the span, and works in what was around it.
function Span:finish()
  if self.end_ns then
    return
  end
  local _, mono = core.now()
  self.end_ns = self.start_ns + (mono - self.began)
  core.set(self.before, self.before_state)
  if sink then
    pcall(sink, self) -- whatever is wrong with it is not the event's
  end
end

Span.__close = Span.finish

--- Ends the span with what a function of ours answered: a value, or nil, message, code.
function Span:ended(ok, message, code)
  if not ok then
    self:fail(message, code)
  end
  self:finish()
end

--- The headers that say: this span is the parent.
function Span:context()
  return ("00-%s-%s-01"):format(self.trace_id, self.id), self.before_state
end

-- A span with that context before it, and what core.enter gives.
local function made(name, kind, attributes, before, state, trace_id, parent_id, id, wall, mono)
  if not trace_id then
    return nil
  end
  local span = setmetatable({
    name = name, kind = kind, trace_id = trace_id, parent_id = parent_id, id = id,
    start_ns = wall, began = mono, before = before, before_state = state,
    attributes = {}, count = 0, limit = ATTRIBUTES, events = {},
  }, Span)
  for key, value in next, attributes or {} do
    span:set(key, value)
  end
  return span
end

--- A span of what this task does from now on; nil when that is not recorded.
function M.start(name, kind, attributes)
  local before, state = core.current()
  return made(name, kind, attributes, before, state, core.enter())
end

--- Goes on with a span that began elsewhere: nil without the ids that it has.
function M.adopt(name, kind, attributes, before, state, ...)
  return made(name, kind, attributes, before, state ~= "" and state or nil, ...)
end

--- Work begins that came with these headers (nil or malformed: with none). `keep`: a new trace that
--- is not recorded is a trace all the same, so that what follows is not recorded either.
function M.begin(parent, state, keep)
  return core.begin(parent, state, keep)
end

--- Works in that context from now on, or, without one, in none.
function M.set(parent, state)
  core.set(parent, state)
end

-- --- headers ---

local NAMES = { traceparent = true, tracestate = true }

--- A copy of a list of headers with that context in place of the one they have.
function M.stamped(headers, parent, state)
  local out = {}
  for _, header in ipairs(headers or {}) do
    if not NAMES[header[1]] then
      out[#out + 1] = header
    end
  end
  out[#out + 1] = { "traceparent", parent }
  out[#out + 1] = state and { "tracestate", state } or nil
  return out
end

-- A context that whoever sends put there, of another trace.
local function is_foreign(headers, parent)
  for _, header in ipairs(headers or {}) do
    if header[1] == "traceparent" and core.valid(header[2]) then
      return header[2]:sub(4, 35) ~= parent:sub(4, 35)
    end
  end
  return false
end

--- The list of headers of what leaves now, with the context of the task.
function M.inject(headers)
  local parent, state = core.headers()
  if not parent or is_foreign(headers, parent) then
    return headers
  end
  return M.stamped(headers, parent, state)
end

--- The same for a record that goes to a topic, and the span of its sending, if it is recorded: the
--- caller ends it.
function M.outgoing(topic, headers, count)
  local parent = core.current()
  if not parent or is_foreign(headers, parent) then
    return headers
  end
  local span = M.start("send " .. topic, M.PRODUCER, {
    ["messaging.system"] = "kafka", ["messaging.operation.name"] = "send",
    ["messaging.operation.type"] = "send", ["messaging.destination.name"] = topic,
    ["messaging.batch.message_count"] = count,
  })
  return M.inject(headers), span
end

-- --- settings ---

local SAMPLERS = { -- parent-based, ratio: nil takes the argument
  always_on = { false, 1 }, always_off = { false, 0 }, traceidratio = { false },
  parentbased_always_on = { true, 1 }, parentbased_always_off = { true, 0 },
  parentbased_traceidratio = { true },
}

local function env(name)
  local value = sys.getenv(name)
  return value ~= "" and value or nil
end

local function warn(text, ...)
  require("sipeat.log").new("trace"):warn(text:format(...))
end

-- Whether new traces are recorded: parent-based, and their ratio.
local function sampler()
  local name, argument = env "OTEL_TRACES_SAMPLER", env "OTEL_TRACES_SAMPLER_ARG"
  local chosen = SAMPLERS[name or argument and "parentbased_traceidratio"
    or "parentbased_always_on"]
  if not chosen then
    warn("OTEL_TRACES_SAMPLER=%s is unknown: parentbased_always_on is used", name)
    chosen = SAMPLERS.parentbased_always_on
  end
  local ratio = chosen[2]
  if not ratio then
    ratio = tonumber(argument or "1")
    if not ratio or not (ratio >= 0 and ratio <= 1) then
      warn("OTEL_TRACES_SAMPLER_ARG=%s is no ratio from 0 to 1: 1 is used", argument)
      ratio = 1
    end
  end
  return chosen[1], ratio
end

--- Where all spans go instead: f(span) must not wait. nil: nowhere; contexts travel all the same.
function M.export(f)
  sink = f
  core.each(f ~= nil)
end

--- Reads the settings of the environment, and begins or ends tracing in this worker.
function M.configure()
  local disabled = (env "OTEL_SDK_DISABLED" or ""):lower() == "true"
  local endpoint = env "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" or env "OTEL_EXPORTER_OTLP_ENDPOINT"
  local exports = endpoint and env "OTEL_TRACES_EXPORTER" ~= "none"
  M.on = not disabled and (exports or env "OTEL_TRACES_SAMPLER_ARG") ~= nil
  M.export(nil)
  core.export(nil)
  if not M.on then
    return core.stop()
  end
  local parent_based, ratio = sampler()
  core.start(ratio, parent_based)
  if exports then
    core.export(function() require("sipeat.otlp").fetch() end)
    sink = function(span)
      if not core.put(span) then
        require("sipeat.otlp").put(span)
      end
    end
  end
end

M.configure()

return M
