--- Dead letters: where an event goes that cannot be processed, with the reason beside it.
--
-- Key, value, headers and time stay as they were. The headers that are added are those of Spring
-- for Apache Kafka, in their binary forms, and some of ours as text. A letter that is too large for
-- its topic leaves a pointer there, and its body in a local file.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local log = require "sipeat.log"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local SUFFIX = "-dlt"
local TRACE_BYTES = 8000
local MESSAGE_BYTES = 2000
local FIRST_PAUSE_MS, LAST_PAUSE_MS = 200, 30000
local TOO_LARGE = { MSG_SIZE_TOO_LARGE = true, RECORD_LIST_TOO_LARGE = true, INVALID_MSG_SIZE = true, TOO_BIG = true }
local NO_TOPIC = { UNKNOWN_TOPIC_OR_PART = true, UNKNOWN_TOPIC = true, _UNKNOWN_TOPIC = true }
local NO_PARTITION = { UNKNOWN_PARTITION = true, _UNKNOWN_PARTITION = true }

local logger = log.new "deadletter"

--- The dead-letter topic of a topic.
function M.topic_of(topic, dead_letter)
  return type(dead_letter) == "string" and dead_letter or topic .. SUFFIX
end

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
  add("sipeat-event-id", letter.event and letter.event.id)
  add("sipeat-event-type", letter.event and letter.event.type)
  add("sipeat-failed-at", sys.iso_time())
  return out
end

local function directory()
  return sys.getenv "SIPEAT_PARK_DIR" or "."
end

-- The body goes to a file of its own name, so that writing it again changes nothing. Its path, or
-- nil, message, code.
local function park(letter)
  local record = letter.record
  local name = ("%s/sipeat-parked-%s-%d-%d.bin"):format(
    directory(), record.topic:gsub("[^%w._-]", "_"), record.partition, record.offset)
  local ok, message, code = sys.write_file(name, record.value or "")
  if not ok then
    return nil, message, code
  end
  return name
end

local function pointer(letter, topic)
  local path, message, code = park(letter)
  if not path then
    return nil, message, code
  end
  local record = letter.record
  logger:warn(("the event is too large for %s: its body is in %s"):format(topic, path))
  local headers = M.headers { -- original headers may be what is too large
    record = { topic = record.topic, partition = record.partition, offset = record.offset,
      timestamp = record.timestamp, timestamp_type = record.timestamp_type },
    flow = letter.flow, event = letter.event, failure = letter.failure, attempts = letter.attempts,
  }
  headers[#headers + 1] = { "sipeat-pointer", path }
  headers[#headers + 1] = { "sipeat-body-sha256", sys.sha256(record.value or "") }
  headers[#headers + 1] = { "sipeat-body-bytes", tostring(#(record.value or "")) }
  local key = record.key
  if key and #key > 1000 then
    key = nil
  end
  return {
    topic = topic, key = key, headers = headers, timestamp = record.timestamp,
    value = json.encode { pointer = path, bytes = #(record.value or ""), sha256 = sys.sha256(record.value or "") },
  }
end

local function full(letter, topic)
  local record = letter.record
  return {
    topic = topic, key = record.key, value = record.value, headers = M.headers(letter),
    partition = record.partition, timestamp = record.timestamp,
  }
end

local function create(topic)
  local kafka = require "sipeat.kafka"
  local ok, message = kafka.admin():create_topic { name = topic, partitions = 1 }
  if ok then
    logger:info(("created the topic %s"):format(topic))
  else
    logger:warn(("cannot create the topic %s: %s"):format(topic, tostring(message)))
  end
end

-- One try. true, or nil, failure; the message to send next is kept in `state`.
local function try(letter, state)
  local kafka = require "sipeat.kafka"
  local message, code
  if not state.message then
    state.message, message, code = pointer(letter, state.topic)
    if not state.message then
      return nil, failure.of(message, code)
    end
  end
  local ok
  ok, message, code = kafka.producer():send(state.message)
  if ok then
    return true
  elseif TOO_LARGE[code] and not state.pointed then
    state.message, state.pointed, state.at_once = nil, true, true
  elseif NO_PARTITION[code] and state.message.partition then
    state.message.partition, state.at_once = nil, true
  elseif NO_TOPIC[code] then
    if state.message.partition then -- the topic may be there with fewer partitions
      state.message.partition = nil
    end
    if not state.created then
      state.created, state.at_once = true, true
      create(state.topic)
    end
  end
  return nil, failure.of(message, code)
end

--- Writes the dead letter, and tries until it is written: the event is not finished before that.
--- true; false when the task was stopped meanwhile. `letter`: record, event, failure, attempts,
--- flow (the group), topic (true, or a name).
function M.write(letter)
  local topic = M.topic_of(letter.record.topic, letter.topic)
  local state = { topic = topic, message = full(letter, topic) }
  local pause_ms = FIRST_PAUSE_MS
  while true do
    local ok, why = try(letter, state)
    if ok then
      return true
    elseif why.kind == "cancelled" then
      return false
    elseif state.at_once then
      state.at_once = nil
    else
      logger:error(("cannot write the dead letter to %s, trying again: %s"):format(topic, why.message))
      if not task.sleep(pause_ms .. "ms") then
        return false
      end
      pause_ms = math.min(pause_ms * 2, LAST_PAUSE_MS)
    end
  end
end

return M
