--- Kafka below the level of flows: the process's producer, consumers one record at a time, readers
-- without a group, and topics and groups.
--
-- A record is { topic, partition, offset, timestamp, timestamp_type, key, value, headers } with
-- headers as a list of { name, value }; key, value and a header's value may be nil.
local core = require "sipeat.core.kafka"
local moment = require "sipeat.moment"
local opts = require "sipeat.opts"
local outbox = require "sipeat.core.outbox"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local tracing = require "sipeat.tracing"

local M = {}

local PAUSES = { "5ms", "20ms", "100ms" } -- until there is room where records wait
local FULL = { _QUEUE_FULL = true, QUEUE_FULL = true } -- of librdkafka, and of the outbox

local PRODUCER = opts.spec("sipeat.kafka.producer", {
  outbox = { "boolean", default = false },
})

local SEND = opts.spec("sipeat.kafka.send", {
  topic = { "string", required = true },
  key = { "string" },
  value = { "string" },
  headers = { "table" },
  partition = { "integer", default = -1, min = -1 },
  timestamp = { "integer", default = 0, min = 0 },
})

local CONSUMER = opts.spec("sipeat.kafka.consumer", {
  group = { "string", required = true },
  topics = { "string|string[]", required = true },
  from = { "string|integer", default = "beginning" },
})

local READER = opts.spec("sipeat.kafka.reader", {
  topic = { "string", required = true },
  from = { "string|integer", default = "beginning" },
  offsets = { "table" },
  ends = { "table" },
  partitions = { "table" },
  sieve = { "table" },
})

local RUN = opts.spec("sipeat.kafka.run", {
  commit = { "boolean", default = true },
})

local CREATE = opts.spec("sipeat.kafka.create_topic", {
  name = { "string", required = true },
  partitions = { "integer", default = 0, min = 0, max = 10000 },
  replication = { "integer", default = 0, min = 0, max = 100 },
  config = { "table" },
})

local RESET = opts.spec("sipeat.kafka.reset_group", {
  group = { "string", required = true },
  topic = { "string", required = true },
  to = { "string|integer", required = true },
  dry_run = { "boolean", default = false },
})

--- Milliseconds since 1970-01-01 UTC of "2026-03-01", "2026-03-01T10:00:00Z" or with an offset such
--- as "+02:00"; nil when it is none of them.
M.time_ms = moment.ms

--- "beginning", "end", or ms since 1970-01-01 UTC, from any of these or a time as text.
function M.start_at(from)
  if from == "beginning" or from == "end" or math.type(from) == "integer" then
    return from
  end
  local ms = M.time_ms(from)
  if not ms then
    local why = "from: expected %q, %q or a time, as in %q; got %s"
    why = why:format("beginning", "end", "2026-03-01T10:00:00Z", opts.show(from))
    return nil, why, "EINVAL"
  end
  return ms
end

local function check_from(from, level)
  local at, message = M.start_at(from)
  if not at then
    error(message, level + 1)
  end
  return at
end

-- Headers as a list of { name, value }: a map's names are sorted, so that records are the same each
-- time they are written.
local function header_list(headers, level)
  if headers == nil or headers[1] ~= nil or next(headers) == nil then
    return headers
  end
  local names = {}
  for name in pairs(headers) do
    if type(name) ~= "string" then
      local why = "sipeat.kafka.send: headers is { name = value } or a list of { name, value }"
      error(why, level + 1)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    names[i] = { name, headers[name] }
  end
  return names
end

