--- A bounded buffer with one sender behind it, for what goes to a service that events must not wait
--- for: figures, traces, reports.
--
-- add() never waits: what does not fit is counted, not kept. The sender's task lives only while
-- something is in the buffer. It sends a batch when one is full, or when its first item has waited
-- for `flush`; while the service does not take it, the same batch is tried again with growing
-- pauses, no sooner than the service asked for. A batch belongs to whoever made it: one of an older
-- version of the script goes on until it is empty. What waits is sent when the program stops.
local answer = require "sipeat.answer"
local attempt = require "sipeat.attempt"
local core = require "sipeat.core.task"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local log = require("sipeat.log").new "batch"
local metrics = require "sipeat.metrics"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local LONGEST_PAUSE_MS = 600 * 1000 -- whatever a service asks for
local NAMES_MAX = 1000 -- counted one by one; the others together
local COMPLAIN_MS = 60 * 1000 -- between two lines about the same batch
local OUTCOMES = { "sent", "full", "too_big", "rejected", "failed" }

local RETRY = opts.spec("sipeat.batch.retry", {
  attempts = { "integer", default = 8, min = 1, max = 1000 },
  backoff = { "string[]", default = { "500ms", "30s" } },
})

local NEW = opts.spec("sipeat.batch.new", {
  name = { "string", required = true, check = function(name)
    return not name:find "^[%w_.-]+$" and "is letters, digits, _ . and -" or nil
  end },
  send = { "handler", required = true },
  max_items = { "integer", default = 10000, min = 1, max = 10000000 },
  max_bytes = { "size", default = "10mb" },
  batch_items = { "integer", default = 100, min = 1, max = 1000000 },
  batch_bytes = { "size", default = "500kb" },
  item_bytes = { "size" },
  flush = { "duration", default = "1s" },
  timeout = { "duration", default = "30s" },
  source = { "handler" },
  retry = { "table", spec = RETRY, default = {} },
})

local counters = {} -- name -> counts of all its batches on this worker
local names = 0
local queued = {} -- name -> { items, bytes } of all its batches on this worker

-- For /metrics, over all workers.
local ITEMS = metrics.counter("sipeat_batch_items", "Items by what became of them.",
  { "name", "outcome" }, { limit = 10000 })
local RETRIES = metrics.counter("sipeat_batch_retries", "Tries of a batch after the first.",
  { "name" }, { limit = NAMES_MAX + 1 })
local QUEUED_ITEMS = metrics.gauge("sipeat_batch_queued_items", "Items that wait.", { "name" },
  { merge = "sum", limit = NAMES_MAX + 1 })
local QUEUED_BYTES = metrics.gauge("sipeat_batch_queued_bytes", "Their bytes.", { "name" },
  { merge = "sum", limit = NAMES_MAX + 1 })
local busy = {} -- batches in which something is
local fed = setmetatable({}, { __mode = "k" }) -- those that have a source

local Batch = {}
Batch.__index = Batch

-- The counts of a name, and the name that they have.
local function counters_of(name)
  if not counters[name] then
    name = names < NAMES_MAX and name or "other"
  end
  if not counters[name] then
    names = names + 1
    counters[name] = { batches = 0, retries = 0 }
    for _, outcome in ipairs(OUTCOMES) do
      counters[name][outcome] = 0
    end
    queued[name] = { 0, 0 }
  end
  return counters[name], name
end

--- A buffer and what empties it.
---@param options sipeat.batch.NewOptions
---@return sipeat.Batch
function M.new(options)
  local o = NEW(options)
  local counts, label = counters_of(o.name)
  local self = setmetatable({
    name = o.name, label = label, counts = counts,
    options = o, plan = attempt.plan(o.retry, "sipeat.batch.new"),
    items = {}, sizes = {}, first = 1, last = 0,
    count = 0, bytes = 0, -- of all that is neither sent nor given up
    waiting_bytes = 0, -- of those in no batch yet
    taken = {}, -- batches under way: { items, bytes }; the last one is next
    wakeup = core.signal(), complained_at = -COMPLAIN_MS,
  }, Batch)
  fed[self] = o.source and true
  return self
end

-- --- the sender ---

local function complain(self, n, why)
  local now = sys.monotonic_ms()
  if now - self.complained_at >= COMPLAIN_MS then
    self.complained_at = now
    log:warn(("%s: %d items were not delivered: %s"):format(self.name, n, why.message))
  end
end

local function note(self, outcome, n)
  self.counts[outcome] = self.counts[outcome] + n
  ITEMS:add(n, self.label, outcome)
end

-- So many more items and bytes are in the buffer.
local function hold(self, items, bytes)
  local sum = queued[self.label]
  self.count, self.bytes = self.count + items, self.bytes + bytes
  sum[1], sum[2] = sum[1] + items, sum[2] + bytes
  QUEUED_ITEMS:set(sum[1], self.label)
  QUEUED_BYTES:set(sum[2], self.label)
