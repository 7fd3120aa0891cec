--- Reads a projection's topics into its tables: the rows of many events and the positions behind
-- them are one transaction, so what a crash leaves is as if its last events had not been read yet.
--
-- While one unit of work is committed on the work pool, the handlers fill the next one. What fails
-- is read again in smaller and smaller units, until it is known which event it is: that one stops
-- the projection, or is left out and noted, as its definition says.
local failure = require "sipeat.failure"
local kafka = require "sipeat.kafka"
local records = require "sipeat.record"
local store = require "sipeat.projection_store"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local units = require "sipeat.projection_unit"

local M = {}

local TAKE = 1000 -- records that a reader hands over at once
local UNIT_BYTES = 16 * 1024 * 1024 -- of statements and values in a unit
local SEEN = 100000 -- streams whose sequence is remembered
local IDLE = "5s" -- so often a lease is renewed while nothing comes
local LOOK_MS = 10000 -- so often is looked whether a topic has more partitions

-- What says nothing about an event: the surroundings are to be waited for.
local SURROUNDINGS = {
  ECANCELED = true, ECLOSED = true, INTERRUPTED = true, PROJECTION_MOVED = true, SQL_BUSY = true,
  SQL_FULL = true, SQL_IO = true, SQL_READ_ONLY = true, SQL_CANNOT_OPEN = true,
  SQL_CORRUPT = true, SQL_LOST = true, SQL_POOL_TIMEOUT = true, SQL_TIMEOUT = true,
  SQL_CONFLICT = true,
}

local Run = {}
Run.__index = Run

-- From a statement of a handler to that of this build: {name} is a table.
local function texts_for(names)
  return setmetatable({}, {
    __index = function(texts, text)
      local made = text:gsub("{([%w_]+)}", function(name)
        return names[name] or error(("projection: {%s}: there is no such table"):format(name), 0)
      end)
      texts[text] = made
      return made
    end,
  })
end

--- A run of `def` into the tables of a build. `o`: db, build, role ("runner" or "builder"), me,
--- generation, committed (positions), told(run), which is called after each commit.
function M.new(def, o)
  return setmetatable({
    def = def, db = o.db, build = o.build, role = o.role, me = o.me, generation = o.generation,
    committed = o.committed, told = o.told, texts = texts_for(store.names(def, o.build)),
    size = def.batch, events = 0, seen = {}, seen_count = 0,
  }, Run)
end

-- --- commits ---

local function fail(run, unit, message, code)
  run.trouble = run.trouble or { unit = unit, message = message, code = code }
  return nil, message, code
end

local function commit(unit)
  local run = unit.run
  local ok, message, code = units.commit(unit)
  if not ok then
    return fail(run, unit, message, code)
  end
  for topic, partitions in pairs(unit.next) do
    local committed = run.committed[topic] or {}
    run.committed[topic] = committed
    for partition, next_offset in pairs(partitions) do
      committed[partition] = next_offset
    end
  end
  run.events = run.events + unit.events
  run.size = math.min(run.def.batch, run.size * 2)
  if run.told then
    run.told(run)
  end
  return true
end

--- Waits until the unit before is committed. nil, message, code once any of this pass was not:
--- nothing behind it may be.
function Run:settle()
  local pending = self.pending
  self.pending = nil
  if pending then
    local ok, message = pending.task:join()
    if not ok then
      fail(self, pending.unit, tostring(message), "INTERRUPTED")
    end
  end
  local trouble = self.trouble
  if trouble then
    return nil, trouble.message, trouble.code
  end
  return true
end

-- Has the unit committed, by a task of its own unless it has begun its transaction here.
local function flush(run)
  local unit = run.unit
  run.unit = units.new(run)
  if unit.tx then
    return commit(unit)
  end
  local ok, message, code = run:settle()
  if not ok then
    return nil, message, code
  end
  unit.settled = true
  run.pending = { task = task.spawn(commit, unit), unit = unit }
  return true
end

-- --- events ---

-- Where a record stands, for messages.
local function place(record)
  return ("%s[%d]@%d"):format(record.topic, record.partition, record.offset)
