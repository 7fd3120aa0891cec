--- Traces: spans of a script's own, and the trace that a handler works in.
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local task = require "sipeat.task"
local tracing = require "sipeat.tracing"

local M = {}

-- What a function gets whose work is not recorded.
local Nothing = {}
Nothing.__index = Nothing

function Nothing.set() end
function Nothing.event() end
function Nothing.fail() end

local nothing = setmetatable({}, Nothing)

-- The span as scripts see it.
local Span = {}
Span.__index = Span

function Span:set(name, value)
  if type(name) ~= "string" then
    error("span:set: the attribute's name is a text, got " .. opts.show(name), 2)
  end
  self.inner:set(name, value)
end

function Span:event(name, attributes)
  if type(name) ~= "string" then
    error("span:event: its name is a text, got " .. opts.show(name), 2)
  end
  self.inner:event(name, attributes)
end

function Span:fail(why, code)
  self.inner:fail(why, code)
end

-- Outside of an event a script's span may begin a trace.
local function begin()
  if not tracing.current() and task.event_id() == "" then
    tracing.begin(nil, nil, true)
    return true
  end
  return false
end

local function recorded(span, f)
  local results = table.pack(xpcall(f, failure.caught, setmetatable({ inner = span }, Span)))
  if not results[1] then
    span:fail(results[2])
  elseif failure.is(results[2]) then
    span:fail(results[2])
  elseif results[2] == nil and results[3] ~= nil then
    span:fail(results[3], results[4])
  end
  span:finish()
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

-- Its results, after it began a trace that is not recorded.
local function ended(...)
  tracing.set()
  return ...
end

--- Runs f(span) as a span of its own: its results, and what it raises is raised. A result of nil
--- and a message is the span's failure.
function M.span(name, attributes, f)
  if type(attributes) == "function" and f == nil then
    attributes, f = nil, attributes
  end
  if type(name) ~= "string" or name == "" then
    error("trace.span: the name is a text, got " .. opts.show(name), 2)
  elseif type(f) ~= "function" then
    error("trace.span: a function is needed, got " .. opts.show(f), 2)
  elseif attributes ~= nil and type(attributes) ~= "table" then
    error("trace.span: attributes is a table of names to values, got " .. opts.show(attributes), 2)
  elseif not tracing.on then
    return f(nothing)
  end
  local began = begin()
  local span = tracing.start(name, tracing.INTERNAL, attributes)
  if span then
    return recorded(span, f)
  elseif began then
    return ended(f(nothing))
  end
  return f(nothing)
end

--- The context that this task works in, as the headers traceparent and tracestate have it; nil when
--- it works in none.
function M.current()
  return tracing.current()
end

--- Is what this task does recorded?
function M.recording()
  return tracing.recording()
end

return M