end

local function settle(self, one, outcome)
  self.taken[#self.taken] = nil
  hold(self, -#one.items, -one.bytes)
  note(self, outcome, #one.items)
end

local function is_full(self)
  return self.last - self.first + 1 >= self.options.batch_items
    or self.waiting_bytes >= self.options.batch_bytes
end

-- Takes the next batch out of those that wait; what a batch may hold ends it.
local function take(self)
  local one = { items = {}, sizes = {}, bytes = 0 }
  while self.first <= self.last and #one.items < self.options.batch_items do
    local size = self.sizes[self.first]
    if #one.items > 0 and one.bytes + size > self.options.batch_bytes then
      break
    end
    local n = #one.items + 1
    one.items[n], one.sizes[n], one.bytes = self.items[self.first], size, one.bytes + size
    self.items[self.first], self.sizes[self.first] = nil, nil
    self.first = self.first + 1
  end
  self.waiting_bytes = self.waiting_bytes - one.bytes
  self.taken[#self.taken + 1] = one
end

-- Why an item of that size does not fit beside so many others, or nil.
local function refusal(self, size, items, bytes)
  local o = self.options
  local most = math.min(o.item_bytes or o.batch_bytes, o.batch_bytes, o.max_bytes)
  if size > most then
    return "too_big"
  elseif self.count + items >= o.max_items or self.bytes + bytes + size > o.max_bytes then
    return "full"
  end
end

local function refuse(self, why, n)
  note(self, why, n)
  complain(self, n, { message = why == "full" and "the buffer is full" or "it is too large" })
end

-- Takes in what its source has.
local function draw(self)
  local texts, lost = self.options.source()
  local out, items, bytes = { full = lost or 0, too_big = 0 }, 0, 0
  for _, text in ipairs(texts or {}) do
    local size = #text
    local why = refusal(self, size, items, bytes)
    if why then
      out[why] = out[why] + 1
    else
      items, bytes = items + 1, bytes + size
      self.items[self.last + items], self.sizes[self.last + items] = text, size
    end
  end
  self.last, self.waiting_bytes = self.last + items, self.waiting_bytes + bytes
  hold(self, items, bytes)
  for why, n in pairs(out) do
    if n > 0 then
      refuse(self, why, n)
    end
  end
end

-- A batch that was too large for the service becomes two.
local function halve(self, one)
  local middle, parts = #one.items // 2, {}
  for i, range in ipairs { { middle + 1, #one.items }, { 1, middle } } do
    local part = { items = {}, sizes = {}, bytes = 0 }
    for at = range[1], range[2] do
      local n = #part.items + 1
      part.items[n], part.sizes[n] = one.items[at], one.sizes[at]
      part.bytes = part.bytes + one.sizes[at]
    end
    parts[i] = part
  end
  self.taken[#self.taken], self.taken[#self.taken + 1] = parts[1], parts[2]
end

-- The pause after a failed try; when somebody is in a hurry no longer than the first one, unless
-- the service asked for it. true; nil when the task is stopped.
local function rest(self, tries, asked_ms)
  local began, ms = sys.monotonic_ms(), math.max(self.plan.pause(tries), asked_ms)
  while true do
    local in_hurry = self.hurry and asked_ms == 0
    local pause = in_hurry and self.plan.pause(1) or ms
    local left = math.ceil(began + pause - sys.monotonic_ms())
    if left <= 0 then
      return true
    elseif select(3, self.wakeup:wait(left .. "ms")) == "ECANCELED" then
      return nil
    end
  end
end

-- One try of a batch. true when the sender goes on, nil when it is stopped.
local function try(self, one)
  one.tries = (one.tries or 0) + 1
  if one.tries > 1 then
    self.counts.retries = self.counts.retries + 1
    RETRIES:add(1, self.label)
  end
  local ok, why = attempt.once(math.max(1, self.options.timeout), self.options.send, one.items)
  if ok then
    self.counts.batches = self.counts.batches + 1
    settle(self, one, "sent")
  elseif why.kind == "cancelled" then
    return nil
  elseif why.code == "TOO_BIG" and #one.items > 1 then
    halve(self, one)
  elseif attempt.goes_on(self.plan, one.tries, why) then
    return rest(self, one.tries, math.min(attempt.refused_for_ms(why), LONGEST_PAUSE_MS))
  else
    complain(self, #one.items, why)
    settle(self, one, why.kind == "permanent" and "rejected" or "failed")
  end
  return true
end

-- Until nothing is left, or the task is stopped.
local function run(self)
  local going = true
  while going do
    if self.options.source then
      draw(self)
    end
    if self.count == 0 then
      return
    end
    local one = self.taken[#self.taken]
    if one then
      going = try(self, one)
    elseif is_full(self) or self.hurry or sys.monotonic_ms() >= self.due_ms then
      take(self)
      self.due_ms = sys.monotonic_ms() + self.options.flush -- of those that it left
    else
      local left = math.ceil(self.due_ms - sys.monotonic_ms())
      going = select(3, self.wakeup:wait(left .. "ms")) ~= "ECANCELED"
    end
  end
end

-- A task that died, with the event that had started it for example, is none: what it had under way
-- is still in `taken`.
local function wake(self)
  if self.count == 0 then
    return
  elseif self.sender and not self.sender:done() then
    if is_full(self) or self.hurry then
      self.wakeup:wake()
    end
    return
  end
  busy[self] = true
  self.due_ms = sys.monotonic_ms() + self.options.flush
  self.sender = task.spawn(function()
    task.set_event_id "" -- it outlives the event
    run(self)
    if self.count == 0 then
      busy[self], self.sender = nil, nil
    end
  end)
end

-- --- for whoever has items ---

local function size_of(item, bytes)
  if math.type(bytes) == "integer" and bytes >= 0 then
    return bytes
  elseif bytes ~= nil then
    error(("batch: the bytes of an item are an integer, got %s"):format(opts.show(bytes)), 3)
  elseif type(item) == "string" then
    return #item
  end
  local text, message = json.encode(item)
  return #(text or error("batch: an item without a size: " .. message, 3))
end

--- Takes an item, at once. false and "full" or "too_big" when it does not fit, which is counted.
--- `bytes` is what it takes of the limits: by default its length, or that of its JSON.
---@param item any
---@param bytes integer?
---@return boolean taken
---@return string? why
function Batch:add(item, bytes)
  if item == nil then
    error("batch: an item is anything but nil", 2)
  end
  local size = size_of(item, bytes)
  local why = refusal(self, size, 0, 0)
  if why then
    refuse(self, why, 1)
  else
    self.last = self.last + 1
    self.items[self.last], self.sizes[self.last] = item, size
    hold(self, 1, size)
    self.waiting_bytes = self.waiting_bytes + size
  end
  wake(self)
  return not why, why
end

--- Takes in what the source has by now. Never waits.
function Batch:fetch()
  if not self.options.source then
    error("batch.fetch: the batch has no source", 2)
  end
  draw(self)
  wake(self)
end

local function flush(self, deadline_ms)
  local code
  if self.options.source then
    draw(self)
  end
  self.hurry = true
  wake(self)
  while self.count > 0 and not code do
    local left = math.ceil(deadline_ms - sys.monotonic_ms())
    code = "ETIMEDOUT"
    if left > 0 then
      code = select(3, self.sender:join(left .. "ms"))
      wake(self)
    end
  end
  self.hurry = false
  if self.count > 0 then
    local why = "batch %s: %d items were not delivered in time"
    return nil, why:format(self.name, self.count), code
  end
  return true
end

local function deadline_of(timeout, what)
  local ms, why = opts.duration_ms(timeout or "5s")
  return sys.monotonic_ms() + (ms or error(("%s: %s"):format(what, why), 3))
end

--- Sends what waits, without waiting for more, and waits until it is sent or given up, or the time
--- is up (default "5s").
---@param timeout string?
function Batch:flush(timeout)
  return flush(self, deadline_of(timeout, "batch.flush"))
end

--- How much is in the buffer, and what became of the items of all batches of this name.
---@return table
function Batch:stats()
  local out = { queued = self.count, queued_bytes = self.bytes }
  for name, n in pairs(self.counts) do
    out[name] = n
  end
  return out
end

--- Batch:flush for all that there are, side by side.
---@param timeout string?
function M.flush(timeout)
  local deadline, message, code = deadline_of(timeout, "batch.flush"), nil, nil
  local waiting = {}
  for one in pairs(fed) do
    one:fetch()
  end
  for one in pairs(busy) do
    waiting[#waiting + 1] = one
    one.hurry = true
    wake(one)
  end
  for _, one in ipairs(waiting) do
    local ok, why, its_code = flush(one, deadline)
    if not ok then
      message = message and message .. "; " .. why or why
      code = its_code
    end
  end
  return message == nil or nil, message, code
end

--- What an answer of an HTTP service means to `send`: its results are those of http.post and the
--- like. true; or nil and a failure, which says whether and when trying again can help.
---@param what string for messages
function M.posted(what, response, message, code)
  if not response then
    return nil, failure.of(("%s: %s"):format(what, message), code)
  end
  local why = answer.failure(what, response)
  return why == nil or nil, why
end

--- What is known of the batches of each name on this worker, sorted.
function M.status()
  local list = {}
  for i, name in ipairs(opts.names(counters)) do
    list[i] = { name = name, queued = queued[name][1], queued_bytes = queued[name][2] }
    for key, n in pairs(counters[name]) do
      list[i][key] = n
    end
  end
  return list
end

return M
