--- Retry topics: an event of a flow without an order that failed goes to <topic>-retry-<ms>, and is
--- handled again from there when it is due; the partition that it came from goes on meanwhile.
--
-- The engine holds what is not due (runtime/flow/due.c). The headers are those of Spring for Apache
-- Kafka's retry topics, in their binary forms, and some of ours as text. They stand in one block
-- behind the event's own, which begins with kafka_original-topic.
local background = require "sipeat.background"
local failure = require "sipeat.failure"
local letters = require "sipeat.deadletter_letter"
local opts = require "sipeat.opts"
local sibling = require "sipeat.sibling_topic"
local sys = require "sipeat.core.sys"

local M = {}

local FIRST_OF_OURS = "kafka_original-topic"
local MESSAGE_BYTES = 2000
local LOOK_AGAIN_MS = 5000 -- for an original topic that is not there yet
local NO_PARTITION = { _UNKNOWN_PARTITION = true, UNKNOWN_TOPIC_OR_PART = true }
local NO_TOPIC = { _UNKNOWN_TOPIC = true, UNKNOWN_TOPIC_OR_PART = true }
local TOO_LARGE = { MSG_SIZE_TOO_LARGE = true, RECORD_LIST_TOO_LARGE = true }

local moved = {} -- group -> events that went to a retry topic

-- A 64-bit integer in as few bytes as it takes, big-endian: Java's BigInteger.toByteArray.
local function big_integer(value)
  local bytes = (">i8"):pack(value)
  while #bytes > 1 do
    local first, second = bytes:byte(1, 2)
    if not (first == 0 and second < 128 or first == 255 and second >= 128) then
      break
    end
    bytes = bytes:sub(2)
  end
  return bytes
end

