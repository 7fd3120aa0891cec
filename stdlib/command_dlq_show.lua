--- Everything about one dead letter, for people and for programs.
local json = require "sipeat.json"
local letters = require "sipeat.deadletter_letter"
local objects = require "sipeat.deadletter_object"
local output = require "sipeat.command_output"
local terminal = require "sipeat.core.terminal"

local M = {}

local SHOWN_BYTES = 65536 -- of a body, for people
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
  local object = objects.object(one)
  object.stacktrace, object.headers = one.stacktrace, {}
  for _, header in ipairs(one.record.headers) do
    objects.put(object.headers, header[1], header[2])
  end
  if body == nil then
    object.body_error = why
  elseif body then
    objects.put(object, "body", body)
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
  local object = objects.object(one)
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
    objects.time(original.timestamp) or "without a time")
  if one.record.key then
    rows[#rows + 1] = ("%-14s %s\n"):format("key", output.printable(one.record.key))
  end
  return terminal.write(table.concat(rows))
end

local function print_headers(one)
  local rows = {}
  for i, header in ipairs(one.record.headers) do
    local value = objects.decoded(header[1], header[2])
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
