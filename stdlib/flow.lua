--- Flows: a consumer group, its topics, and the handlers of their events.
--
-- The engine in C keeps order, bounds and commits, and calls `dispatch` once for each event, in a
-- task. What happens to one event is decided here: reading, routing by type, attempts with pauses
-- between them, and the dead letter. dispatch answers true when the event is terminal; false leaves
-- it uncommitted, so that it comes again (the task was stopped).
local attempt = require "sipeat.attempt"
local core = require "sipeat.core.flow"
local deadletter = require "sipeat.deadletter"
local events = require "sipeat.event"
local failure = require "sipeat.failure"
local log = require "sipeat.log"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local FLOW = opts.spec("sipeat.flow", {
  topic = { "string" },
  topics = { "string[]" },
  group = { "string", required = true },
  from = { "string", default = "beginning" },
  key = { "string" },
  order = { "string", default = "key", enum = { "key", "partition", "none" } },
  concurrency = { "integer", default = 64, min = 1, max = 100000 },
  max_in_flight = { "integer", default = 4096, min = 1, max = 1000000 },
  max_bytes = { "size", default = "64mb" },
  retry = { "table", default = { attempts = 5, backoff = { "200ms", "30s" } }, spec = opts.retry },
  dead_letter = { "boolean|string", default = true },
  on = { "table", required = true },
  on_dead = { "handler" },
})

-- Codes of an output that will be refused again.
local REFUSED_FOR_GOOD = {
  MSG_SIZE_TOO_LARGE = true,
  INVALID_MSG = true,
  INVALID_RECORD = true,
  TOPIC_AUTHORIZATION_FAILED = true,
  TOPIC_EXCEPTION = true,
  INVALID_MSG_SIZE = true,
}

local logger = log.new "flow"

-- type -> { handler, definition }
local function routes(on, level)
  local map = {}
  for what, handler in pairs(on) do
    local definition = events.is_definition(what) and what or nil
    local name = definition and definition.type or what
    if type(name) ~= "string" then
      local why = "sipeat.flow: on: a key is an event definition or a type's name, got %s"
      error(why:format(opts.show(what)), level + 1)
    elseif map[name] then
      error(("sipeat.flow: on: %s has two handlers"):format(name), level + 1)
    elseif not (type(handler) == "function" or getmetatable(handler)) then
      local why = "sipeat.flow: on: the handler of %s is a function, got %s"
      error(why:format(name, opts.show(handler)), level + 1)
    end
    map[name] = { handler = handler, definition = definition }
  end
  if next(map) == nil then
    error("sipeat.flow: on: no handler; name a type, or \"*\" for every type", level + 1)
  end
  return map
end

-- What can be said of a record that is no event.
local function partial(record)
  local headers = {}
  for _, header in ipairs(record.headers) do
    headers[header[1]] = header[2]
  end
  local function text(...)
    for _, name in ipairs { ... } do
      if headers[name] and sys.valid_utf8(headers[name]) then
        return headers[name]
      end
    end
  end
  return {
    id = text("ce_id", "event-id") or ("%s:%d:%d"):format(record.topic, record.partition, record.offset),
    type = text("ce_type", "event-type"),
    topic = record.topic,
    partition = record.partition,
    offset = record.offset,
    key = record.key,
    value = record.value,
    headers = headers,
    broken = true,
  }
end

local Context = {}
Context.__index = Context

