--- One dead letter as it is read: what its headers say, and the record that it was.
--
-- Letters of Spring for Apache Kafka are read too: those of its recoverer (kafka_dlt-*) and those
-- of its retry topics (kafka_original-*, kafka_exception-*).
local events = require "sipeat.event"
local failure = require "sipeat.failure"
local park = require "sipeat.deadletter_park"
local sys = require "sipeat.core.sys"

local M = {}

local REPLAYED, ORIGIN = "sipeat-replayed", "sipeat-replay-origin"
M.ADDED = { [REPLAYED] = true, [ORIGIN] = true } -- headers of a replay

-- Headers that say why an event is a dead letter. `sipeat-` ones beside the two of a replay are so.
local PREFIXES = { "kafka_dlt-", "kafka_original-", "kafka_exception-", "retry_topic-" }
local OURS = {
  ["sipeat-error-code"] = true, ["sipeat-error-kind"] = true, ["sipeat-event-id"] = true,
  ["sipeat-event-type"] = true, ["sipeat-failed-at"] = true, ["sipeat-first-failed-at"] = true,
  ["sipeat-attempts"] = true, ["sipeat-pointer"] = true, ["sipeat-body-sha256"] = true,
  ["sipeat-body-bytes"] = true, ["sipeat-key-pointer"] = true, ["sipeat-headers-pointer"] = true,
}
local FIRST_OF_OURS = "kafka_dlt-original-topic"

