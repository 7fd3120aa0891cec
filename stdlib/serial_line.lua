--- Lines of sipeat.serial: commands to an engine, notes from it; bytes and frames without one.
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local tracing = require "sipeat.tracing"

local MOST_BYTES = 1048576 -- that wait to be read
local MOST_NOTES = 256 -- that wait while bytes are read

local COMMAND = opts.spec("sipeat.serial.command", {
  timeout = { "duration", default = "30s" },
})

local Line = {}
Line.__index = Line

local M = { Line = Line }

local function ends_at(duration, what)
  local ms, why = opts.duration_ms(duration or "10s")
  if not ms then
    error(("line:%s: %s"):format(what, why), 3)
  end
  return sys.monotonic_ms() + ms
end

local function left(ends)
  return math.max(0, math.ceil(ends - sys.monotonic_ms()))
end

local function need_bytes(bytes, what)
  if type(bytes) ~= "string" or bytes == "" then
    error(("line:%s: bytes are a string that is not empty"):format(what), 3)
  end
end

--- Does what the protocol calls `name`: the fields of its result, once it is there.
function Line:command(name, fields, options)
  if type(name) ~= "string" then
    error("line:command: the name of a command is text", 2)
  end
  local timeout = COMMAND(options).timeout
  if not (tracing.on and tracing.recording()) then
    return self.core:command(name, fields, timeout)
  end
  local span = require("sipeat.trace_spans").serial(name, self.port, self.protocol)
  local result, message, code = self.core:command(name, fields, timeout)
  span:ended(result, message, code)
  return result, message, code
end

--- The next thing that nobody asked for: {name = "credit", …}.
function Line:next(timeout)
  if #self.kept > 0 then
    return table.remove(self.kept, 1)
  end
  local ms, why
  if timeout ~= nil then
    ms, why = opts.duration_ms(timeout)
    if not ms then
      error("line:next: " .. why, 2)
    end
  end
  return self.core:next(ms)
end

--- {up, path, opened, lost, bytes_in, bytes_out, dropped, realtime, closed, message?, code?}
function Line:state()
  return self.core:state()
end

--- The bytes that passed last, oldest first: { at_ms, out, bytes } each.
function Line:traffic()
  return self.core:traffic()
end

function Line:close()
  self.core:close()
end

Line.__close = Line.close

--- Sets DTR and RTS, where they are given, and reads all modem lines.
function Line:lines(set)
  return self.core:command("lines", set, nil)
end

--- Holds the line in a break for that long.
function Line:send_break(duration)
  local ms, why = opts.duration_ms(duration or "250ms")
  if not ms then
    error("line:send_break: " .. why, 2)
  end
  local result, message, code = self.core:command("break", { ms = ms }, nil)
  return result and true, message, code
end

local function need_raw(self, what, framed)
  if not self.is_raw then
    error(("line:%s: a line with a protocol has commands instead"):format(what), 3)
  elseif framed and not self.is_framed then
    error(("line:%s: needs a line with framing"):format(what), 3)
  elseif framed == false and self.is_framed then
    error(("line:%s: a line with framing has frame() instead"):format(what), 3)
  end
end

--- Hands bytes to the port, in order.
function Line:write(bytes)
  need_raw(self, "write")
  need_bytes(bytes, "write")
  local result, message, code = self.core:command("write", { bytes = bytes }, nil)
  if not result then
    return nil, message, code
  end
  return true
end

-- The next note of that name until `ends`; what else comes is kept for next().
local function await_note(self, name, ends)
  while true do
    local note, message, code = self.core:next(left(ends))
    if not note then
      return nil, message, code
    elseif note.name == name then
      return note
    elseif note.name == "link" and not note.up then
      self.buffer = ""
      self.kept[#self.kept + 1] = note
      return nil, note.message, note.code
    end
    self.kept[#self.kept + 1] = note
    if #self.kept > MOST_NOTES then
      table.remove(self.kept, 1)
    end
  end
end

local function read_more(self, ends)
  local note, message, code = await_note(self, "data", ends)
  if not note then
    return nil, message, code
  elseif #self.buffer + #note.bytes > MOST_BYTES then
    self.buffer = ""
    return nil, ("more than %d bytes were not read, and are gone"):format(MOST_BYTES), "TOO_BIG"
  end
  self.buffer = self.buffer .. note.bytes
  return true
end

local function consume(self, count)
  local bytes = self.buffer:sub(1, count)
  self.buffer = self.buffer:sub(count + 1)
  return bytes
end

--- The next n bytes, or, without n, what is there once there is something.
function Line:read(n, deadline)
  need_raw(self, "read", false)
  local ends = ends_at(deadline, "read")
  while #self.buffer < (n or 1) do
    local ok, message, code = read_more(self, ends)
    if not ok then
      return nil, message, code
    end
  end
  return consume(self, n or #self.buffer)
end

--- Reads until the pattern of Lua matches: its captures, or all that matched. What stood before it
--- is dropped.
function Line:expect(pattern, deadline)
  need_raw(self, "expect", false)
  local ends = ends_at(deadline, "expect")
  while true do
    local found = table.pack(self.buffer:find(pattern))
    if found[1] then
      local matched = consume(self, found[2]):sub(found[1])
      if found.n > 2 then
        return table.unpack(found, 3, found.n)
      end
      return matched
    end
    local ok, message, code = read_more(self, ends)
    if not ok then
      return nil, message, code
    end
  end
end

--- The next frame, and when it was whole (microseconds of a monotonic clock).
function Line:frame(deadline)
  need_raw(self, "frame", true)
  local note, message, code = await_note(self, "frame", ends_at(deadline, "frame"))
  if not note then
    return nil, message, code
  end
  return note.bytes, note.at_us
end

local REASONS = {
  timeout = { "no answer within the time", "ETIMEDOUT" },
  link = { "the port is not there", "ENOTCONN" },
  closed = { "the line was closed", "CLOSED" },
}

--- Sends bytes and gives the next frame, both on the serial thread: questions take turns.
function Line:ask(bytes, deadline)
  need_raw(self, "ask", true)
  need_bytes(bytes, "ask")
  local ms, why = opts.duration_ms(deadline or "1s")
  if not ms then
    error("line:ask: " .. why, 2)
  end
  local result, message, code = self.core:command("ask", { bytes = bytes, timeout_ms = ms }, nil)
  if not result then
    return nil, message, code
  elseif not result.ok then
    local reason = REASONS[result.reason]
    return nil, "line:ask: " .. reason[1], reason[2]
  end
  return result.bytes
end

--- From now on, frames that begin with `to` are answered at once, on the serial thread, and not
--- told; without `with`, no longer.
function Line:answer(to, with)
  need_raw(self, "answer", true)
  need_bytes(to, "answer")
  local result, message, code = self.core:command("answer", { to = to, with = with }, nil)
  if not result then
    return nil, message, code
  end
  return true
end

function M.new(core, port, protocol, is_framed)
  return setmetatable({
    core = core,
    port = port,
    protocol = protocol,
    is_raw = protocol == nil,
    is_framed = is_framed,
    buffer = "",
    kept = {},
  }, Line)
end

return M