--- Queues one output; the event is not finished before it is acknowledged. true, or nil, message,
--- code when it is refused.
function Context:emit(topic, key, value, headers)
  local list
  if headers then
    list = {}
    for name, content in pairs(headers) do
      list[#list + 1] = type(content) == "table" and content or { name, content }
    end
  end
  local run = self.run
  local ok, message, code = run.ticket:emit(topic, key, value, list)
  if not ok then
    return nil, message, code
  end
  run.outputs = run.outputs or {}
  run.outputs[#run.outputs + 1] = { topic, key, value, list }
  return true
end

--- Emits an event (of a definition's new, or made by create_kafka_event) to its topic.
function Context:publish(event)
  if type(event) ~= "table" or not event.type then
    error("ctx:publish: an event is needed, as made by a definition's new", 2)
  elseif not event.topic then
    error(("ctx:publish: %s has no topic"):format(event.type), 2)
  end
  local value, headers, code = events.encode(event)
  if not value then
    return nil, headers, code
  end
  return self:emit(event.topic, event.key, value, headers)
end

--- Waits; true, or nil, message, "ECANCELED".
function Context:sleep(duration)
  return task.sleep(duration)
end

--- f(outcome) is called once, in a task of its own, when the event is done or dead.
function Context:on_end(f)
  local list = self.ends
  list[#list + 1] = f
end

local function context(flow, run, event, n)
  local ctx = setmetatable({
    id = event.id,
    key = event.id,
    attempt = n,
    final = n >= flow.plan.attempts,
    memory = run.memory,
    results = run.memory.results,
    trace = event.trace,
    log = flow.logger,
    flow = flow.group,
    run = run,
    ends = {},
  }, Context)
  run.ctx = ctx
  return ctx
end

local function handle(flow, event, ctx)
  local route = flow.routes[event.type] or flow.routes["*"]
  if not route then
    local why = event.type and ("no handler for the type %s"):format(opts.show(event.type))
      or "the event has no type (headers ce_type or event-type, or type in its body)"
    return nil, failure.permanent(why, "UNKNOWN_TYPE")
  end
  if route.definition then
    local ok, message, code = route.definition:accept(event)
    if not ok then
      return nil, failure.permanent(message, code)
    end
  end
  return route.handler(event, ctx)
end

-- Runs the handler until it succeeds or there is no more to try. "done", result; "dead", failure;
-- or nothing when the task was stopped.
local function attempts(flow, run, event)
  for n = 1, flow.plan.attempts do
    run.attempts = n
    local ctx = context(flow, run, event, n)
    local ok, result = failure.catch(handle, flow, event, ctx)
    if ok then
      return "done", result
    elseif result.kind == "cancelled" then
      return nil
    elseif result.kind == "permanent" or n == flow.plan.attempts then
      return "dead", result
    end
    logger:warn(("attempt %d of %d failed: %s"):format(n, flow.plan.attempts, result.message), {
      type = event.type,
      code = result.code,
    })
    if not attempt.pause(flow.plan, n) then
      return nil
    end
  end
end

-- Callbacks for the end of an event run beside it and never hold it up.
local function announce(flow, run, event, outcome)
  local ends = run.ctx and run.ctx.ends or {}
  if #ends == 0 and not (outcome.status == "dead" and flow.on_dead) then
    return
  end
  task.spawn(function()
    for _, f in ipairs(ends) do
      local ok, why = failure.catch(f, outcome)
      if not ok then
        logger:warn("an on_end callback failed: " .. why.message, { type = event.type })
      end
    end
    if #ends == 0 then
      local ok, why = failure.catch(flow.on_dead, event, outcome.failure, run.ctx or { id = event.id, attempt = run.attempts })
      if not ok then
        logger:warn("on_dead failed: " .. why.message, { type = event.type })
      end
    end
  end)
end

local function finish(flow, run, event, record, status, result)
  local outcome = {
    status = status,
    event = event,
    attempts = run.attempts,
    duration_ms = task.monotonic_ms() - run.started_at_ms,
  }
  if status == "done" then
    outcome.result = result
    if run.outputs then
      run.ticket:keep { run = run, event = event }
      run.ticket = nil
    end
  else
    outcome.failure = result
    logger:error(("%s: %s"):format(flow.dead_letter and "dead letter" or "dropped", result.message), {
      type = event.type,
      code = result.code,
      attempts = run.attempts,
      traceback = result.traceback,
    })
    if flow.dead_letter and not deadletter.write {
      flow = flow.group,
      topic = flow.dead_letter,
      record = record,
      event = event,
      failure = result,
      attempts = run.attempts,
    } then
      return false -- stopped before it was written
    end
  end
  announce(flow, run, event, outcome)
  return true
end

-- The handler had succeeded, and one of its outputs was not written: they are emitted again, all of
-- them, and the handler is not run again.
local function emit_again(run, ticket)
  for _, output in ipairs(run.outputs) do
    local ok, message, code = ticket:emit(table.unpack(output, 1, 4))
    if not ok then
      return nil, failure.of(message, code)
    end
  end
  return true
end

local function redeliver(flow, record, ticket, event)
  local again = record.redelivery
  local kept = again.kept
  local run = kept and kept.run or { memory = {}, attempts = again.count, started_at_ms = task.monotonic_ms() }
  event = kept and kept.event or event
  if again.kind == "output" and kept and not REFUSED_FOR_GOOD[again.code] then
    logger:warn("an output was not written and is emitted again: " .. again.message)
    local ok, why = emit_again(run, ticket)
    if ok then
      ticket:keep(kept)
      return true
    elseif why.kind == "cancelled" then
      return false
    end
    return finish(flow, run, event, record, "dead", why)
  end
  local why = failure.new(again.message, again.code, again.kind == "crash" and "bug" or "permanent")
  return finish(flow, run, event, record, "dead", why)
end

local function dispatch(flow, record, ticket)
  local run = { memory = {}, attempts = 1, ticket = ticket, started_at_ms = task.monotonic_ms() }
  local event, message, code = events.from_record(record)
  local broken
  if not event then
    event, broken = partial(record), failure.permanent(message, code)
  end
  task.set_event_id(event.id)
  if record.redelivery then
    return redeliver(flow, record, ticket, event)
  elseif broken then
    return finish(flow, run, event, record, "dead", broken)
  end
  local status, result = attempts(flow, run, event)
  if not status then
    return false
  end
  return finish(flow, run, event, record, status, result)
end

-- "header:NAME" or "data.path.to.field" to a function of a record.
local function key_function(spec, level)
  local header = spec:match "^header:(.+)$"
  if header then
    return function(record)
      for _, h in ipairs(record.headers) do
        if h[1] == header then
          return h[2]
        end
      end
    end
  end
  local path = {}
  for part in spec:gmatch "[^.]+" do
    path[#path + 1] = part
  end
  if path[1] ~= "data" or #path < 2 then
    local why = "sipeat.flow: key: %s is neither \"header:NAME\" nor a path such as \"data.machineId\""
    error(why:format(opts.show(spec)), level + 1)
  end
  return function(record)
    local event = events.from_record(record)
    local value = event and event.data
    for i = 2, #path do
      value = type(value) == "table" and value[path[i]] or nil
    end
    if type(value) == "string" or type(value) == "number" then
      return tostring(value)
    end
  end
end

local function start_of(from, level)
  if from == "beginning" or from == "end" then
    return from
  end
  local ms = sys.parse_time(from)
  if not ms then
    local why = "sipeat.flow: from: %s is neither \"beginning\", \"end\" nor a time such as \"2024-01-01T00:00:00Z\""
    error(why:format(opts.show(from)), level + 1)
  end
  return "time", ms
end

--- Declares a flow; called while the script loads.
function M.flow(options)
  local o = FLOW(options)
  local topics = o.topics or {}
  if o.topic then
    topics[#topics + 1] = o.topic
  end
  if #topics == 0 then
    error("sipeat.flow: no topic: set topic = \"name\" or topics = { \"name\", \"^pattern.*\" }", 2)
  end
  local plan = attempt.plan(o.retry, "sipeat.flow", 2)
  local flow = {
    group = o.group,
    routes = routes(o.on, 2),
    plan = plan,
    dead_letter = o.dead_letter,
    on_dead = o.on_dead,
    logger = log.new(o.group),
  }
  local from, from_ms = start_of(o.from, 2)
  local ok, message = pcall(core.register, {
    group = o.group,
    topics = topics,
    from = from,
    from_ms = from_ms,
    order = o.order,
    concurrency = o.concurrency,
    max_events = math.max(o.max_in_flight, o.concurrency),
    max_bytes = o.max_bytes,
    key_of = o.key and key_function(o.key, 2),
    dispatch = function(record, ticket)
      return dispatch(flow, record, ticket)
    end,
  })
  if not ok then
    error(message, 2)
  end
end

--- What the engine says of each flow, and whether all of them are ready.
M.status = core.status

return setmetatable(M, {
  __call = function(_, options)
    return M.flow(options)
  end,
})
