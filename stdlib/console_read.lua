--- Reading spans of a topic for somebody who waits: what a sieve passes over costs little, how far
--- it is is told from time to time, and others get their turns.
local kafka = require "sipeat.kafka"
local sys = require "sipeat.core.sys"

local M = {}

local PROGRESS_MS = 250
local READ_TIMEOUT = "10s" -- a broker that gives nothing for so long has a problem

-- Shows how far it is, and lets others run. As breathe of a stream.
local function breathe(self)
  local now = sys.monotonic_ms()
  if now - self.told_ms >= PROGRESS_MS then
    self.told_ms = now
    local ok, message, code = self.stream:send("progress", self:state())
    if not ok then
      return nil, message, code
    end
  end
  return self.stream:breathe()
end

--- Records as of kafka.reader{ topic, partitions?, offsets, ends, sieve? }, one by one, to
--- visit(record): false ends it, as nil, message, code does. What it answers last, true at the end;
--- or nil, message, code. `self` has `stream`, `scanned`, `told_ms` and state(), which is told.
function M.each(self, options, visit)
  local reader <close>, message, code = kafka.reader(options)
  if not reader then
    return nil, message, code
  end
  local before = self.scanned
  local visited = 0
  while true do
    local record
    record, message, code = reader:next(READ_TIMEOUT)
    visited = visited + (record and 1 or 0)
    self.scanned = before + visited + reader:passed()
    local go_on = true
    if record then
      go_on, message, code = visit(record)
    elseif code ~= "PASSED" then
      return code == "END" or nil, message, code
    end
    if go_on then
      go_on, message, code = breathe(self)
    end
    if not go_on then
      return go_on, message, code
    end
  end
end

return M
