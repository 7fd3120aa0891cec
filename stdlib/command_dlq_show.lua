--- Everything about one dead letter, for people and for programs.
local json = require "sipeat.json"
local letters = require "sipeat.deadletter_letter"
local output = require "sipeat.command_output"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local SHOWN_BYTES = 65536 -- of a body, for people
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

-- A header's value as it is meant: a number where it is one in binary form.
local function decoded(name, value)
  local number = value and is_integer(name) and letters.integer(value)
  if number then
    return number
  elseif value == nil or sys.valid_utf8(value) then
    return value
  end
  return nil, sys.base64(value)
end

local function put(object, name, value)
  local plain, base64 = decoded(name, value)
  if base64 then
    object[name .. "_base64"] = base64
  else
    object[name] = plain == nil and json.null or plain
  end
end

local function time(ms)
  return ms and ms >= 0 and sys.iso_time(ms) or nil
end

--- A letter as one JSON object, without its body.
function M.object(one)
  local object = {
    topic = one.topic, id = one.id, reason = one.reason, kind = one.kind, message = one.message,
    type = one.type, event_id = one.event_id, attempts = one.attempts, group = one.group,
    failed_at = time(one.failed_ms), first_failed_at = time(one.first_failed_ms),
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
    put(object, "key", one.record.key)
  end
  return object
end

-- JSON text with line breaks, its order kept; nil when it is no JSON.
local function pretty(text)
  local _, message = json.decode(text)
  if message then
    return nil
  end
  local out, depth, at = {}, 0, 1
  local function line()
    out[#out + 1] = "\n" .. ("  "):rep(depth)
  end
  while at <= #text do
    local c = text:sub(at, at)
    local stop = at
    if c == '"' then
      stop = text:find('"', at + 1, true)
      while #text:sub(at, stop - 1):match "\\*$" % 2 == 1 do
        stop = text:find('"', stop + 1, true)
      end
      out[#out + 1] = text:sub(at, stop)
    elseif c == "{" or c == "[" then
      local empty = text:match("^%s*[%]}]", at + 1)
      out[#out + 1] = c
      if empty then
        stop = at + #empty
        out[#out + 1] = empty:sub(-1)
      else
        depth = depth + 1
        line()
      end
    elseif c == "}" or c == "]" then
      depth = depth - 1
      line()
      out[#out + 1] = c
    elseif c == "," then
      out[#out + 1] = c
      line()
    elseif c == ":" then
      out[#out + 1] = ": "
    elseif not c:find "%s" then
      out[#out + 1] = c
    end
    at = stop + 1
  end
  return table.concat(out)
end

-- Text of several lines, each of which cannot do harm to a terminal.
local function indented(text)
  local out = {}
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    out[#out + 1] = "  " .. output.printable((line:gsub("\t", "  ")))
  end
  return table.concat(out, "\n") .. "\n"
end

local function print_json(one, body, why)
  local object = M.object(one)
  object.stacktrace, object.headers = one.stacktrace, {}
  for _, header in ipairs(one.record.headers) do
    put(object.headers, header[1], header[2])
  end
  if body == nil then
    object.body_error = why
  elseif body then
    put(object, "body", body)
  end
  return output.json(object)
end

local FIELDS = {
  { "letter", "id" }, { "reason", "reason" }, { "kind", "kind" }, { "message", "message" },
  { "type", "type" }, { "event", "event_id" }, { "group", "group" }, { "attempts", "attempts" },
  { "first failed", "first_failed_at" }, { "failed", "failed_at" }, { "replayed", "replayed" },
  { "replayed from", "origin" }, { "body in", "pointer" },
}

local function print_fields(one)
  local object = M.object(one)
  local original = object.original
  local rows = {}
  for _, field in ipairs(FIELDS) do
    local value = object[field[2]]
    if value ~= nil then
      rows[#rows + 1] = ("%-14s %s\n"):format(field[1], output.printable(tostring(value)))
    end
  end
  rows[#rows + 1] = ("%-14s %s partition %s offset %s, %s\n"):format("came from",
    output.printable(original.topic or "?"), original.partition or "?", original.offset or "?",
    time(original.timestamp) or "without a time")
  if one.record.key then
    rows[#rows + 1] = ("%-14s %s\n"):format("key", output.printable(one.record.key))
  end
  return terminal.write(table.concat(rows))
end

local function print_headers(one)
  local rows = {}
  for i, header in ipairs(one.record.headers) do
    local value = decoded(header[1], header[2])
    local text = header[2] == nil and "(null)" or output.printable(tostring(value or header[2]))
    if header[1]:find "stacktrace$" then
      text = "(below)"
    end
    rows[i] = ("  %s = %s\n"):format(output.printable(header[1]), text)
  end
  return terminal.write("headers\n" .. table.concat(rows))
end

local function print_body(body, why)
  if body == nil then
    return terminal.write("body\n  (" .. output.printable(why) .. ")\n")
  elseif body == false then
    return terminal.write "body\n  (none)\n"
  end
  local shown = body:sub(1, SHOWN_BYTES)
  local text = #body <= SHOWN_BYTES and pretty(body) or shown
  local rest = #body > SHOWN_BYTES and ("  … %d bytes in all\n"):format(#body) or ""
  return terminal.write("body\n" .. indented(text or shown) .. rest)
end

--- Prints one letter. true, or nil, message, code.
function M.print(one, as_json)
  local body, why = letters.body(one)
  if as_json then
    return print_json(one, body, why)
  end
  local ok = print_fields(one) and print_headers(one)
  if ok and one.stacktrace then
    ok = terminal.write("stack trace\n" .. indented(one.stacktrace))
  end
  return ok and print_body(body, why)
end

return M
