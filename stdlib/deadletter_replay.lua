--- Replaying dead letters: back to where they came from, each one once.
local ledgers = require "sipeat.deadletter_ledger"
local letters = require "sipeat.deadletter_letter"
local list = require "sipeat.deadletter_list"
local kafka = require "sipeat.kafka"
local opts = require "sipeat.opts"
local park = require "sipeat.deadletter_park"
local rate_limit = require "sipeat.rate_limit"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local BATCH, BATCH_BYTES = 100, 4 << 20
local PARKED = "parked"

local REPLAY = opts.spec("sipeat.deadletter.replay", {
  topic = { "string" },
  parked = { "boolean", default = false },
  directory = { "string" },
  reason = { "string" },
  type = { "string" },
  group = { "string" },
  since = { "integer" },
  max = { "integer", min = 1 },
  rate = { "string" },
  limit = { "integer", default = 3, min = 1 },
  again = { "boolean", default = false },
  dry_run = { "boolean", default = false },
  on_letter = { "function" },
  on_progress = { "function" },
  partition = { "integer", min = 0 }, -- with offset: only the letter at that place
  offset = { "integer", min = 0 },
  change = { "function" }, -- record -> the record to send in its place
})

local function tell(self, one, outcome, why, report)
  self.counts[outcome] = self.counts[outcome] + 1
  if self.o.on_letter then
    self.o.on_letter(one, outcome, why, report)
  end
end

local function progress(self)
  if self.o.on_progress then
    self.o.on_progress(self.counts)
  end
end

-- Sends the batch and marks what arrived. true, or nil, message, code.
local function flush(self)
  local batch = self.batch
  if #batch == 0 then
    return true
  end
  self.batch, self.bytes = {}, 0
  local records, replayed = {}, {}
  for i, item in ipairs(batch) do
    records[i] = item.record
  end
  local results, message, code = kafka.producer():send_many(records)
  if not results then
    return nil, message, code
  end
  for i, item in ipairs(batch) do
    local result = results[i]
    if result.message then
      tell(self, item.letter, "failed", result.message)
    else
      replayed[#replayed + 1] = {
        id = item.letter.id, topic = item.record.topic, partition = result.partition,
        offset = result.offset,
      }
      tell(self, item.letter, "replayed", nil, result)
    end
  end
  local ok
  ok, message, code = self.ledger:mark(replayed)
  for i, item in ipairs(ok and self.o.parked and batch or {}) do
    if not results[i].message then
      ok, message, code = park.mark(item.letter.record, self.o.directory)
    end
  end
  progress(self)
  return ok, message, code
end

-- Waits until the rate allows one more.
local function pace(self)
  if not self.per_ms then
    return true
  end
  local due = self.began_ms + self.taken / self.per_ms
  local wait_ms = math.ceil(due - sys.monotonic_ms())
  if wait_ms < 1 then
    return true
  end
  local ok, message, code = flush(self)
  if ok then
    ok, message, code = task.sleep(wait_ms .. "ms")
  end
  return ok, message, code
end

local function add(self, one, record)
  local ok, message, code = pace(self)
  if not ok then
    return nil, message, code
  end
  local partitions
  partitions, message, code = self.ledger:target(record.topic)
  if not partitions and code == "ECANCELED" then
    return nil, message, code
  elseif not partitions then
    tell(self, one, "failed", message)
    return true
  elseif (record.partition or -1) >= partitions then
    record.partition = nil -- its key decides
  end
  self.taken = self.taken + 1
  self.batch[#self.batch + 1] = { letter = one, record = record }
  self.bytes = self.bytes + #(record.value or "")
  if #self.batch >= BATCH or self.bytes >= BATCH_BYTES then
    return flush(self)
  end
  return true
end

-- One letter that fits: replayed, left out or refused. false when there are enough.
local function visit(self, one)
  local o = self.o
  if self.ledger.done[one.id] and not o.again then
    tell(self, one, "skipped")
    return true
  end
  local record, count = letters.replay(one)
  if not record and count.kind == "cancelled" then
    return nil, count.message, count.code
  elseif not record then
    tell(self, one, "failed", count.message)
    return true
  elseif count >= o.limit then
    tell(self, one, "refused", ("it was replayed %d times already"):format(count))
    return true
  end
  record = o.change and o.change(record) or record
  local ok, message, code = true, nil, nil
  if o.dry_run then
    self.taken = self.taken + 1
    tell(self, one, "replayed", nil, record)
  else
    ok, message, code = add(self, one, record)
  end
  if ok and self.taken >= (o.max or math.maxinteger) then
    return false
  end
  return ok, message, code
end

local function run(self)
  local o = self.o
  local ok, message, code = true, nil, nil
  if not o.dry_run then
    ok, message, code = self.ledger:begin()
  end
  if ok then
    ok, message, code = list.each(o, function(one, number, total)
      self.counts.seen, self.counts.total = number, total
      return visit(self, one)
    end)
  end
  if ok ~= nil then
    ok, message, code = flush(self)
  end
  if ok and not o.dry_run then
    ok, message, code = self.ledger:finish()
  end
  progress(self)
  return ok, message, code
end

--- Replays the letters that fit. { replayed, skipped, refused, failed, seen, total }; or nil,
--- message, code and what was done until then. on_letter(letter, outcome, why, report) is told of
--- each (report: where it went, or in a dry run the record), on_progress(counts) from time to time.
return function(options, level)
  local o = REPLAY(options, (level or 2) + 1)
  if not o.topic and not o.parked then
    error("sipeat.deadletter.replay: a dead-letter topic is needed, or parked = true", level or 2)
  end
  local per_ms, message, code
  if o.rate then
    per_ms, message = rate_limit.per_ms(o.rate)
    if not per_ms then
      error("sipeat.deadletter.replay: option " .. message, level or 2)
    end
  end
  local self = {
    o = o, per_ms = per_ms, batch = {}, bytes = 0, taken = 0, began_ms = sys.monotonic_ms(),
    counts = { replayed = 0, skipped = 0, refused = 0, failed = 0, seen = 0, total = 0 },
  }
  self.ledger, message, code = ledgers.read(o.parked and PARKED or o.topic)
  if not self.ledger then
    return nil, message, code, self.counts
  end
  local ok
  ok, message, code = run(self)
  if not ok then
    return nil, message, code, self.counts
  end
  return self.counts
end
