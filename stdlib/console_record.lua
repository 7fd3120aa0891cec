--- A record as the console shows it: bytes as text where they are text, long values cut, and
--- personal data masked for viewers.
local access = require "sipeat.access"
local bytes = require "sipeat.bytes"
local json = require "sipeat.json"
local sys = require "sipeat.core.sys"

local M = {}

M.LISTED_BYTES = 16 * 1024 -- of a value in a list
M.SHOWN_BYTES = 1024 * 1024 -- of one that is looked at
local HEADERS = 256 -- shown of one record
local HEADER_BYTES = 16 * 1024

-- At most `limit` bytes, without half a character at its end.
local function cut(text, limit)
  if #text <= limit then
    return text, false
  end
  local last = limit
  while last > limit - 4 and text:byte(last + 1) & 0xC0 == 0x80 do
    last = last - 1
  end
  return text:sub(1, last), true
end

--- A copy with what is personal in it masked.
function M.masked(req, record)
  local out = setmetatable({}, { __index = record })
  local headers = {}
  for i, header in ipairs(record.headers or {}) do
    headers[i] = { header[1], header[2] and access.seen(req, header[2]) }
  end
  out.headers = headers
  out.value = record.value and access.seen(req, record.value)
  out.key = record.key and access.seen(req, record.key)
  return out
end

--- Does this user see masked data?
function M.is_masked_for(req)
  return not access.may(req.user, "operator")
end

function M.headers(list)
  local out = json.array {}
  for i = 1, math.min(#(list or {}), HEADERS) do
    local header = list[i]
    local one = { name = sys.utf8_clean(header[1]) }
    if header[2] == nil then
      one.value = json.null
    else
      bytes.put(one, "value", (cut(header[2], HEADER_BYTES)))
    end
    out[i] = one
  end
  return out
end

--- Sets value or value_base64, value_bytes and value_cut.
function M.put_value(into, value, limit)
  into.value_bytes, into.value_cut = 0, false
  if value == nil then
    into.value = json.null
    return
  end
  local shown
  into.value_bytes = #value
  shown, into.value_cut = cut(value, limit)
  bytes.put(into, "value", shown)
end

--- The object of a record.
function M.object(record, limit, masked)
  local at = record.timestamp
  local out = {
    topic = record.topic, partition = record.partition, offset = record.offset,
    timestamp = at, at = at and at >= 0 and sys.iso_time(at) or nil,
    timestamp_type = record.timestamp_type, headers = M.headers(record.headers),
    masked = masked or false,
  }
  if record.key == nil then
    out.key = json.null
  else
    bytes.put(out, "key", (cut(record.key, limit)))
  end
  M.put_value(out, record.value, limit)
  return out
end

return M
