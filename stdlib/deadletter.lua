--- Dead letters: where an event goes that cannot be processed, with the reason beside it.
--
-- Key, value, headers and time stay as they were. The headers that are added are those of Spring
-- for Apache Kafka, in their binary forms, and some of ours as text. A letter that is too large for
-- its topic leaves a pointer there, and its body in a local file.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local log = require "sipeat.log"
local park = require "sipeat.deadletter_park"
local sibling = require "sipeat.sibling_topic"
local state = require "sipeat.deadletter_state"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local SUFFIX = "-dlt"
local TRACE_BYTES, MESSAGE_BYTES = 8000, 2000
local KEY_BYTES, HEADER_BYTES = 1000, 16384 -- what a pointer still carries of the original
local FIRST_PAUSE_MS, LAST_PAUSE_MS = 200, 30000
local SENDS_PER_TRY = 5
-- Letters have the time of their events: by the usual week, that of an old event is gone at once.
local KEPT = { ["retention.ms"] = -1 }
local TOO_LARGE = { MSG_SIZE_TOO_LARGE = true, RECORD_LIST_TOO_LARGE = true }
local NO_PARTITION = { _UNKNOWN_PARTITION = true, UNKNOWN_TOPIC_OR_PART = true }
local NO_TOPIC = { _UNKNOWN_TOPIC = true, UNKNOWN_TOPIC_OR_PART = true }

local logger = log.new "deadletter"

--- The dead-letter topic of a topic.
function M.topic_of(topic, dead_letter)
  return type(dead_letter) == "string" and dead_letter or topic .. SUFFIX
end

-- Text for a header: valid UTF-8, at most `limit` bytes.
local function cut(text, limit)
  text = sys.utf8_clean(text)
  if #text <= limit then
    return text
  end
  while utf8.len(text:sub(1, limit)) == nil do
    limit = limit - 1
  end
  return text:sub(1, limit) .. "…"
end