-- Hands a record over by `give`; waits while there is no room for it.
local function patiently(give, ...)
  local pauses = 0
  while true do
    local sent, message, code = give(...)
    if sent ~= nil or not FULL[code] then
      return sent, message, code
    end
    local slept
    pauses = math.min(pauses + 1, #PAUSES)
    slept, message, code = task.sleep(PAUSES[pauses])
    if not slept then
      return nil, message, code
    end
  end
end

local function start(o, to_outbox)
  return patiently(core.send, o.topic, o.key, o.value, o.headers, o.partition, o.timestamp,
    to_outbox)
end

-- The headers of a record that leaves now, and the span of its sending, if it is recorded.
local function traced(o, level, count)
  local headers = header_list(o.headers, level + 1)
  if not tracing.on then
    return headers
  end
  return tracing.outgoing(o.topic, headers, count)
end

-- The same for a list: one span for all of them.
local function traced_many(list, level)
  local span
  for i, o in ipairs(list) do
    if i == 1 then
      o.headers, span = traced(o, level + 1, #list)
    else
      o.headers = header_list(o.headers, level + 1)
      o.headers = tracing.on and tracing.inject(o.headers) or o.headers
    end
  end
  return span
end

local Producer = {}
Producer.__index = Producer

--- Hands one record over and answers at once, but while there is no room for it. What is answered
--- has wait(), which says what became of it, as send does.
---@return table? sent
---@return string? message
---@return string? code
function Producer.start(self, record)
  local o = SEND(record)
  local span
  o.headers, span = traced(o, 2)
  local sent, message, code = start(o, self.outbox)
  if span then
    span:ended(sent, message, code)
  end
  return sent, message, code
end

--- Hands one record over, as start does, and forgets it: what becomes of it is seen in the log,
--- when it fails. The cheapest way for a handler that does not wait.
---@return true? ok
---@return string? message
---@return string? code
function Producer.post(self, record)
  local posted, message, code
  if not (tracing.on and tracing.current()) then
    posted, message, code = core.post(record, self.outbox)
    if posted then
      return posted
    elseif FULL[code] then
      posted, message, code = patiently(core.post, record, self.outbox)
    end
  end
  if posted or code then
    return posted, message, code
  end
  local o = SEND(record) -- not plain: says what is wrong with it
  local span
  o.headers, span = traced(o, 2)
  if o.headers and #o.headers == 0 then
    o.headers = nil
  end
  posted, message, code = patiently(core.post, o, self.outbox)
  if span then
    span:ended(posted, message, code)
  end
  return posted, message, code
end

--- Sends one record and waits until the broker has acknowledged it; through the outbox, until it
--- is safe on the disk.
---@return table? report { topic, partition, offset }, or { topic, queued = true }
---@return string? message
---@return string? code
function Producer.send(self, record)
  local o = SEND(record)
  local span
  o.headers, span = traced(o, 2)
  local report, message, code = start(o, self.outbox)
  if report then
    report, message, code = report:wait()
  end
  if span and report and report.partition then
    span:set("messaging.destination.partition.id", tostring(report.partition))
    span:set("messaging.kafka.offset", report.offset)
  end
  if span then
    span:ended(report, message, code)
  end
  return report, message, code
end

--- Sends a list of records and waits for all of them. A list of the same length: a report, or
--- { message, code } for a record that failed. nil, message, code only when the wait was cancelled.
function Producer.send_many(self, records)
  local checked, results, waiting = {}, {}, {}
  for i, record in ipairs(records) do
    checked[i] = SEND(record)
  end
  local span <close> = traced_many(checked, 2)
  for i, o in ipairs(checked) do
    local sent, message, code = start(o, self.outbox)
    if code == "ECANCELED" then
      return nil, message, code
    end
    waiting[i] = sent or false
    results[i] = not sent and { message = message, code = code } or nil
  end
  for i, sent in ipairs(waiting) do
    if sent then
      local report, message, code = sent:wait()
      if code == "ECANCELED" then
        return nil, message, code
      end
      results[i] = report or { message = message, code = code }
      if span and not report then
        span:fail(message, code)
      end
    end
  end
  return results
end

--- The process's producer: idempotent, acknowledged by all replicas, partitioned by key. With
--- `outbox = true` records are taken by the local disk first (sipeat.outbox).
function M.producer(options)
  local o = PRODUCER(options)
  if o.outbox then
    outbox.want()
  end
  return setmetatable({ outbox = o.outbox }, Producer)
end

local Consumer = {}
Consumer.__index = Consumer
Consumer.__close = function(self)
  self:close()
end

-- What ask(left_ms) answers, asked again as long as what woke it had gone.
local function wait_for(what, timeout, ask)
  local limit
  if timeout ~= nil then
    local ms, why = opts.duration_ms(timeout)
    if not ms then
      error(("%s: %s"):format(what, why), 3)
    end
    limit = sys.monotonic_ms() + ms
  end
  while true do
    local got, message, code = ask(limit and math.max(0, math.floor(limit - sys.monotonic_ms())))
    if got or code ~= "EAGAIN" then
      return got, message, code
    end
  end
end

--- The next record, waiting for it. nil, message, "ETIMEDOUT" after `timeout` (a duration); a
--- reader answers "END" once it has read everything that is there.
function Consumer:next(timeout)
  return wait_for("next", timeout, function(left_ms)
    return self.handle:next(left_ms)
  end)
end

--- A list of the records that are there, up to `max` (or some megabytes); waits for the first one,
--- as next does.
function Consumer:take(max, timeout)
  return wait_for("take", timeout, function(left_ms)
    return self.handle:take(max, left_ms)
  end)
end

--- How many records the sieve of a reader has passed over.
function Consumer:passed()
  return self.handle:passed()
end

--- Everything up to and with this record of its partition is finished: the group goes on after it.
function Consumer:commit(record)
  return self.handle:store(record.topic, record.partition, record.offset + 1)
end

--- Commits what was finished and leaves the group.
function Consumer:close()
  self.stopped = true
  return self.handle:close()
end

--- Hands each record to handler(record) and commits it when that neither raises nor returns nil and
--- a message. Ends with true after close, or with the failure; the record then comes again.
function Consumer:run(handler, options)
  local o = RUN(options)
  while true do
    local record, message, code = self:next()
    if not record then
      if self.stopped and code == "CLOSED" then
        return true
      end
      return nil, message, code
    end
    local result, why, reason = handler(record)
    if result == nil and why ~= nil then
      return nil, why, reason
    end
    if o.commit then
      self:commit(record)
    end
  end
end

local function wrap(handle, message, code)
  if not handle then
    return nil, message, code
  end
  return setmetatable({ handle = handle }, Consumer)
end

--- A member of a consumer group: topics are names, or patterns that begin with ^.
function M.consumer(options)
  local o = CONSUMER(options)
  local topics = type(o.topics) == "string" and { o.topics } or o.topics
  if #topics == 0 then
    error("sipeat.kafka.consumer: at least one topic is needed", 2)
  end
  return wrap(core.consumer(o.group, topics, check_from(o.from, 2)))
end

local function check_partition(partition, offset, name, level)
  if math.type(partition) ~= "integer" or partition < 0 or math.type(offset) ~= "integer" then
    local shape = name == "partitions" and "a list of numbers" or "{ [partition] = offset }"
    error(("sipeat.kafka.reader: %s is %s"):format(name, shape), level + 1)
  end
end

-- What is read of each partition, as a list that begins with partition 0: { from, to } or false.
-- Without `partitions`, those that nothing is said of are read from start to end.
local function spans_of(o, level)
  local only, list, last = {}, {}, -1
  for _, partition in ipairs(o.partitions or {}) do
    check_partition(partition, 0, "partitions", level + 1)
    only[partition], last = true, math.max(last, partition)
  end
  for _, name in ipairs { "offsets", "ends" } do
    for partition, offset in pairs(o[name] or {}) do
      check_partition(partition, offset, name, level + 1)
      last = math.max(last, partition)
    end
  end
  for partition = 0, last do
    local wanted = not o.partitions or only[partition]
    list[partition + 1] = wanted
      and { o.offsets and o.offsets[partition], o.ends and o.ends[partition] } or false
  end
  return list
end

--- A topic without a group: nothing is committed, others are not disturbed. offsets = { [partition]
--- = offset } begins there instead in those partitions, ends = { [partition] = offset } stops
--- before that one, and partitions = { 0, 3 } reads only these. sieve = { { "header=", "paid",
--- "event-type" }, … } passes over what does not fit: next then answers "PASSED" from time to time,
--- so that others get their turns.
function M.reader(options)
  local o = READER(options)
  return wrap(core.reader(o.topic, check_from(o.from, 2), spans_of(o, 2), o.partitions ~= nil,
    o.sieve))
end

--- True while a broker answers.
M.connected = core.connected

--- Records that wait for their acknowledgement.
M.pending = core.pending

local Admin = {}
Admin.__index = Admin

local function need_name(name, what, level)
  if type(name) ~= "string" or name == "" then
    error(("%s: a name is needed, got %s"):format(what, opts.show(name)), level + 1)
  end
  return name
end

--- Creates a topic and waits until it can be written. { name, partitions }: an embedded broker may
--- give it another number of partitions than wanted.
function Admin.create_topic(_, options)
  local o = CREATE(type(options) == "string" and { name = options } or options)
  local config = {}
  for name, value in pairs(o.config or {}) do
    config[#config + 1] = { tostring(name), tostring(value) }
  end
  return core.admin("create_topic", o.name, o.partitions, o.replication, config)
end

--- Deletes a topic with everything in it.
function Admin.delete_topic(_, name)
  return core.admin("delete_topic", need_name(name, "delete_topic", 2))
end

--- All topics by name: { name, partitions = { { id, leader, replicas, in_sync }… } }.
function Admin.topics()
  return core.admin "topics"
end

--- One topic, with the first and next offset of each partition as low and high.
function Admin.describe_topic(_, name)
  return core.admin("describe_topic", need_name(name, "describe_topic", 2))
end

--- All topics as describe_topic has them.
function Admin.describe_topics()
  return core.admin "describe_topics"
end

--- As describe_topic, low being the offset of the first record from that time (ms or text) on; nil
--- where there is none.
function Admin.offsets_at(_, name, time)
  need_name(name, "offsets_at", 2)
  local at = check_from(time, 2)
  if math.type(at) ~= "integer" then
    error("sipeat.kafka.offsets_at: a time is needed, got " .. opts.show(time), 2)
  end
  return core.admin("offsets_at", name, at)
end

--- The configuration of a topic: { name, value, source, default, read_only, sensitive } by name.
function Admin.topic_configuration(_, name)
  return core.admin("topic_configuration", need_name(name, "topic_configuration", 2))
end

--- The same of the broker with that id.
function Admin.broker_configuration(_, id)
  return core.admin("broker_configuration", tostring(id))
end

--- { id, controller, embedded, brokers = { { id, host, port, leaders, replicas }… } }.
function Admin.cluster()
  return core.admin "cluster"
end

--- All groups by name: { name, state, members }.
function Admin.groups()
  return core.admin "groups"
end

--- { name, state, members, offsets = { { topic, partition, committed, low, high, lag }… } };
--- committed is nil where the group has none.
function Admin.describe_group(_, name)
  return core.admin("describe_group", need_name(name, "describe_group", 2))
end

--- All groups, or those of that list, as describe_group has them.
function Admin.describe_groups(_, names)
  return core.admin("describe_groups", names)
end

--- Who is in a group: { protocol, members = { { id, client_id, host, partitions }… } }.
function Admin.members(_, group)
  return core.admin("members", need_name(group, "members", 2))
end

--- Moves a group without running members: to = "beginning", "end", "offset:42", ms or a time.
--- The group's offsets in that topic afterwards; with dry_run, where it stands and the `target` of
--- each partition.
function Admin.reset_group(_, options)
  local o = RESET(options)
  local call = o.dry_run and "reset_plan" or "reset_group"
  local offset = type(o.to) == "string" and math.tointeger(tonumber(o.to:match("^offset:(%d+)$")))
  if offset then
    return core.admin(call, o.group, o.topic, "offset", offset)
  end
  local at = M.start_at(o.to)
  if not at then
    error(("sipeat.kafka.reset_group: to is \"beginning\", \"end\", \"offset:N\" or a time, got %s")
      :format(opts.show(o.to)), 2)
  end
  if math.type(at) == "integer" then
    return core.admin(call, o.group, o.topic, "time", at)
  end
  return core.admin(call, o.group, o.topic, at, 0)
end

--- Topics and groups of the cluster. The calls run beside the loop and wait for their answer.
function M.admin()
  return setmetatable({}, Admin)
end

return M