--- The delays of a retry option in milliseconds, or nil when it has no topics. Throws at `level`
--- when topics do not fit the rest of the flow's options.
function M.delays(o, given, level)
  local topics = o.retry.topics
  if not topics then
    return nil
  end
  local function refuse(why, ...)
    error(("sipeat.flow: option retry: topics: " .. why):format(...), level + 1)
  end
  if o.order ~= "none" then
    refuse("an event that is retried later loses its place among those of its %s: set order = "
      .. "\"none\", or leave topics out to retry in place", o.order)
  elseif given and given.backoff then
    refuse "the topics' delays take the place of backoff: leave one of them out"
  elseif #topics == 0 or #topics > 20 then
    refuse("1 to 20 delays are needed, as in { \"10s\", \"1m\" }")
  elseif o.retry.attempts <= #topics then
    refuse("%d attempts never reach the last of %d topics: set attempts = %d or more",
      o.retry.attempts, #topics, #topics + 1)
  end
  local delays = {}
  for i, text in ipairs(topics) do
    local ms, why = opts.duration_ms(text)
    if not ms or ms < 1 then
      refuse("%s", why or "a delay is at least \"1ms\"")
    end
    delays[i] = math.floor(ms)
  end
  return delays
end

local function name_of(topic, ms)
  return ("%s-retry-%d"):format(topic, ms)
end

--- The topics of a flow, and the retry topics beside them. Throws at `level` for a pattern.
function M.topics(topics, delays, level)
  local all, seen = {}, {}
  local function add(topic)
    if not seen[topic] then
      all[#all + 1], seen[topic] = topic, true
    end
  end
  for _, topic in ipairs(topics) do
    if topic:sub(1, 1) == "^" then
      local why = "sipeat.flow: option retry: topics: %s is a pattern: name the flow's topics"
      error(why:format(opts.show(topic)), level + 1)
    end
    add(topic)
  end
  for _, topic in ipairs(topics) do
    for _, ms in ipairs(delays) do
      add(name_of(topic, ms))
    end
  end
  return all
end

--- Makes the retry topics while the flow runs, each when its original is there.
function M.make(group, topics, delays)
  background.run("retry topics of " .. group, function(job)
    local left = {}
    for _, topic in ipairs(topics) do
      for _, ms in ipairs(delays) do
        left[#left + 1] = { name_of(topic, ms), topic }
      end
    end
    while left[1] do
      for i = #left, 1, -1 do
        if sibling.ensure(left[i][1], left[i][2]) then
          table.remove(left, i)
        end
      end
      if left[1] and not job:rest(LOOK_AGAIN_MS) then
        return
      end
    end
  end)
end

local function last_values(headers)
  local map = {}
  for _, header in ipairs(headers) do
    map[header[1]] = header[2]
  end
  return map
end

--- What a record of a retry topic was in its own topic, and { attempts, first_failed_ms }: how many
--- attempts were made, and when the first one failed. Any other record as it is.
function M.original(record)
  local topic = record.topic:match "^(.+)%-retry%-%d+$"
  if not topic then
    return record, nil
  end
  local map = last_values(record.headers)
  local first = map["sipeat-first-failed-at"] and FIRST_OF_OURS or nil
  local timestamp = letters.integer(map["kafka_original-timestamp"])
    or letters.integer(map["retry_topic-original-timestamp"])
  local since = map["sipeat-first-failed-at"]
  local next_attempt = letters.integer(map["retry_topic-attempts"]) or 2
  return {
    topic = map[FIRST_OF_OURS] or topic,
    partition = letters.integer(map["kafka_original-partition"]) or record.partition,
    offset = letters.integer(map["kafka_original-offset"]) or record.offset,
    timestamp = timestamp or record.timestamp,
    timestamp_type = map["kafka_original-timestamp-type"] or record.timestamp_type,
    key = record.key, value = record.value,
    headers = letters.original_headers(record.headers, first),
  }, {
    attempts = math.max(0, next_attempt - 1),
    first_failed_ms = since and sys.parse_time(since) or nil,
  }
end

local function headers_of(job, record, due_ms)
  local why, out = job.moving, {}
  for i, header in ipairs(record.headers) do
    out[i] = header
  end
  local function add(name, value)
    out[#out + 1] = { name, value }
  end
  add(FIRST_OF_OURS, record.topic)
  add("kafka_original-partition", (">i4"):pack(record.partition))
  add("kafka_original-offset", (">i8"):pack(record.offset))
  add("kafka_original-timestamp", (">i8"):pack(record.timestamp or -1))
  add("kafka_original-timestamp-type", record.timestamp_type or "CreateTime")
  add("kafka_original-consumer-group", job.flow.group)
  add("kafka_exception-fqcn", "sipeat." .. why.code)
  add("kafka_exception-message", sys.utf8_clean(why.message:sub(1, MESSAGE_BYTES)))
  add("retry_topic-attempts", (">i4"):pack(job.attempt + 1))
  add("retry_topic-original-timestamp", big_integer(record.timestamp or -1))
  add("retry_topic-backoff-timestamp", big_integer(due_ms))
  add("sipeat-error-code", why.code)
  add("sipeat-error-kind", why.kind)
  add("sipeat-attempts", tostring(job.attempt))
  add("sipeat-first-failed-at", sys.iso_time(job.first_failed_ms))
  add("sipeat-failed-at", sys.iso_time())
  add("sipeat-due-at", sys.iso_time(due_ms))
  return out
end

-- The topic and the moment for the next attempt. What refused the call may ask for more time.
local function destination(job)
  local delays, why = job.flow.retry_delays, job.moving
  local wait_ms = why.retry_at_ms and why.retry_at_ms - sys.monotonic_ms() or 0
  local at = math.max(1, math.min(job.attempt, #delays))
  while at < #delays and delays[at] < wait_ms do
    at = at + 1
  end
  return name_of(job.record.topic, delays[at]), sys.now_ms() + delays[at]
end

--- Emits the event to the retry topic of its next attempt, as that record; the event is finished
--- once that is written. true; or nil and a failure.
function M.move(job, record)
  local topic, due_ms = destination(job)
  local there, why = sibling.ensure(topic, record.topic, record.partition + 1)
  if not there and why.kind == "cancelled" then
    return nil, why
  end
  local partition = not job.anywhere and record.partition or nil
  local ok, message, code = job.ticket:emit(
    topic, record.key, record.value, headers_of(job, record, due_ms), partition, nil, job.moved_at
  ) -- with the time of now: retention would take an old record away before it is due
  if not ok then
    return nil, failure.of(("to %s: %s"):format(topic, message), code)
  end
  job.moved_at = job.moved_at or message
  return true
end

--- What can be changed after the retry topic refused the event, is changed. false when there is
--- nothing, and trying again cannot help; nil when it may.
function M.refused(job, code)
  if NO_TOPIC[code] then
    sibling.forget(destination(job))
  end
  if NO_PARTITION[code] and not job.anywhere then
    job.anywhere = true
  elseif TOO_LARGE[code] then
    return false
  else
    return nil
  end
  return true
end

--- Counts an event that is on its way.
function M.count(group)
  moved[group] = (moved[group] or 0) + 1
end

--- Events that went to retry topics, by group.
function M.moved()
  return moved
end

return M
