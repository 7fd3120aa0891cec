--- How bytes on a line are shown: with times, direction, hex, text, and as frames in words. No I/O:
-- bytes go in, lines come out.
--
-- A view takes chunks (direction, time, bytes) in the order of time and returns what is to be
-- printed. With a protocol it keeps what is not a whole frame yet; flush gives what has waited.
local json = require "sipeat.json"
local raw = require "sipeat.bytes"
local sys = require "sipeat.core.sys"
local text_of = require "sipeat.command_text"

local M = {}

local View = {}
View.__index = View

local ROW = 16 -- bytes
local MAX_HELD = 4096 -- bytes of an unfinished frame
local COLOURS = { ["in"] = "32", out = "36", words = "1", dim = "2", bad = "31" }
local MARKS = { ["in"] = "<", out = ">" }

function M.hex(bytes)
  return (bytes:gsub(".", function(byte)
    return ("%02x "):format(byte:byte())
  end):sub(1, -2))
end

--- The bytes of "FA FB 42", "fa,fb,42" or "0xfa 0xfb"; or nil when it is no hex.
function M.unhex(text)
  local digits = text:gsub("0[xX]", ""):gsub("[%s,:]+", "")
  if #digits % 2 ~= 0 or digits:find "%X" then
    return nil
  end
  return raw.unhex(digits)
end

local function ascii(bytes)
  return (bytes:gsub("[^ -~]", "."))
end

--- Options: format, time, only, filter, hide (as on the command line), colour (boolean), describe =
--- function(bytes, from_host) -> how many bytes are a frame (0: needs more), words; or nil.
function M.view(options)
  return setmetatable({
    format = options.format or "hex",
    time = options.time or "clock",
    only = options.only,
    filter = options.filter and options.filter:lower(),
    hide = options.hide and options.hide:lower(),
    colour = options.colour,
    describe = options.describe,
    held = { ["in"] = { bytes = "" }, out = { bytes = "" } },
    line = { ["in"] = "", out = "" },
    frames = 0,
  }, View)
end

local function paint(self, name, text)
  return self.colour and ("\27[%sm%s\27[0m"):format(COLOURS[name], text) or text
end

