--- Tasks in virtual time: what stands in for the event loop while a simulation runs.
--
-- Between start and stop, sipeat.task and the clocks are those of the simulation: a task is a
-- coroutine, a pause takes no time, and a host that dies takes its tasks with it: they are never
-- resumed, so nothing of them runs any more. What runs next is the longest ready task, or with
-- `pick` (n -> 1..n) one of the n that are ready. Everything runs inside of the calling task, which
-- does not wait.
local core = require "sipeat.core.task"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local Loop = {}
Loop.__index = Loop

local START_MS = 1800000000000
local running -- the loop that is in charge of sipeat.task now

function M.new(pick)
  return setmetatable({
    now_ms = START_MS, ready = {}, first = 1, last = 0, timers = {}, count = 0, pick = pick,
  }, Loop)
end

--- A host: what dies or freezes as one. `is_lost`: nobody waits for it, and it goes on.
function M.host()
  return { dead = false, frozen_until_ms = 0, is_lost = false }
end

-- --- timers: a heap by time, then by order of arrival ---

local function is_before(a, b)
  return a.due_ms < b.due_ms or a.due_ms == b.due_ms and a.number < b.number
end

local function add_timer(self, due_ms, entry)
  local heap, at = self.timers, #self.timers + 1
  self.count = self.count + 1
  entry.due_ms, entry.number = due_ms, self.count
  while at > 1 and is_before(entry, heap[at // 2]) do
    heap[at] = heap[at // 2]
    at = at // 2
  end
  heap[at] = entry
end

local function take_timer(self)
  local heap = self.timers
  local top, entry, size = heap[1], heap[#heap], #heap - 1
  heap[size + 1] = nil
  local at = 1
  while size > 0 do
    local child = 2 * at
    if child < size and is_before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if child > size or not is_before(heap[child], entry) then
      heap[at] = entry
      break
    end
    heap[at] = heap[child]
    at = child
  end
  return top
end

-- --- tasks ---

local function push(self, item)
  self.last = self.last + 1
  self.ready[self.last] = item
end

local function wake(self, waiter, status)
  if waiter.waiting then
    waiter.waiting, waiter.status = false, status
    push(self, waiter)
  end
end

--- Suspends the running task until it is woken. nil, or "ETIMEDOUT" or "ECANCELED".
function Loop:wait(timeout_ms)
  local me = self.current
  if me.killed then
    return "ECANCELED"
  end
  me.waiting, me.wait_number = true, (me.wait_number or 0) + 1
  if timeout_ms then
    add_timer(self, self.now_ms + timeout_ms, { waiter = me, wait_number = me.wait_number })
  end
  if self.on_wait then
    self.on_wait(me.host)
  end
  coroutine.yield()
  return me.status
end

--- Never returns: the host is dead.
function Loop:die(host)
  host.dead = true
  coroutine.yield()
end

--- Calls f after that many ms, unless the host is dead by then.
function Loop:after(ms, host, f)
  add_timer(self, self.now_ms + ms, { call = f, host = host })
end

function Loop:wake(waiter)
  wake(self, waiter)
end

local function body(me, f, ...)
  me.results = table.pack(f(...))
end

--- Starts f(...) as a task of a host.
function Loop:spawn(host, f, ...)
  local me = { host = host, co = coroutine.create(body) }
  me.args = table.pack(me, f, ...)
  push(self, me)
  return me
end

local function resume(self, me)
  local host = me.host
  if host.dead then
    return
  elseif host.frozen_until_ms > self.now_ms then
    add_timer(self, host.frozen_until_ms, { resumed = me })
    return
  end
  self.current = me
  local args = me.args or {}
  me.args = nil
  local ok, why = coroutine.resume(me.co, table.unpack(args, 1, args.n))
  self.current = nil
  if coroutine.status(me.co) == "dead" then
    me.ended, me.error = true, not ok and tostring(why) or nil
    if me.on_end then
      me.on_end()
    end
  elseif not me.waiting and not host.dead then
    push(self, me) -- coroutine.yield: let the others run
  end
end

local function take_ready(self)
  local at = self.first
  if self.pick and self.last > at then
    at = at + self.pick(self.last - at + 1) - 1
  end
  local item = self.ready[at]
  table.move(self.ready, self.first, at - 1, self.first + 1)
  self.ready[self.first] = nil
  self.first = self.first + 1
  return item
end

local function fire(self, entry)
  local waiter = entry.waiter
  if entry.call then
    if not entry.host.dead then
      entry.call()
    end
  elseif entry.resumed then
    push(self, entry.resumed)
  elseif waiter.wait_number == entry.wait_number then
    wake(self, waiter, "ETIMEDOUT")
  end
end

--- Runs until `main` has ended, or nothing is left to run. Its results; or nil, message: what it
--- raised, or nil alone when its host died or was lost, or when it waits for ever.
function Loop:run(main)
  while not main.ended and not main.host.dead and not main.host.is_lost do
    if self.first <= self.last then
      resume(self, take_ready(self))
    elseif #self.timers > 0 then
      local entry = take_timer(self)
      self.now_ms = math.max(self.now_ms, entry.due_ms)
      fire(self, entry)
    else
      break
    end
  end
  if main.error then
    return nil, main.error
  elseif main.ended then
    return table.unpack(main.results, 1, main.results.n)
  end
end

--- Runs what is due within that many ms.
function Loop:pass(ms)
  local main = self:spawn(M.host(), function()
    self:wait(ms)
  end)
  self:run(main)
end

-- --- what sipeat.task is made of ---

local Signal = {}
Signal.__index = Signal

local MESSAGES = { ETIMEDOUT = "wait: the time is up", ECANCELED = "wait: the task was stopped" }

local function current()
  local me = running.current
  if not me then
    error("this call waits, and so needs a task of the simulation", 3)
  end
  return me
end

function Signal:wait(timeout)
  local me = current()
  local ms = timeout and assert(opts.duration_ms(timeout))
  self[#self + 1] = me
  local status = running:wait(ms)
  if not status then
    return true
  end
  for i = #self, 1, -1 do
    if self[i] == me then
      table.remove(self, i)
      break
    end
  end
  return nil, MESSAGES[status], status
end

function Signal:wake(n)
  local count = 0
  while count < (n or math.huge) and self[1] do
    wake(running, table.remove(self, 1), nil)
    count = count + 1
  end
  return count
end

local Handle = {}
Handle.__index = Handle

function Handle:kill()
  self.task.killed = true
  wake(running, self.task, "ECANCELED")
end

function Handle:ended()
  return self.task.ended == true
end

function Handle:error()
  return self.task.error
end

local function spawn(signal, f, ...)
  local child = running:spawn(current().host, f, ...)
  function child.on_end()
    signal:wake()
  end
  return setmetatable({ task = child }, Handle)
end

local function sleep(duration)
  current()
  local status = running:wait(assert(opts.duration_ms(duration)))
  if status == "ECANCELED" then
    return nil, "sleep: the task was stopped", status
  end
  return true
end

local function now_ms()
  return running.now_ms
end

local function new_signal()
  return setmetatable({}, Signal)
end

local PLACES = {
  { core, { spawn = spawn, sleep = sleep, signal = new_signal } },
  { task, { sleep = sleep, now_ms = now_ms, monotonic_ms = now_ms } },
  { sys, { now_ms = now_ms, monotonic_ms = now_ms } },
}

--- From now on tasks and clocks are this loop's, until stop is called.
function Loop:start()
  if running then
    error("a simulation runs in this process already", 2)
  end
  running, self.before = self, {}
  for i, place in ipairs(PLACES) do
    self.before[i] = {}
    for name, f in pairs(place[2]) do
      self.before[i][name] = place[1][name]
      place[1][name] = f
    end
  end
end

function Loop:stop()
  for i, place in ipairs(PLACES) do
    for name in pairs(place[2]) do
      place[1][name] = self.before[i][name]
    end
  end
  running = nil
end

return M
