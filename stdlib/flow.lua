--- Flows: a consumer group, its topics, and the handlers of their events.
--
-- The engine in C keeps order, bounds and commits. What happens to one event is in sipeat.flow_run;
-- here is how a flow is declared.
local attempt = require "sipeat.attempt"
local context = require "sipeat.flow_context"
local core = require "sipeat.core.flow"
local durable = require "sipeat.durable"
local events = require "sipeat.event"
local failure = require "sipeat.failure"
local json = require "sipeat.core.json"
local kafka = require "sipeat.core.kafka"
local journal = require "sipeat.journal"
local log = require "sipeat.log"
local opts = require "sipeat.opts"
local outbox = require "sipeat.core.outbox"
local retry_topic = require "sipeat.retry_topic"
local run = require "sipeat.flow_run"
local sys = require "sipeat.core.sys"
local versions = require "sipeat.versions"

local M = {}

local RETRY = opts.spec("sipeat.flow.retry", {
  attempts = { "integer", default = 5, min = 1, max = 1000 },
  backoff = { "string[]", default = { "200ms", "30s" } },
  budget = { "string|table" },
  topics = { "string[]" },
})

-- What one attempt of an event may spend; what is over fails alone (docs/budgets.md).
local BUDGET = opts.spec("sipeat.flow.budget", {
  instructions = { "integer", default = 50000000, min = 1000 },
  memory = { "size", default = "64mb" },
  time = { "duration", default = "5s" },
})

local BATCH = opts.spec("sipeat.flow.batch", {
  events = { "integer", default = 1000, min = 1, max = 100000 },
  time = { "duration", default = "100ms" },
})

-- How long, and before how many others, one failing event may hold its key.
local HOLD = opts.spec("sipeat.flow.hold", {
  time = { "duration", default = "5m" },
  followers = { "integer", default = 1000, min = 1, max = 1000000 },
})

local FLOW = opts.spec("sipeat.flow", {
  topic = { "string" },
  topics = { "string[]" },
  group = { "string", required = true },
  from = { "string", default = "beginning" },
  instance = { "string" },
  key = { "string" },
  order = { "string", default = "key", enum = { "key", "partition", "none" } },
  concurrency = { "integer", default = 64, min = 1, max = 100000 },
  max_in_flight = { "integer", default = 16384, min = 1, max = 1000000 },
  max_bytes = { "size", default = "64mb" },
  timeout = { "duration" },
  retry = { "table", default = { attempts = 5, backoff = { "200ms", "30s" } }, spec = RETRY },
  hold = { "table", default = { time = "5m", followers = 1000 }, spec = HOLD },
  after_dead = { "string", default = "continue", enum = { "continue", "hold" } },
  budget = { "table", spec = BUDGET },
  deaths = { "integer", default = 3, min = 1, max = 1000 },
  dead_letter = { "boolean|string", default = true },
  outbox = { "boolean", default = false },
  park = { "boolean|duration", default = false },
  transactional = { "boolean", default = false },
  journal = { "boolean", default = true },
  batch = { "table", default = { events = 1000, time = "100ms" }, spec = BATCH },
  on = { "table", required = true },
  on_dead = { "handler" },
})

local PARK_AFTER_MS = 300000 -- with park = true
local PARSED_BYTES = 65536 -- a value up to this size is decoded once, for its key and its handler

