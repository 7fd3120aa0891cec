--- Reads one line, or two with what comes passed on between them, and tells what came and when:
-- what `monitor` and `record` have in common.
--
-- "in" is what the board says, "out" what it is told: by us, or by the program on the other side.
local common = require "sipeat.command_serial"
local serial = require "sipeat.serial"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local Pump = {}
Pump.__index = Pump

-- The port of the program: one that is there, or a pseudo-terminal that is made for it.
local function open_other(options, reopen)
  local link = options.through:match "^pty:(.+)$"
  if link then
    return serial.simulate { link = link }
  end
  return serial.open {
    port = common.port_name(options, options.through), baud = options.baud, reopen = reopen,
  }
end

-- Opens the port of these options, and the one to stand between. Or nil, message, code.
function M.open(options)
  local reopen = not options.no_reopen
  local board, message, code = serial.open(
    common.line_options(options, options.operand, { reopen = reopen }))
  if not board then
    return nil, message, code
  end
  local program
  if options.through then
    program, message, code = open_other(options, reopen)
    if not program then
      board:close()
      return nil, message, code
    end
  end
  return setmetatable({
    board = board, program = program, reopen = reopen, chunks = 0, tasks = {},
    finished = task.channel(1),
    wall_us = sys.now_ms() * 1000, start_us = math.floor(sys.monotonic_ms() * 1000),
  }, Pump)
end

--- A time of the monotonic clock as { start = µs since the pump began, wall = µs since 1970 }.
function Pump:at(monotonic_us)
  local start = math.max(0, (monotonic_us or math.floor(sys.monotonic_ms() * 1000)) - self.start_us)
  return { start = start, wall = self.wall_us + start }
end

--- Ends run(): its results are these.
function Pump:stop(...)
  if not self.stopped then
    self.stopped = table.pack(...)
    self.finished:close()
  end
end

local function tell(self, direction, at, bytes)
  self.chunks = self.chunks + 1
  at.start = math.max(at.start, self.last_us or 0) -- two readers: in the order of being told
  self.last_us = at.start
  local ok, message, code = self.on_bytes(direction, at, bytes)
  if not ok then
    self:stop(nil, message, code)
  elseif self.max and self.chunks >= self.max then
    self:stop(true)
  end
end

-- More may come than is taken: the oldest pieces are gone then, and that is said.
local function tell_losses(self, line, at, known)
  local dropped = line:state().dropped
  if dropped > known then
    self.on_link(at, ("%d pieces came faster than they were taken, and are gone"):format(
      dropped - known))
  end
  return dropped
end

-- What one line says, until it is closed.
local function follow(self, line, direction, other)
  local opened = false -- that it is open is news only when it was lost
  local dropped = 0
  while not self.stopped do
    local chunk, message, code = common.chunk(line)
    if chunk and chunk.down and not self.reopen then
      return self:stop(nil, chunk.link, "LOST")
    elseif chunk and chunk.link then
      if opened or chunk.down then
        self.on_link(self:at(), chunk.link)
      end
      opened = true
    elseif chunk then
      if other then
        local ok, why = other:write(chunk.bytes)
        if not ok then
          self.on_link(self:at(chunk.at_us), "not passed on: " .. why)
        end
      end
      dropped = tell_losses(self, line, self:at(chunk.at_us), dropped)
      tell(self, direction, self:at(chunk.at_us), chunk.bytes)
    else
      return self:stop(code == "ECANCELED" or nil, message, code)
    end
  end
end

--- Sends to the board, and tells it as what went out. true | nil, message, code.
function Pump:send(bytes)
  local at = self:at()
  local ok, message, code = self.board:write(bytes)
  if ok then
    tell(self, "out", at, bytes)
  end
  return ok, message, code
end

function Pump:spawn(f, ...)
  self.tasks[#self.tasks + 1] = task.spawn(f, ...)
end

--- Until stop(), for at most `limit`. on_bytes(direction, at, bytes) -> true | nil, message, code;
--- on_link(at, text). Returns true at the end, Ctrl-C included; or nil, message, code.
function Pump:run(handlers)
  self.on_bytes, self.on_link, self.max = handlers.on_bytes, handlers.on_link, handlers.max
  self:spawn(follow, self, self.board, "in", self.program)
  if self.program then
    self:spawn(follow, self, self.program, "out", self.board)
  end
  self.finished:recv(handlers.limit)
  local result = self.stopped or { true }
  self.stopped = result
  self:close()
  return table.unpack(result, 1, 3)
end

function Pump:close()
  for _, running in ipairs(self.tasks) do
    running:kill()
  end
  self.board:close()
  if self.program then
    self.program:close()
  end
end

return M