--- The original headers and, behind them, what is known of the failure.
function M.headers(letter)
  local record, why = letter.record, letter.failure
  local out = {}
  for _, header in ipairs(record.headers or {}) do
    out[#out + 1] = header
  end
  local function add(name, value)
    if value ~= nil then
      out[#out + 1] = { name, value }
    end
  end
  add("kafka_dlt-original-topic", record.topic)
  add("kafka_dlt-original-partition", (">i4"):pack(record.partition))
  add("kafka_dlt-original-offset", (">i8"):pack(record.offset))
  add("kafka_dlt-original-timestamp", (">i8"):pack(record.timestamp or -1))
  add("kafka_dlt-original-timestamp-type", record.timestamp_type or "CreateTime")
  add("kafka_dlt-original-consumer-group", letter.flow)
  add("kafka_dlt-exception-fqcn", "sipeat." .. why.code)
  add("kafka_dlt-exception-message", cut(why.message, MESSAGE_BYTES))
  add("kafka_dlt-exception-stacktrace", cut(why.traceback or why.message, TRACE_BYTES))
  add("retry_topic-attempts", (">i4"):pack(letter.attempts or 1))
  add("sipeat-error-code", why.code)
  add("sipeat-error-kind", why.kind)
  add("sipeat-held-back-after", letter.held_after and tostring(letter.held_after))
  add("sipeat-event-id", letter.event and letter.event.id)
  add("sipeat-event-type", letter.event and letter.event.type)
  add("sipeat-attempts", tostring(letter.attempts or 1))
  add("sipeat-first-failed-at", sys.iso_time(letter.first_failed_ms))
  add("sipeat-failed-at", sys.iso_time(letter.failed_ms))
  return out
end

-- --- too large ---

local function size_of(headers)
  local bytes = 0
  for _, header in ipairs(headers) do
    bytes = bytes + #header[1] + #(header[2] or "")
  end
  return bytes
end

-- The letter with its body in a file, and key and headers too when they are large themselves.
local function pointer(letter, topic)
  local record = letter.record
  local body = record.value or ""
  local path, sum, code = park.body(body, ".bin")
  if not path then
    return nil, sum, code
  end
  local key, small = record.key, setmetatable({}, { __index = record })
  local extra = {
    { "sipeat-pointer", path },
    { "sipeat-body-sha256", sum },
    { "sipeat-body-bytes", tostring(#body) },
  }
  if #(record.key or "") > KEY_BYTES then
    local at, message
    at, message, code = park.body(record.key, ".key")
    if not at then
      return nil, message, code
    end
    key, extra[#extra + 1] = nil, { "sipeat-key-pointer", at }
  end
  if size_of(record.headers or {}) > HEADER_BYTES then
    local at, message
    at, message, code = park.body(park.pack_headers(record.headers), ".headers")
    if not at then
      return nil, message, code
    end
    small.headers, extra[#extra + 1] = {}, { "sipeat-headers-pointer", at }
  end
  logger:warn(("the event is too large for %s: its body is in %s"):format(topic, path))
  local headers = M.headers(setmetatable({ record = small }, { __index = letter }))
  table.move(extra, 1, #extra, #headers + 1, headers)
  return {
    topic = topic,
    key = key,
    value = json.encode { pointer = path, bytes = #body, sha256 = sum },
    headers = headers,
  }
end

-- --- writing ---

local function full(letter, topic)
  local record = letter.record
  return {
    topic = topic,
    key = record.key,
    value = record.value,
    headers = M.headers(letter),
  }
end

-- nil and a failure only when the task was stopped: a topic that cannot be made may be there.
local function ensure(letter, topic)
  local record = letter.record
  local ok, why = sibling.ensure(topic, record.topic, record.partition + 1, KEPT)
  return ok or why.kind ~= "cancelled" or nil, why
end

-- What can be changed so that the next send may succeed; false when nothing can.
local function adapt(letter, topic, code)
  if TOO_LARGE[code] and not letter.pointed then
    letter.pointed = true
  elseif NO_PARTITION[code] and not letter.anywhere then
    letter.anywhere = true
  elseif code == "INVALID_TIMESTAMP" and not letter.untimed then
    letter.untimed = true -- the topic takes no old records; a header has the time
  elseif NO_TOPIC[code] and not letter.remade then
    letter.remade = true
    sibling.forget(topic)
  else
    return false
  end
  return true
end

local function by_producer(message)
  return kafka.producer():send(message)
end

local function send(letter, topic, deliver)
  local message, text, code
  if letter.pointed then
    message, text, code = pointer(letter, topic)
    if not message then
      return nil, text, code
    end
  else
    message = full(letter, topic)
  end
  local record = letter.record
  message.partition = not letter.anywhere and record.partition or nil
  local timed = not letter.untimed and (record.timestamp or -1) >= 0
  message.timestamp = timed and record.timestamp or nil
  return deliver(message)
end

--- What can be changed after a letter was refused, so that the next try may succeed, is changed.
--- false when there is nothing.
function M.refused(letter, code)
  local changed = adapt(letter, M.topic_of(letter.record.topic, letter.topic), code)
  letter.remade = changed and letter.remade
  return changed
end

--- Writes a letter to a local file instead, with everything that its replay needs. The path, or
--- nil, message, code.
function M.park(letter)
  local topic, record = M.topic_of(letter.record.topic, letter.topic), letter.record
  local message = full(letter, topic)
  message.partition, message.timestamp = record.partition, record.timestamp
  local place = ("%s:%s:%d:%d"):format(
    letter.flow, record.topic, record.partition, record.offset
  )
  local path, why, code = park.letter(message, place)
  if not path then
    return nil, why, code
  end
  logger:warn(("the dead letter for %s is parked in %s: replay it with \"sipeat dlq replay "
    .. "--parked\""):format(topic, path), { group = letter.flow })
  return path
end

--- The letters of a dead-letter topic (`topic`), or parked ones (`parked`), that fit, the newest
--- last. nil, message, code.
function M.list(options)
  local list = require "sipeat.deadletter_list"
  local o = list.filter(options)
  if not o.topic and not o.parked then
    error("sipeat.deadletter.list: a dead-letter topic is needed, or parked = true", 2)
  end
  return list.list(o)
end

--- Replays the letters that fit: back to their topics, each one once. What became of them, or nil,
--- message, code and what was done until then.
function M.replay(options)
  return require "sipeat.deadletter_replay"(options, 2)
end

--- What is known of letters that wait for being written.
M.status = state.status

--- Tries once to write a dead letter. What `deliver` answered (by default the process's producer:
--- { topic, partition, offset }), or nil and a failure.
function M.try(letter, deliver)
  local topic = M.topic_of(letter.record.topic, letter.topic)
  for n = 1, SENDS_PER_TRY do
    local ok, stopped = ensure(letter, topic)
    if not ok then
      return nil, stopped
    end
    local report, message, code = send(letter, topic, deliver or by_producer)
    if report then
      return report
    elseif n == SENDS_PER_TRY or not adapt(letter, topic, code) then
      letter.remade = nil
      return nil, failure.of(("dead letter to %s: %s"):format(topic, message), code)
    end
  end
end

--- Writes a dead letter, and tries until it is written. True; false when the task was stopped.
function M.write(letter)
  local pause_ms = FIRST_PAUSE_MS
  while true do
    local report, why = M.try(letter)
    if report then
      return true
    elseif why.kind == "cancelled" then
      return false
    end
    logger:error(("%s; trying again"):format(why.message), { code = why.code })
    if not task.sleep(pause_ms .. "ms") then
      return false
    end
    pause_ms = math.min(pause_ms * 2, LAST_PAUSE_MS)
  end
end

return M