--- The integer of a header: big-endian, 1 to 8 bytes, as Java's integers and BigInteger write it;
--- digits where a producer wrote text.
function M.integer(bytes)
  if bytes == nil or #bytes == 0 or #bytes > 20 then
    return nil
  elseif #bytes ~= 4 and #bytes ~= 8 and bytes:find "^%-?%d+$" then
    return math.tointeger(tonumber(bytes))
  elseif #bytes > 8 then
    return nil
  end
  return ((">i" .. #bytes):unpack(bytes))
end

local function last_values(headers)
  local map = {}
  for _, header in ipairs(headers or {}) do
    map[header[1]] = header[2]
  end
  return map
end

local function text(map, ...)
  for _, name in ipairs { ... } do
    if map[name] and sys.valid_utf8(map[name]) then
      return map[name]
    end
  end
end

-- A header of either family of Spring's names.
local function spring(map, name)
  return map["kafka_dlt-" .. name] or map["kafka_" .. name]
end

local function is_dead_letter_header(name)
  if OURS[name] then
    return true
  end
  for _, prefix in ipairs(PREFIXES) do
    if name:sub(1, #prefix) == prefix then
      return true
    end
  end
  return false
end

--- The headers that the event had. Ours stand in one block behind them, which begins with the last
--- one named `first`: what the event itself had under such a name stays. Without `first` they were
--- written by others, and are told by name.
function M.original_headers(headers, first)
  local from, out = #headers + 1, {}
  for i, header in ipairs(headers) do
    if header[1] == first then
      from = i
    end
  end
  for i, header in ipairs(headers) do
    if i < from and (first or not is_dead_letter_header(header[1])) then
      out[#out + 1] = header
    end
  end
  return out
end

-- "java.lang.IllegalStateException" to "IllegalStateException"; ours to its code.
local function short(fqcn)
  return fqcn and (fqcn:match "([^.]+)$" or fqcn)
end

local function time_of(map, name)
  local value = text(map, name)
  return value and sys.parse_time(value)
end

local function type_of(letter)
  local event = events.from_record {
    topic = letter.original_topic or letter.topic, partition = 0, offset = 0,
    key = letter.record.key, value = letter.record.value, headers = letter.headers,
  }
  return event and event.type, event and event.id
end

--- What is known of the letter that a record of a dead-letter topic is.
function M.read(record)
  local map = last_values(record.headers)
  local ours = map["sipeat-error-code"] ~= nil
  local letter = {
    record = record,
    topic = record.topic, partition = record.partition, offset = record.offset,
    id = record.parked and "parked:" .. record.parked
      or ("%s:%d:%d"):format(record.topic, record.partition, record.offset),
    headers = M.original_headers(record.headers or {}, ours and FIRST_OF_OURS),
    original_topic = text(map, "kafka_dlt-original-topic", "kafka_original-topic"),
    original_partition = M.integer(spring(map, "original-partition")),
    original_offset = M.integer(spring(map, "original-offset")),
    original_timestamp = M.integer(spring(map, "original-timestamp")),
    group = text(map, "kafka_dlt-original-consumer-group", "kafka_original-consumer-group"),
    reason = text(map, "sipeat-error-code")
      or short(text(map, "kafka_dlt-exception-cause-fqcn", "kafka_exception-cause-fqcn",
        "kafka_dlt-exception-fqcn", "kafka_exception-fqcn")) or "UNKNOWN",
    kind = text(map, "sipeat-error-kind"),
    message = text(map, "kafka_dlt-exception-message", "kafka_exception-message"),
    stacktrace = text(map, "kafka_dlt-exception-stacktrace", "kafka_exception-stacktrace"),
    attempts = M.integer(map["sipeat-attempts"]) or M.integer(map["retry_topic-attempts"]),
    failed_ms = time_of(map, "sipeat-failed-at") or record.timestamp,
    first_failed_ms = time_of(map, "sipeat-first-failed-at"),
    replayed = math.tointeger(tonumber(map[REPLAYED])) or 0,
    origin = text(map, ORIGIN),
    pointer = text(map, "sipeat-pointer"),
    key_pointer = text(map, "sipeat-key-pointer"),
    headers_pointer = text(map, "sipeat-headers-pointer"),
  }
  letter.type, letter.event_id = text(map, "sipeat-event-type"), text(map, "sipeat-event-id")
  if not letter.type and not ours then
    letter.type, letter.event_id = type_of(letter)
  end
  return letter
end

-- The headers of a replay: the event's own, how often it was replayed, and from where.
local function replay_headers(letter, headers)
  local out, count = {}, 0
  for _, header in ipairs(headers) do
    if header[1] == REPLAYED then
      count = math.tointeger(tonumber(header[2])) or 0
    elseif header[1] ~= ORIGIN then
      out[#out + 1] = header
    end
  end
  out[#out + 1] = { REPLAYED, tostring(count + 1) }
  out[#out + 1] = { ORIGIN, letter.id }
  return out, count
end

-- Bodies that were parked come from their files. nil, message, code.
local function unparked(path, value)
  if not path then
    return value or false
  end
  return park.read_body(path)
end

--- The value as it was, from its file where it is parked: false when there was none. nil, message,
--- code when the file cannot be read or was changed.
function M.body(letter)
  return unparked(letter.pointer, letter.record.value)
end

--- The headers that the event had, from their file where they are parked. nil, message, code.
function M.headers(letter)
  if not letter.headers_pointer then
    return letter.headers
  end
  local bytes, message, code = park.read_body(letter.headers_pointer)
  if not bytes then
    return nil, message, code
  end
  local ok, headers = pcall(park.unpack_headers, bytes)
  if not ok then
    return nil, letter.headers_pointer .. ": these are no headers", "BAD_DATA"
  end
  return headers
end

--- The record to send so that the event is handled again, and how often it was replayed before.
--- nil and a failure when something of it is missing.
function M.replay(letter)
  if not letter.original_topic then
    return nil, failure.permanent("its headers do not say which topic it came from", "NO_ORIGIN")
  end
  local value, message, code = M.body(letter)
  if value == nil then
    return nil, failure.of(message, code)
  end
  local key
  key, message, code = unparked(letter.key_pointer, letter.record.key)
  if key == nil then
    return nil, failure.of(message, code)
  end
  local headers
  headers, message, code = M.headers(letter)
  if not headers then
    return nil, failure.of(message, code)
  end
  local count
  headers, count = replay_headers(letter, headers)
  local at = letter.original_timestamp or letter.record.timestamp or -1
  return {
    topic = letter.original_topic, partition = letter.original_partition,
    key = key or nil, value = value or nil, headers = headers, timestamp = at >= 0 and at or nil,
  }, count
end

--- The letter that a replayed record came from, by its headers; or nil.
function M.origin_of(record)
  return last_values(record.headers)[ORIGIN]
end

return M