local function is_callable(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

-- Lets a map of routes answer for the types that names such as "order.*" stand for: of several the
-- longest one counts.
local function with_patterns(map)
  local globs = {}
  for name in pairs(map) do
    if name ~= "*" and name:find("*", 1, true) then
      globs[#globs + 1] = { name = name, pattern = opts.glob(name) }
    end
  end
  table.sort(globs, function(a, b)
    return #a.name > #b.name or #a.name == #b.name and a.name < b.name
  end)
  if not globs[1] then
    return map
  end
  return setmetatable(map, { __index = function(_, name)
    for _, glob in ipairs(type(name) == "string" and name ~= "*" and globs or {}) do
      if name:find(glob.pattern) then
        return rawget(map, glob.name)
      end
    end
  end })
end

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
    elseif not is_callable(handler) then
      local why = "sipeat.flow: on: the handler of %s is a function, got %s"
      error(why:format(name, opts.show(handler)), level + 1)
    end
    map[name] = { handler = handler, definition = definition }
  end
  if next(map) == nil then
    error("sipeat.flow: on: no handler; name a type, or \"*\" for every type", level + 1)
  end
  return with_patterns(map)
end

local function data_of(event)
  return event.data -- decodes it; raises when it is broken
end

-- "data.path.to.field" to a function of a record: the key as text, or nil for the record's own. The
-- engine finds most of them without it.
local function path_function(spec, level)
  local path = json.split(spec)
  if not path or path[1] ~= "data" or #path < 2 then
    local why =
      "sipeat.flow: key: %s is neither \"header:NAME\" nor a path such as \"data.machineId\""
    error(why:format(opts.show(spec)), level + 1)
  end
  return core.keyer(table.concat(path, ".", 2), function(record)
    local job = run.job(record)
    local _, value = failure.catch(data_of, job.event)
    for i = 2, #path do
      value = type(value) == "table" and value[path[i]] or nil
    end
    local key = (type(value) == "string" or type(value) == "number") and tostring(value) or nil
    return key, #(record.value or "") <= PARSED_BYTES and job or nil
  end)
end

-- Key mode for the engine: the header's name, or a function.
local function key_mode(spec, level)
  local header = spec and spec:match "^header:(.+)$"
  if header or not spec then
    return header
  end
  return nil, path_function(spec, level + 1)
end

-- A record to the name of its lane, as the engine has it; nil: it has none.
local function lane_function(order, key_header, key_of)
  return function(record)
    local key = record.key
    if order == "none" then
      return nil
    elseif order == "partition" then
      key = ""
    elseif key_of then
      key = key_of(record) or key
    else
      for _, header in ipairs(key_header and record.headers or {}) do
        key = header[1] == key_header and header[2] or key
      end
    end
    return key and ("%s:%d:%s"):format(record.topic, record.partition, key)
  end
end

local function start_of(from, level)
  if from == "beginning" or from == "end" then
    return from
  end
  local ms = sys.parse_time(from)
  if not ms then
    local why = "sipeat.flow: from: %s is neither \"beginning\", \"end\" nor a time such as %s"
    error(why:format(opts.show(from), "\"2024-01-01T00:00:00Z\""), level + 1)
  end
  return "time", ms
end

-- Kafka's rule for names of topics holds for a static member's too.
local function instance_of(name, level)
  if name and not (name:find "^[%w._-]+$" and #name <= 200) then
    local why = "sipeat.flow: instance: %s: a name of letters, digits, \".\", \"_\" and \"-\""
    error(why:format(opts.show(name)), level + 1)
  end
  return name and sys.worker > 1 and ("%s-w%d"):format(name, sys.worker) or name
end

local ANY = "[A-Za-z0-9._-]*"
-- Any end of a name but "-dlt": a flow does not take the dead letters of its own topics.
local ANY_END = "(" .. ANY .. "[A-Za-su-z0-9._-]|" .. ANY .. "[A-Za-km-z0-9._-]t|" .. ANY
  .. "[A-Za-ce-z0-9._-]lt|" .. ANY .. "[A-Za-z0-9._]dlt|l?t%s)?"

-- "order.*" as the pattern that it stands for: no topic's name has an asterisk.
local function pattern_of(glob)
  local body, last = glob:match "^(.-)(%*?)$"
  local rest = last ~= "" and ANY_END:format(body:find "%-$" and "" or "|dlt") or ""
  return "^" .. body:gsub("[.+?()%[%]{}|^$\\]", "\\%0"):gsub("%*", ANY) .. rest .. "$"
end

local function topics_of(o, level)
  local topics = o.topics or {}
  topics[#topics + 1] = o.topic
  if #topics == 0 then
    local why = "sipeat.flow: no topic: set topic = \"name\" or topics = { \"name\", \"order.*\" }"
    error(why, level + 1)
  end
  for i, topic in ipairs(topics) do
    if topic == "" then
      error("sipeat.flow: a topic's name is empty", level + 1)
    elseif topic:find("*", 1, true) and topic:sub(1, 1) ~= "^" then
      topics[i] = pattern_of(topic)
    end
  end
  return topics
end

-- Outputs and offsets leave together, so nothing else may hold back an output, or let an event go
-- on elsewhere.
local function check_transactional(o, level)
  local against = o.outbox and "outbox" or o.retry.topics and "retry.topics"
    or o.after_dead == "hold" and 'after_dead = "hold"' -- it stands in the metadata of commits
  if o.transactional and against then
    local why = "sipeat.flow: transactional and %s exclude each other: "
      .. "a transaction commits outputs and offsets together, or neither"
    error(why:format(against), level + 1)
  end
end

--- What a flow is to sipeat.flow_run, its options, and its key mode; declares nothing, so that
--- versions of the script can be recalled. Throws at `level`.
function M.define(options, level)
  level = level + 1
  local o = FLOW(options, level)
  check_transactional(o, level)
  local key_header, key_of = key_mode(o.key, level)
  return {
    group = o.group,
    topics = topics_of(o, level),
    routes = routes(o.on, level),
    plan = attempt.plan(o.retry, "sipeat.flow", level),
    timeout = o.timeout or kafka.processing_ms(),
    hold = o.hold,
    dead_letter = o.dead_letter,
    park_ms = o.park == true and PARK_AFTER_MS or o.park or nil,
    transactional = o.transactional,
    on_dead = o.on_dead,
    logger = log.new(o.group),
    retry_delays = retry_topic.delays(o, options.retry, level),
    outbox = o.outbox,
    durable = o.journal and not o.transactional,
    lane_of = lane_function(o.order, key_header, key_of),
    lanes = durable.lanes(o.group),
  }, o, key_header, key_of
end

--- Declares a flow; called while the script loads.
function M.flow(options)
  local flow, o, key_header, key_of = M.define(options, 2)
  local from, from_ms = start_of(o.from, 2)
  local topics, delays = flow.topics, flow.retry_delays
  local budget = o.budget or BUDGET {}
  if o.outbox then
    outbox.want()
  end
  if options.journal then
    journal.want()
  end
  local ok, message = pcall(core.register, {
    group = o.group,
    topics = delays and retry_topic.topics(topics, delays, 2) or topics,
    retries = delays ~= nil,
    from = from,
    from_ms = from_ms,
    instance = instance_of(o.instance, 2),
    hold_dead_ms = o.after_dead == "hold" and o.hold.time or 0,
    order = o.order,
    concurrency = o.concurrency,
    max_events = math.max(
      o.max_in_flight, o.concurrency, o.transactional and 2 * o.batch.events or 0
    ),
    transactional = o.transactional,
    batch_events = o.batch.events,
    batch_ms = math.max(1, o.batch.time),
    max_bytes = o.max_bytes,
    instructions = budget.instructions,
    memory_bytes = budget.memory,
    slice_ms = budget.time,
    deaths = o.deaths,
    key_header = key_header,
    key_of = key_of,
    outbox = o.outbox,
    finish = run.finish,
    drop = run.drop,
    start = not flow.timeout and not delays and run.starter(flow) or nil,
    context = context.class(flow),
    dispatch = function(...)
      return run.dispatch(flow, ...)
    end,
  })
  if not ok then
    error(message, 2)
  end
  versions.declare(flow)
  durable.declare(flow)
  if delays then
    retry_topic.make(o.group, topics, delays)
  end
end

--- What the engine says of each flow, and whether all of them are ready.
M.status = core.status

return setmetatable(M, {
  __call = function(_, options)
    return M.flow(options)
  end,
})
