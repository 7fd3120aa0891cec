--- Many handlers, one transaction: what is added while a batch is being written goes into the next
--- one. The first who comes does the work of all that wait, then the first of the next batch does.
local failure = require "sipeat.failure"
local task = require "sipeat.task"

local M = {}

local Together = {}
Together.__index = Together

--- `run(items)` writes a list of items and answers with a list of as many results, or nil,
--- message, code for all of them. At most `limit` items go together.
function M.new(run, limit)
  return setmetatable({ run = run, limit = limit, waiting = {}, busy = false }, Together)
end

local function take(self)
  local batch, rest = {}, {}
  for i, entry in ipairs(self.waiting) do
    local list = i <= self.limit and batch or rest
    list[#list + 1] = entry
  end
  self.waiting = rest
  return batch
end

-- Lets the first of those that wait work next.
local function hand_over(self)
  self.busy = self.waiting[1] ~= nil
  if self.busy then
    self.waiting[1].wake:send "work"
  end
end

local function answer(batch, own, results, problem)
  for i, entry in ipairs(batch) do
    entry.result, entry.problem = results and results[i], problem
    if entry ~= own then
      entry.wake:send "done"
    end
  end
end

local function work(self, own)
  local batch = take(self)
  local stopped = failure.transient("the batch was stopped", "BATCH_STOPPED")
  local ended = false
  local guard <close> = setmetatable({}, { __close = function() -- also when this task is killed
    if not ended then
      answer(batch, own, nil, stopped)
    end
    hand_over(self)
  end })
  local items = {}
  for i, entry in ipairs(batch) do
    items[i] = entry.item
  end
  local ok, results = failure.catch(self.run, items)
  ended = true
  answer(batch, own, ok and results or nil, not ok and results or nil)
  return guard
end

-- One who is stopped while it waits must not keep the others from their work.
local function leave(self, own)
  for i, entry in ipairs(self.waiting) do
    if entry == own then
      table.remove(self.waiting, i)
      if own.wake:len() > 0 then
        hand_over(self)
      end
    end
  end
end

--- Adds an item and waits for its result; or nil and a failure.
function Together:add(item)
  local own = { item = item, wake = task.channel(1) }
  self.waiting[#self.waiting + 1] = own
  if not self.busy then
    self.busy = true
    own.wake:send "work"
  end
  local ok, what, code = own.wake:recv()
  if not ok then
    leave(self, own)
    return nil, failure.of(what, code)
  elseif what == "work" then
    work(self, own)
  end
  return own.result, own.problem
end

return M