end

local function note(run, unit, record)
  local partitions = unit.next[record.topic]
  if not partitions then
    partitions = {}
    unit.next[record.topic] = partitions
  end
  unit.events, unit.record = unit.events + 1, record
  local expected = partitions[record.partition]
  if not expected then
    expected = (run.committed[record.topic] or {})[record.partition] or 0
  end
  if record.offset < expected then
    local why = "%s comes behind offset %d: was the topic made anew? "
      .. "(sipeat project rebuild --fresh reads it from its beginning)"
    error(failure.permanent(why:format(place(record), expected - 1), "PROJECTION_POSITION_LOST"), 0)
  end
  partitions[record.partition] = record.offset + 1
end

-- Has this event of a stream been applied already? Notes that it is now.
local function is_repeat(run, unit, event)
  local stream, sequence = event.key, math.tointeger(tonumber(event.attributes.sequence))
  if not stream or not sequence then
    return false
  end
  local last = run.seen[stream]
  if not last then
    local rows, message, code = unit:query(run.def.seen_query, stream)
    if not rows then
      error(failure.of(message, code), 0)
    elseif run.seen_count >= SEEN then
      run.seen, run.seen_count = {}, 0 -- all of a commit before are in the table: the query waited
      for other, at in pairs(unit.seen) do
        run.seen[other] = at
      end
    end
    last = rows[1] and rows[1].sequence or 0
    run.seen_count = run.seen_count + 1
  end
  run.seen[stream] = math.max(last, sequence)
  if sequence > last then
    unit.seen[stream] = sequence
  end
  return sequence <= last
end

local function apply(run, unit, record)
  local event, message, code = records.of(record)
  if not event then
    error(failure.permanent(message, code), 0)
  end
  local route = run.def.routes[event.type] or run.def.routes["*"]
  if not route or run.def.seen_sql and is_repeat(run, unit, event) then
    return
  end
  if route.definition then
    local ok
    ok, message, code = route.definition:accept(event)
    if not ok then
      error(failure.permanent(message, code), 0)
    end
  end
  local result
  result, message, code = route.handler(event, unit)
  if result == nil and message ~= nil then
    error(failure.of(message, code), 0)
  end
end

local function apply_all(run, list)
  for i = 1, #list do
    local unit, record = run.unit, list[i]
    note(run, unit, record)
    apply(run, unit, record)
    if unit.events >= run.size or unit.bytes >= UNIT_BYTES then
      local ok, message, code = flush(run)
      if not ok then
        error(failure.of(message, code), 0)
      end
    end
  end
end

-- --- reading ---

-- Sends what comes of a topic through the channel: lists of records, { ended = true } once all was
-- read for now, { idle = true } now and then, { message, code } in the end.
local function feed(run, topic, channel)
  local reader <close>, message, code = kafka.reader {
    topic = topic, offsets = run.committed[topic],
  }
  local ends = 0
  while reader do
    local item
    item, message, code = reader:take(TAKE, IDLE)
    if item then
      ends = 0
    elseif code == "END" then
      item, ends = { ended = topic }, ends + 1
    elseif code == "ETIMEDOUT" then
      item = { idle = true }
    else
      break
    end
    if not channel:send(item) or ends > 1 and not task.sleep "50ms" then
      return
    end
  end
  channel:send { message = message, code = code or "FAILED" }
end

-- Has a topic more partitions than it had?
local function has_grown(run)
  if sys.monotonic_ms() < run.look_at then
    return false
  end
  run.look_at = sys.monotonic_ms() + LOOK_MS
  for topic, count in pairs(run.partitions or {}) do
    local found = kafka.admin():describe_topic(topic)
    if found and #found.partitions > count then
      return true
    end
  end
  return false
end

-- What came: true to go on; or nil, message, code; "end" once all topics were read.
local function take(run, item, open)
  if item.code then
    return nil, item.message, item.code
  elseif item.ended then
    open[item.ended] = nil
  elseif item.idle then
    return commit(units.new(run)) -- the lease goes on
  else
    local ok, why = failure.catch(apply_all, run, item)
    if not ok then
      return fail(run, run.unit, why.message, why.code)
    end
  end
  return true
