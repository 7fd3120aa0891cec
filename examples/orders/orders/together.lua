--- Many handlers, one transaction: what is added while a batch is being written goes into the next
--- one.
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

local function answer(batch, results, problem)
  for i, entry in ipairs(batch) do
    entry.result, entry.problem = results and results[i], problem
    entry.wake:send "done"
  end
end

-- Writes one batch, in a task of its own: whoever began it may be stopped meanwhile. Then the first
-- of those that wait begins the next one.
local function work(self)
  local batch, items = take(self), {}
  for i, entry in ipairs(batch) do
    items[i] = entry.item
  end
  local ok, results = failure.catch(self.run, items)
  answer(batch, ok and results or nil, not ok and results or nil)
  self.busy, self.worker = self.waiting[1] ~= nil, nil
  if self.busy then
    self.waiting[1].wake:send "work"
  end
end

local function begin(self)
  self.busy, self.worker = true, task.spawn(work, self)
end

-- One who is stopped while it waits must not keep the others from their work.
local function leave(self, own)
  for i, entry in ipairs(self.waiting) do
    if entry == own then
      table.remove(self.waiting, i)
      if own.wake:len() > 0 then
        begin(self) -- its turn was now
      end
      return
    end
  end
end

--- Adds an item and waits for its result; or nil and a failure.
function Together:add(item)
  local own = { item = item, wake = task.channel(2) }
  self.waiting[#self.waiting + 1] = own
  if not self.busy or self.worker and self.worker:done() then -- or it was stopped, over its budget
    begin(self)
  end
  while true do
    local ok, what, code = own.wake:recv()
    if not ok then
      leave(self, own)
      return nil, failure.of(what, code)
    elseif what == "done" then
      return own.result, own.problem
    end
    begin(self)
  end
end

return M
