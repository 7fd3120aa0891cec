--- Session files of `sipeat serial record` and `replay`: JSON lines. No I/O here.
--
-- The first line: {"sipeat_session": 1, "port", "started", "protocol"?, "baud"?, "note"?}. Then a
-- line for each chunk {"t_us", "dir": "in" | "out", "hex"}, and for what happened to the link
-- {"t_us", "link"}; t_us counts from the start. "in" is what the board sent, "out" what it was
-- sent.
local json = require "sipeat.json"
local show = require "sipeat.command_serial_show"

local M = {}

local VERSION = 1

function M.header(fields)
  local object = { sipeat_session = VERSION }
  for name, value in pairs(fields) do
    object[name] = value
  end
  return json.encode(object) .. "\n"
end

function M.chunk(direction, t_us, bytes)
  return ('{"t_us":%d,"dir":"%s","hex":"%s"}\n'):format(t_us, direction, show.hex(bytes))
end

function M.link(t_us, text)
  return json.encode { t_us = t_us, link = text } .. "\n"
end

local function check(entry, last_us)
  if math.type(entry.t_us) ~= "integer" or entry.t_us < last_us then
    return "t_us is no integer, or earlier than the line before"
  elseif entry.link then
    return type(entry.link) ~= "string" and "link is no text" or nil
  elseif entry.dir ~= "in" and entry.dir ~= "out" then
    return 'dir is "in" or "out"'
  end
  entry.bytes = type(entry.hex) == "string" and show.unhex(entry.hex) or ""
  return entry.bytes == "" and "hex is no hex" or nil
end

local function decode(line)
  local ok, value = pcall(json.decode, line)
  return ok and type(value) == "table" and value or nil
end

--- The header and the entries { t_us, dir, bytes } or { t_us, link } of a file's text; or nil and
--- what is wrong, with the number of the line.
function M.parse(text)
  local header, entries, number, last_us = nil, {}, 0, 0
  for line in text:gmatch "[^\n]+" do
    number = number + 1
    local entry = decode(line)
    local why = not entry and "it is no JSON object"
    if not why and not header then
      why = entry.sipeat_session ~= VERSION and "the file does not begin as a session does"
      header = entry
    elseif not why then
      why = check(entry, last_us)
      entries[#entries + 1] = entry
    end
    if why then
      return nil, ("line %d: %s"):format(number, why)
    end
    last_us = entry.t_us or last_us
  end
  if not header then
    return nil, "the file is empty"
  end
  return header, entries
end

return M
