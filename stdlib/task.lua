--- Tasks: functions that run side by side on one thread and wait without blocking each other.
local core = require "sipeat.core.task"
local sys = require "sipeat.core.sys"

local M = {}

M.sleep = core.sleep
M.set_event_id = core.set_event_id
M.event_id = core.event_id
M.now_ms = sys.now_ms
M.monotonic_ms = sys.monotonic_ms

local Task = {}
Task.__index = Task

local function traced(err)
  if type(err) == "string" and not err:find("\nstack traceback:", 1, true) then
    return debug.traceback(err, 2)
  end
  return err
end

local function run(self, f, ...)
  self.results = table.pack(xpcall(f, traced, ...))
  if not self.results[1] and not self.joined and not self.killed then
    require("sipeat.log").error("a task failed: " .. tostring(self.results[2]))
  end
end

local function spawn(signal, f, ...)
  local self = setmetatable({ finished = signal }, Task)
  self.handle = core.spawn(signal, run, self, f, ...)
  return self
end

--- Starts f(...) as a task of its own; it first runs after the caller waits or ends.
---@param f function
---@return sipeat.Task
function M.spawn(f, ...)
  if type(f) ~= "function" then
    error("task.spawn: a function is needed, got " .. type(f), 2)
  end
  return spawn(core.signal(), f, ...)
end

--- Waits until the task has ended. Results of its function; or nil, error, "SCRIPT" when it raised;
--- or nil, message, "ETIMEDOUT" | "ECANCELED" when the wait itself ended early (the task goes on).
function Task:join(timeout)
  self.joined = true
  while not self.handle:ended() do
    local ok, message, code = self.finished:wait(timeout)
    if not ok then
      return nil, message, code
    end
  end
  if not self.results then -- stopped where it could not catch: over its time, or out of memory
    return nil, self.handle:error(), "SCRIPT"
  end
  if not self.results[1] then
    return nil, self.results[2], "SCRIPT"
  end
  return table.unpack(self.results, 2, self.results.n)
end

--- Asks the task to stop: what it waits on answers "ECANCELED", and it unwinds by itself.
function Task:kill()
  self.killed = true
  self.handle:kill()
end

function Task:done()
  return self.handle:ended()
end

--- Runs the functions side by side. An array with the first result of each, in order; or, as soon
--- as one raises or returns nil and a message, that message and code, and the others are stopped.
---@param functions function[]
function M.gather(functions)
  local changed, tasks, results, taken = core.signal(), {}, {}, {}
  local left = #functions
  for i, f in ipairs(functions) do
    tasks[i] = spawn(changed, f)
    tasks[i].joined = true
  end
  local function stop(message, code)
    for _, task in ipairs(tasks) do
      task:kill()
    end
    return nil, message, code
  end
  while left > 0 do
    for i, task in ipairs(tasks) do
      if not taken[i] and task:done() then
        local result, message, code = task:join()
        if result == nil and message ~= nil then
          return stop(message, code)
        end
        taken[i], results[i], left = true, result, left - 1
      end
    end
    if left > 0 then
      local ok, message, code = changed:wait()
      if not ok then
        return stop(message, code)
      end
    end
  end
  return results
end

--- Runs f(...) for at most that long: its results, or nil, message, "ETIMEDOUT". What f raises is
--- raised here. When the time is up f is stopped, and this call returns once it has unwound.
---@param timeout string duration, as in "5s"
---@param f function
function M.with_timeout(timeout, f, ...)
  local task = M.spawn(f, ...)
  local results = table.pack(task:join(timeout))
  if not task:done() then
    task:kill()
    task:join()
    if results[3] == "ECANCELED" then
      return nil, results[2], "ECANCELED"
    end
    return nil, "did not finish within " .. timeout, "ETIMEDOUT"
  end
  if not task.results or not task.results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 1, results.n)
end

local Channel = {}
Channel.__index = Channel

--- A queue between tasks. `capacity` values wait in it (0 or more); send waits while it is full.
---@param capacity integer?
function M.channel(capacity)
  capacity = capacity or 0
  if math.type(capacity) ~= "integer" or capacity < 0 then
    error("task.channel: the capacity is an integer of 0 or more", 2)
  end
  return setmetatable({
    capacity = capacity, first = 1, last = 0, receivers = 0, closed = false,
    readable = core.signal(), writable = core.signal(),
  }, Channel)
end

--- true, or nil, message, "CLOSED" | "ETIMEDOUT" | "ECANCELED".
function Channel:send(value, timeout)
  while not self.closed and self.last - self.first + 1 >= self.capacity + self.receivers do
    local ok, message, code = self.writable:wait(timeout)
    if not ok then
      return nil, message, code
    end
  end
  if self.closed then
    return nil, "the channel is closed", "CLOSED"
  end
  self.last = self.last + 1
  self[self.last] = { value }
  self.readable:wake(1)
  return true
end

--- true and the value, or nil, message, "CLOSED" (closed and empty) | "ETIMEDOUT" | "ECANCELED".
function Channel:recv(timeout)
  while self.first > self.last do
    if self.closed then
      return nil, "the channel is closed", "CLOSED"
    end
    self.receivers = self.receivers + 1
    self.writable:wake(1)
    local ok, message, code = self.readable:wait(timeout)
    self.receivers = self.receivers - 1
    if not ok then
      return nil, message, code
    end
  end
  local slot = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  self.writable:wake(1)
  return true, slot[1]
end

--- No more sends; what is in the channel can still be received. Wakes everybody.
function Channel:close()
  self.closed = true
  self.readable:wake()
  self.writable:wake()
end

function Channel:len()
  return self.last - self.first + 1
end

local Semaphore = {}
Semaphore.__index = Semaphore

--- At most `permits` holders at a time.
---@param permits integer
function M.semaphore(permits)
  if math.type(permits) ~= "integer" or permits < 1 then
    error("task.semaphore: the permits are an integer of 1 or more", 2)
  end
  return setmetatable({ free = permits, changed = core.signal() }, Semaphore)
end

--- true, or nil, message, "ETIMEDOUT" | "ECANCELED".
function Semaphore:acquire(timeout)
  while self.free == 0 do
    local ok, message, code = self.changed:wait(timeout)
    if not ok then
      return nil, message, code
    end
  end
  self.free = self.free - 1
  return true
end

function Semaphore:release()
  self.free = self.free + 1
  self.changed:wake(1)
end

--- f(...) while holding a permit; its results. What it raises is raised here, after the release.
function Semaphore:with(f, ...)
  local ok, message, code = self:acquire()
  if not ok then
    return nil, message, code
  end
  local results = table.pack(xpcall(f, traced, ...))
  self:release()
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

return M