-- `at` is microseconds: { wall = since 1970, start = since the view began to look }.
local function stamp(self, at)
  local before = self.last_us or at.start
  self.last_us = at.start
  if self.time == "off" then
    return ""
  elseif self.time == "start" then
    return ("%.6f "):format(at.start / 1e6)
  elseif self.time == "delta" then
    return ("+%.6f "):format((at.start - before) / 1e6)
  elseif self.time == "iso" then
    local text = sys.iso_time(at.wall // 1000)
    return ("%s%03dZ "):format(text:sub(1, -2), at.wall % 1000)
  end
  return ("%s.%06d "):format(os.date("%H:%M:%S", at.wall // 1000000), at.wall % 1000000)
end

local function wanted(self, direction, bytes, words)
  if self.only and self.only ~= direction then
    return false
  elseif not self.filter and not self.hide then
    return true
  end
  local text = ((words or "") .. "\n" .. M.hex(bytes)):lower()
  return (not self.filter or text:find(self.filter, 1, true) ~= nil)
    and not (self.hide and text:find(self.hide, 1, true))
end

local function rows_of_hex(self, direction, at, bytes, words)
  local head = stamp(self, at)
  local pad, lines = (" "):rep(#head), {}
  for first = 1, #bytes, ROW do
    local part = bytes:sub(first, first + ROW - 1)
    local line = ("%s%s %-47s |%s|"):format(
      paint(self, "dim", first == 1 and head or pad), paint(self, direction, MARKS[direction]),
      M.hex(part), ascii(part))
    if first == 1 and words then
      line = line .. "  " .. paint(self, words == "noise" and "bad" or "words", words)
    end
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n") .. "\n"
end

local function as_json(direction, at, bytes, words)
  return json.encode {
    time = sys.iso_time(at.wall // 1000), t_us = at.start, dir = direction, hex = M.hex(bytes),
    words = words,
  } .. "\n"
end

local function show(self, direction, at, bytes, words)
  words = words and text_of.printable(words)
  if not wanted(self, direction, bytes, words) then
    return ""
  end
  self.frames = self.frames + 1
  if self.format == "raw" then
    return bytes
  elseif self.format == "json" then
    return as_json(direction, at, bytes, words)
  end
  return rows_of_hex(self, direction, at, bytes, words)
end

-- Text: a line of the other side is a line here; LF, CR and CR LF end one.
local function add_text(self, direction, at, bytes)
  if self.only and self.only ~= direction then
    return ""
  end
  local out, rest = {}, self.line[direction] .. bytes
  if self.ended_cr == direction and self.line[direction] == "" then
    rest = rest:gsub("^\n", "")
  end
  for line, ending in rest:gmatch "([^\r\n]*)(\r?[\r\n])" do
    if wanted(self, direction, line) and (line ~= "" or ending ~= "") then
      self.frames = self.frames + 1
      out[#out + 1] = ("%s%s %s\n"):format(paint(self, "dim", stamp(self, at)),
        paint(self, direction, MARKS[direction]), text_of.printable(line))
    end
  end
  self.ended_cr = rest:sub(-1) == "\r" and direction or nil
  rest = rest:match "[^\r\n]*$"
  self.line[direction] = rest
  if #rest > MAX_HELD then
    return table.concat(out) .. self:flush()
  end
  return table.concat(out)
end

-- Bytes that are no frame, one by one, are shown as one piece.
local function frames(self, direction, at, bytes)
  local held, out, noise = self.held[direction], {}, {}
  if held.bytes == "" then
    held.at = at
  end
  bytes, at = held.bytes .. bytes, held.at
  local function tell_noise()
    if #noise > 0 then
      out[#out + 1] = show(self, direction, at, table.concat(noise), "noise")
      noise = {}
    end
  end
  while bytes ~= "" do
    local used, words = self.describe(bytes, direction == "out")
    if used == 0 and #bytes <= MAX_HELD then
      break
    end
    used = math.max(used, 1)
    if words == "noise" or words == nil then
      noise[#noise + 1] = bytes:sub(1, used)
    else
      tell_noise()
      out[#out + 1] = show(self, direction, at, bytes:sub(1, used), words)
    end
    bytes = bytes:sub(used + 1)
  end
  tell_noise()
  held.bytes = bytes
  return table.concat(out)
end

--- Bytes that came in ("in") or went out ("out"). Returns what to print, perhaps nothing.
function View:add(direction, at, bytes)
  if self.format == "text" then
    return add_text(self, direction, at, bytes)
  elseif self.describe and self.format ~= "raw" then
    return frames(self, direction, at, bytes)
  end
  return show(self, direction, at, bytes)
end

--- What has waited for the rest of its frame or line since before `before_us` (since the start);
--- nil: all.
function View:flush(before_us)
  local out = {}
  for direction, held in pairs(self.held) do
    if held.bytes ~= "" and (not before_us or held.at.start < before_us) then
      local bytes = held.bytes
      held.bytes = ""
      out[#out + 1] = show(self, direction, held.at, bytes, "unfinished")
    end
  end
  for direction, line in pairs(self.line) do
    if line ~= "" and not before_us then
      self.line[direction] = ""
      out[#out + 1] = ("%s %s\n"):format(MARKS[direction], text_of.printable(line))
    end
  end
  return table.concat(out)
end

--- A line of its own about the link: "lost", "open again".
function View:note(at, text)
  if self.format == "json" then
    return json.encode { time = sys.iso_time(at.wall // 1000), t_us = at.start, link = text }
      .. "\n"
  elseif self.format == "raw" then
    return ""
  end
  return ("%s%s\n"):format(paint(self, "dim", stamp(self, at)), paint(self, "bad", "- " .. text))
end

--- How much of the bytes makes sense, 0 to 1: is in frames of the protocol, or is text.
function M.sense(bytes, describe)
  local good = 0
  if not describe then
    for _ in bytes:gmatch "[%g \r\n\t]" do
      good = good + 1
    end
    return #bytes > 0 and good / #bytes or 0
  end
  local all = #bytes
  while bytes ~= "" do
    local used, words = describe(bytes, false)
    if used == 0 then
      all = all - #bytes -- the rest of the last frame did not come
      break
    end
    good = good + (words ~= "noise" and used or 0)
    bytes = bytes:sub(used + 1)
  end
  return all > 0 and good / all or 0
end

return M
