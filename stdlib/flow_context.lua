--- The ctx of a handler: one for each event, the same through all of its attempts.
local events = require "sipeat.event"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local task = require "sipeat.task"

local M = {}

local JOB = {} -- key in a ctx: what the flow knows of the event

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

-- An event is not done while an output that it asked for was refused, whether the handler looks at
-- the answer or not.
local function refuse(ctx, message, code)
  ctx[JOB].refused = failure.of(message, code)
  return nil, message, code
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
  local job = ctx[JOB]
  if job.phase ~= "work" then
    error("emit: the event has ended; emit while its handler runs", level + 1)
  end
  local output = { topic, key, value, list } -- kept, should it not be written
  if job.unsent then -- in order: behind the one that found no place
    job.unsent[#job.unsent + 1] = output
    return true
  elseif job.flow.transactional then -- an attempt that fails leaves nothing in the transaction
    job.unsent = { output }
    return true
  end
  local ok, message, code = job.ticket:emit(topic, key, value, list)
  if ok then
    job.outputs = job.outputs or {}
    job.outputs[#job.outputs + 1] = output
    return true
  elseif M.refused_for_good[code] or code == "ECANCELED" then
    return refuse(ctx, message, code)
  end
  job.unsent = { output } -- the flow emits it once the handler has succeeded
  return true
end

--- Queues one output; the event is not finished before it is acknowledged. A table is written as
--- JSON. true; or nil, message, code when it is refused for good, and then the attempt fails.
function METHODS:emit(topic, key, value, headers)
  return emit(self, 2, topic, key, value, headers)
end

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

--- Waits; true, or nil, message, "ECANCELED".
function METHODS:sleep(duration)
  return task.sleep(duration)
end

--- f(outcome) is called once, in a task of its own, when the event is done or dead. What an earlier
--- attempt registered is forgotten.
function METHODS:on_end(f)
  if type(f) ~= "function" then
    error("ctx:on_end: a function is needed, got " .. opts.show(f), 2)
  end
  local job = self[JOB]
  job.ends = job.ends or {}
  job.ends[#job.ends + 1] = f
end

local Context = {}

-- Tables that many handlers never touch are made when they are first asked for.
function Context:__index(name)
  local method = METHODS[name]
  if method then
    return method
  elseif name == "memory" or name == "results" then
    local made = {}
    self[name] = made
    return made
  end
end

--- The ctx of a job of sipeat.flow_run.
function M.new(job, flow)
  local event = job.event
  return setmetatable({
    [JOB] = job,
    id = event.id,
    key = event.id,
    attempt = 0,
    final = false,
    trace = event.trace,
    log = flow.logger,
    flow = flow.group,
  }, Context)
end

return M
