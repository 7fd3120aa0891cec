--- Server-sent events of the console: how many there may be at once, and a line of life while
--- nothing comes. A client that goes away stops the task that writes to it.
local json = require "sipeat.json"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local PING_MS = 15000 -- shorter than what browsers and proxies take for dead
local SLICE = 200 -- turns of work between two looks at what else is to be done
local MAX = { search = 8, tail = 16, live = 128 }

local open = { search = 0, tail = 0, live = 0 }

local Stream = {}
Stream.__index = Stream

--- Sends one event. true, or nil, message, code when the client is gone.
function Stream:send(name, value)
  self.wrote_ms = sys.monotonic_ms()
  return self.write(("event: %s\ndata: %s\n\n"):format(name, json.encode(value)))
end

--- The same of a text that is JSON already.
function Stream:send_text(name, text)
  self.wrote_ms = sys.monotonic_ms()
  return self.write(("event: %s\ndata: %s\n\n"):format(name, text))
end

--- A comment when nothing was sent for long. true, or nil, message, code.
function Stream:ping()
  if sys.monotonic_ms() - self.wrote_ms < PING_MS then
    return true
  end
  self.wrote_ms = sys.monotonic_ms()
  return self.write ": still here\n\n"
end

--- To be called in each turn of long work: lets others run from time to time. true, or nil,
--- message, code when the task is to stop.
function Stream:breathe()
  self.turns = self.turns + 1
  if self.turns % SLICE ~= 0 then
    return true
  end
  return task.sleep "0ms"
end

--- Ends it with an event `problem`.
function Stream:fail(message, code)
  return self:send("problem", { code = code or "UNAVAILABLE", detail = message })
end

--- An answer that streams: work(stream) sends. `kind` is "search", "tail" or "live": each has room
--- for so many. nil, message, "TOO_MANY" when there is none.
function M.answer(kind, work)
  if open[kind] >= MAX[kind] then
    return nil, ("%d streams of this kind are open already: close one"):format(open[kind]),
      "TOO_MANY"
  end
  return {
    status = 200,
    headers = { ["content-type"] = "text/event-stream", ["x-accel-buffering"] = "no" },
    stream = function(write)
      open[kind] = open[kind] + 1
      local _ <close> = setmetatable({}, {
        __close = function()
          open[kind] = open[kind] - 1
        end,
      })
      local stream = setmetatable({ write = write, wrote_ms = sys.monotonic_ms(), turns = 0 },
        Stream)
      if write "retry: 3000\n\n" then
        work(stream)
      end
    end,
  }
end

return M