end

local function read(run, channel, open)
  while not run.stopped do
    local ok, item = channel:recv()
    local message, code
    if ok then
      ok, message, code = take(run, item, open)
    else
      message, code = item, "ECANCELED"
    end
    local at_end = run.until_end and next(open) == nil
    if ok and run.unit.events > 0 and (at_end or not run.until_end and channel:len() == 0) then
      ok, message, code = flush(run)
    end
    if not ok then
      return nil, message, code
    elseif at_end then
      return run:settle()
    elseif not run.until_end and has_grown(run) then
      return nil, "a topic has more partitions", "EAGAIN"
    end
  end
  return run:settle()
end

-- Reads from the committed positions on. Nothing of it goes on when it returns.
local function pass(run)
  local channel, feeders, open = task.channel(2), {}, {}
  run.unit, run.trouble, run.seen, run.seen_count = units.new(run), nil, {}, 0
  run.look_at = sys.monotonic_ms() + LOOK_MS
  run.channel = channel
  for i, topic in ipairs(run.def.topics) do
    open[topic] = true
    feeders[i] = task.spawn(function()
      local ok, why = failure.catch(feed, run, topic, channel)
      if not ok then
        channel:send { message = why.message, code = why.code }
      end
    end)
  end
  local ok, message, code = read(run, channel, open)
  channel:close()
  for _, feeder in ipairs(feeders) do
    feeder:kill()
    feeder:join()
  end
  units.give_up(run.unit)
  run:settle()
  return ok, message, code
end

-- The event that the projection cannot take: left out and noted; or nil, message, code.
local function refuse(run, record, trouble)
  local def = run.def
  if def.on_error ~= "skip" then
    local why = "projection %s stops at %s: %s"
    return nil, why:format(def.name, place(record), trouble.message), trouble.code
  end
  local unit = units.new(run)
  unit.events, unit.next[record.topic] = 1, { [record.partition] = record.offset + 1 }
  unit:exec(store.SKIPPED, def.name, run.build, record.topic, record.partition, record.offset,
    sys.now_ms(), trouble.code, trouble.message)
  def.log:error(("left out %s: %s"):format(place(record), trouble.message), { code = trouble.code })
  return commit(unit)
end

--- Reads until `stop` was called, or, with `until_end`, until everything was read. true; or nil,
--- message, code: what is committed stays, and the same run may read again.
function Run:read(until_end)
  self.until_end = until_end
  while true do
    local ok, message, code = pass(self)
    local trouble = self.trouble
    self.trouble = nil
    if ok and not trouble then
      return true
    elseif trouble and not SURROUNDINGS[trouble.code] then
      if trouble.unit.events <= 1 then
        ok, message, code = refuse(self, trouble.unit.record, trouble)
        if not ok then
          return nil, message, code
        end
      end
      self.size = math.max(1, trouble.unit.events // 8)
    elseif trouble then
      return nil, trouble.message, trouble.code
    elseif code ~= "EAGAIN" then
      return nil, message, code
    end
  end
end

--- Ends a read after what it is doing.
function Run:stop()
  self.stopped = true
  if self.channel then
    self.channel:close()
  end
end

--- What there is to read of each topic: { [topic] = { [partition] = { low, high } } }, and how many
--- records that are from the committed positions on. nil, message, code.
function Run:look()
  local spans, left = {}, 0
  self.partitions = {}
  for _, topic in ipairs(self.def.topics) do
    local found, message, code = kafka.admin():describe_topic(topic)
    if not found then
      return nil, message, code
    end
    local committed, list = self.committed[topic] or {}, {}
    for _, one in ipairs(found.partitions) do
      list[one.id] = { low = one.low, high = one.high }
      left = left + math.max(0, one.high - math.max(one.low, committed[one.id] or 0))
    end
    spans[topic], self.partitions[topic] = list, #found.partitions
  end
  return spans, left
end

return M
