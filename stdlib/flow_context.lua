--- The ctx of a handler: one for each event, the same through all of its attempts.
local core = require "sipeat.core.flow"
local durable = require "sipeat.durable"
local durable_wait = require "sipeat.durable_wait"
local events = require "sipeat.event"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local opts = require "sipeat.opts"
local trace = require "sipeat.flow_trace"
local tracing = require "sipeat.tracing"

local M = {}

-- Keys in a ctx that are no field of a script's; the two numbers are those of flow_lua.h.
local JOB <const> = "(job)" -- what the flow knows of the event, once it has to know anything
local TICKET <const> = 1 -- the number of the event, as long as there is no job
local UNSENT <const> = "(unsent)" -- of a transactional flow, as long as there is no job
local EVENT <const> = 2

local METHODS = {}

-- Headers as the engine takes them: a list of { name, value }.
local function header_list(headers, level)
  if headers == nil then
    return nil
  elseif type(headers) ~= "table" then
    error("ctx:emit: headers is a table, got " .. opts.show(headers), level + 1)
  end
  local list = {}
  for name, value in pairs(headers) do
    if type(value) == "table" then
      name, value = value[1] or value.name, value[2] or value.value
    end
    if type(name) ~= "string" or not (value == nil or type(value) == "string") then
      local why = "ctx:emit: headers is { name = text } or a list of { name, text }"
      error(why, level + 1)
    end
    list[#list + 1] = { name, value }
  end
  return list
end

--- Codes of an output that will be refused again.
M.refused_for_good = {
  INVALID_MSG = true,
  INVALID_MSG_SIZE = true,
  INVALID_RECORD = true,
  MSG_SIZE_TOO_LARGE = true,
  TOPIC_AUTHORIZATION_FAILED = true,
  TOPIC_EXCEPTION = true,
  _INVALID_ARG = true,
  _UNKNOWN_PARTITION = true,
}

--- The job of a ctx. What succeeds at once needs none, so it is made when something asks for it.
function M.job(ctx)
  local job = rawget(ctx, JOB)
  if not job then
    local flow = getmetatable(ctx).flow
    local record, ticket, started_at_ms = core.open(ctx[TICKET])
    job = {
      flow = flow, record = record, event = ctx[EVENT], ctx = ctx, ticket = ticket,
      phase = "work", attempt = 1, counted = true, started_at_ms = started_at_ms,
    }
    job.unsent = rawget(ctx, UNSENT)
    ctx[JOB], ctx[TICKET], ctx[UNSENT] = job, nil, nil
    ctx.attempt, ctx.final = 1, flow.plan.attempts <= 1
    trace.adopt(job)
    ticket:keep(job)
  end
  return job
end

-- An event is not done while an output that it asked for was refused, whether the handler looks at
-- the answer or not.
local function refuse(ctx, message, code)
  M.job(ctx).refused = failure.of(message, code)
  return nil, message, code
end

-- What a step emits is written before the step counts as done: it is not run again for it. So what
-- is not written fails the step, whether that looks at the answer or not.
local function send_now(job, topic, key, value, headers)
  local producer = kafka.producer { outbox = job.flow.outbox }
  local ok, message, code = producer:send {
    topic = topic, key = key, value = value, headers = headers,
  }
  if not ok then
    local kind = M.refused_for_good[code] and "permanent" or nil
    error(failure.new("an output was not written: " .. message, code, kind), 0)
  end
  return true
end

-- Queues an output, or keeps it for later when it finds no place now.
local function queue(ctx, ticket, job, topic, key, value, headers)
  if job and job.unsent then -- in order: behind the one that found no place
    job.unsent[#job.unsent + 1] = { topic, key, value, headers }
    return true
  elseif job and job.flow.transactional then -- an attempt that fails leaves nothing behind
    job.unsent = { { topic, key, value, headers } }
    return true
  elseif ticket and getmetatable(ctx).flow.transactional then -- likewise
    local rest = rawget(ctx, UNSENT) or {}
    rest[#rest + 1] = { topic, key, value, headers }
    ctx[UNSENT] = rest
    return true
  end
  local ok, message, code
  if ticket then
    ok, message, code = core.emit(ticket, topic, key, value, headers)
  else
    ok, message, code = job.ticket:emit(topic, key, value, headers)
  end
  if ok then
    return true
  elseif M.refused_for_good[code] or code == "ECANCELED" then
    return refuse(ctx, message, code)
  end
  M.job(ctx).unsent = { { topic, key, value, headers } } -- emitted once the handler has succeeded
  return true
end

local function send(ctx, level, topic, key, value, headers)
  local ticket = ctx[TICKET]
  local job = not ticket and ctx[JOB]
  if job and job.phase ~= "work" then
    error("emit: the event has ended; emit while its handler runs", level + 1)
  elseif job and job.run and job.run.added then
    return send_now(job, topic, key, value, headers)
  elseif not tracing.on then
    return queue(ctx, ticket, job, topic, key, value, headers)
  end
  local span
  headers, span = tracing.outgoing(topic, headers)
  local ok, message, code = queue(ctx, ticket, job, topic, key, value, headers)
  if span then
    span:ended(ok, message, code)
  end
  return ok, message, code
end

local function emit(ctx, level, topic, key, value, headers)
  if type(topic) ~= "string" or topic == "" then
    error("ctx:emit: the topic is a text, got " .. opts.show(topic), level + 1)
  elseif key ~= nil and type(key) ~= "string" then
    error("ctx:emit: the key is a text or nil, got " .. opts.show(key), level + 1)
  end
  local list = header_list(headers, level + 1)
  if type(value) == "table" then
    local text, message, code = json.encode(value)
    if not text then
      return refuse(ctx, message, code)
    end
    value = text
  elseif value ~= nil and type(value) ~= "string" then
    error("ctx:emit: the value is a text, a table or nil, got " .. opts.show(value), level + 1)
  end
  return send(ctx, level + 1, topic, key, value, list)
end

--- Queues one output; the event is not finished before it is acknowledged. A table is written as
--- JSON. true; or nil, message, code when it is refused for good, and then the attempt fails.
METHODS.emit = core.emitter(function(self, topic, key, value, headers)
  return emit(self, 2, topic, key, value, headers)
end)

--- Emits an event (of a definition's new, or made by create_kafka_event) to its topic.
function METHODS:publish(event)
  if type(event) ~= "table" or not event.type then
    error("ctx:publish: an event is needed, as made by a definition's new", 2)
  end
  local topic = event.topic or event.definition and event.definition.topic
  if not topic then
    error(("ctx:publish: %s has no topic"):format(event.type), 2)
  end
  local value, headers, code = events.encode(event)
  if not value then
    return refuse(self, headers, code)
  end
  return emit(self, 2, topic, event.key, value, headers)
end

--- Waits; true, or nil, message, "ECANCELED". With a journal, a long sleep costs a row.
METHODS.sleep = durable_wait.sleep

--- Waits for sipeat.signal(name, key, body): the body, or nil, message, code.
METHODS.wait = durable_wait.wait

--- f(outcome) is called once, in a task of its own, when the event is done or dead. What an earlier
--- attempt registered is forgotten.
function METHODS:on_end(f)
  if type(f) ~= "function" then
    error("ctx:on_end: a function is needed, got " .. opts.show(f), 2)
  end
  local job = M.job(self)
  job.ends = job.ends or {}
  job.ends[#job.ends + 1] = f
end

-- Fields that are found, or made, when they are first asked for.
local FIELDS = {
  id = function(ctx) return ctx[EVENT].id end,
  key = function(ctx) return ctx[EVENT].id end,
  trace = function(ctx) return tracing.on and tracing.current() or ctx[EVENT].trace end,
  log = function(_, flow) return flow.logger end,
  flow = function(_, flow) return flow.group end,
  attempt = function() return 1 end,
  run = function(ctx)
    ctx.run = durable.run(M.job(ctx))
    return ctx.run
  end,
  final = function(_, flow) return flow.plan.attempts <= 1 end,
}

for _, name in ipairs { "memory", "results" } do
  FIELDS[name] = function(ctx)
    local made = { part = nil } -- room
    ctx[name] = made
    return made
  end
end

-- The metatable of a flow's contexts.
local function class(flow)
  if not flow.contexts then
    flow.contexts = {
      flow = flow,
      __index = function(ctx, name)
        local method = METHODS[name]
        if method then
          return method
        end
        local field = FIELDS[name]
        return field and field(ctx, flow)
      end,
    }
  end
  return flow.contexts
end

--- The ctx of a job of sipeat.flow_run.
function M.new(job, flow)
  return setmetatable({ [JOB] = job, [EVENT] = job.event, attempt = 0, final = false }, class(flow))
end

--- The metatable of a flow's contexts, for the engine.
M.class = class

--- What a handler of a transactional flow has emitted, if it has no job.
function M.unsent(ctx)
  return rawget(ctx, UNSENT)
end

--- The event of a ctx.
function M.event(ctx)
  return ctx[EVENT]
end

--- Has nothing asked for the job of this ctx yet?
function M.is_plain(ctx)
  return ctx[TICKET] ~= nil
end

return M
