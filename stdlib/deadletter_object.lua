--- A dead letter as one object for JSON: of the command line and of the console.
local json = require "sipeat.json"
local letters = require "sipeat.deadletter_letter"
local sys = require "sipeat.core.sys"

local M = {}

local INTEGER = "%-partition$|%-offset$|%-timestamp$|^retry_topic%-attempts$"

-- Is that the name of a header that holds a binary integer?
local function is_integer(name)
  for pattern in INTEGER:gmatch "[^|]+" do
    if name:find(pattern) and (name:find "^kafka_" or name:find "^retry_topic") then
      return true
    end
  end
  return false
end

--- A header's value as it is meant: a number where it is one in binary form, or nil and base64.
function M.decoded(name, value)
  local number = value and is_integer(name) and letters.integer(value)
  if number then
    return number
  elseif value == nil or sys.valid_utf8(value) then
    return value
  end
  return nil, sys.base64(value)
end

--- Sets object[name], or object[name .. "_base64"].
function M.put(object, name, value)
  local plain, base64 = M.decoded(name, value)
  if base64 then
    object[name .. "_base64"] = base64
  else
    object[name] = plain == nil and json.null or plain
  end
end

--- A time as text; nil when it is not known.
function M.time(ms)
  return ms and ms >= 0 and sys.iso_time(ms) or nil
end

--- A letter as one JSON object, without its body.
function M.object(one)
  local object = {
    topic = one.topic, id = one.id, reason = one.reason, kind = one.kind, message = one.message,
    type = one.type, event_id = one.event_id, attempts = one.attempts, group = one.group,
    failed_at = M.time(one.failed_ms), first_failed_at = M.time(one.first_failed_ms),
    replayed = one.replayed, origin = one.origin, pointer = one.pointer,
    original = {
      topic = one.original_topic, partition = one.original_partition,
      offset = one.original_offset, timestamp = one.original_timestamp,
    },
  }
  if not one.record.parked then
    object.partition, object.offset = one.partition, one.offset
  end
  if one.record.key then
    M.put(object, "key", one.record.key)
  end
  return object
end

return M
