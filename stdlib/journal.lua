--- The journal: what an event's handler has done to the world, durable before and after.
--
-- A run is one event on its way. What patterns keep in ctx.memory is written here as records, each
-- under its place in that memory; read back in order, the last one of each place wins,
-- and the memory is as it was. So a restart goes on as a further attempt does.
local core = require "sipeat.core.journal"
local core_task = require "sipeat.core.task"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local place = require "sipeat.place"
local plain = require "sipeat.plain"
local sys = require "sipeat.core.sys"

local M = {}

M.ACTIVE, M.SLEEPING, M.WAITING, M.HELD, M.PARKED = 1, 2, 3, 4, 5
M.DONE, M.DEAD, M.ABANDONED, M.COMPLETED = 10, 11, 12, 13

local PHASES = {
  intent = 1, outcome = 2, undo_intent = 3, undo_outcome = 4, sleep = 5, wait = 6, signal = 7,
  state = 8,
}
local EPOCH_2020_MS = 1577836800000

--- Is there a journal?
M.is_open = core.open

--- The script that loads has something to keep: a journal is opened for it.
M.want = core.want

--- Where statements go. A simulation puts a store in memory in its place.
M.write = core.write

-- --- ids ---

local last_ms, counter = 0, 0

-- Ascending, and different in each opening of the journal: 41 bits of time, 8 of the epoch, 14 of a
-- counter.
local function new_id(epoch)
  local ms = math.max(sys.now_ms(), last_ms)
  if ms == last_ms then
    counter = counter + 1
    if counter == 1 << 14 then
      ms, counter = ms + 1, 0
    end
  else
    counter = 0
  end
  last_ms = ms
  return (ms - EPOCH_2020_MS) << 22 | (epoch & 0xff) << 14 | counter
end

-- --- runs ---

local Run = {}
Run.__index = Run

-- A write was not made. When the journal is full for a moment it may be tried again; when the task
-- was stopped, or there was no memory for the answer, it may have been made. Otherwise the journal
-- has failed, and this run with it.
local function failed(self, message, code)
  local kind = code == "ECANCELED" and "cancelled" or "transient"
  local why = failure.new("journal: " .. tostring(message), code or "JOURNAL_FAILED", kind)
  if code ~= "ECANCELED" and code ~= "QUEUE_FULL" and code ~= "ENOMEM" then
    why.kind, self.refused, self.ready = "cancelled", why, nil
  end
  return nil, why
end

local function blob(bytes)
  return bytes and core.blob(bytes)
end

-- The statements that make the event the journal's.
local function adding(self, at)
  local e, record = self.event, self.record
  return {
    "run_add", self.id, self.epoch, M.ACTIVE, 0, at, self.flow, self.cluster, record.topic,
    record.partition, record.offset, e.id, e.type or "", blob(record.key), core.blob(self.script),
    core.blob(M.pack_record(record)), n = 16,
  }
end

local function body_of(value)
  return failure.encode(value) or (plain.reduce(failure.to_plain(value)))
end

local function record(self, at, phase, where, body)
  return { "record_add", self.id, self.epoch, self.seq, at, PHASES[phase], where, body }
end

-- Nothing that this run says is taken from now on.
local function refuse(self, message, code, kind)
  self.refused, self.ready = failure.new(message, code, kind), nil
  return nil, self.refused
end

-- May what it says be written at once, as it comes? Then the core does that by itself.
local function settle(self)
  self.ready = self.added and not self.refused and not self.beginning and not self.pending[1]
    and M.write == core.write or nil
end

-- Calls f(self, statements, …) with what waits and one statement more. When f raises, for want of
-- memory, nothing of that was written, and what waited waits again.
local function with_pending(self, statement, f, ...)
  local fresh, statements = {}, self.pending
  local count = #statements
  statements[count + 1] = statement
  self.pending, self.ready = fresh, nil
  local fine, first, second = pcall(f, self, statements, ...)
  if not fine then
    statements[count + 1] = nil
    self.pending = table.move(fresh, 1, #fresh, count + 1, statements)
    error(first, 0)
  end
  settle(self)
  return first, second
end

local function has_zero(first, ...)
  return first == 0 or first ~= nil and has_zero(...)
end

local function sent(self, first, ...)
  if first == nil then
    return failed(self, ...)
  elseif has_zero(first, ...) then
    return refuse(self, "the run belongs to another host now", "JOURNAL_FENCED", "cancelled")
  end
  return true
end

local function send(self, statements)
  return sent(self, M.write(table.unpack(statements)))
end

-- Writes what waits and, behind it, one statement more. The first write is one for all tasks of the
-- run: until it has its answer, the others wait.
function Run:write(statement, at)
  while self.beginning do
    local signal = self.began or core_task.signal()
    self.began = signal
    local ok, message, code = signal:wait()
    if not ok then
      return failed(self, message, code)
    end
  end
  if self.refused then
    return nil, self.refused
  end
  return with_pending(self, statement, self.added and send or self.begin, at)
end

-- What the first write found: is the event this run's? A first write that was stopped may have been
-- made, and then this is the second one.
local function accept(self, at, found, added, code)
  if found == nil then
    return failed(self, added, code)
  end
  local mine = added == 1
  for _, row in ipairs(found) do
    mine = mine or row[1] == self.id
  end
  if not mine then
    return refuse(self, "accepted before, at the same place", "DUPLICATE", "permanent")
  end
  self.added = true
  for _, row in ipairs(found) do
    if row[1] ~= self.id then
      local why = ("a duplicate of run %d"):format(row[1])
      M.write { "run_state", self.id, self.epoch, M.DONE, 0, at, why, n = 7 }
      return refuse(self, "accepted before, under the same id", "DUPLICATE", "permanent")
    end
  end
  return true
end

local kept -- sipeat.versions_kept, which needs this module

local function first_write(self, statements, at)
  kept = kept or require "sipeat.versions_kept"
  local ok, message, code = kept.keep(self.script)
  if not ok then
    return failed(self, message, code)
  end
  local known = { "run_of_event", self.flow, self.event.id, at - M.window_ms }
  return accept(self, at, M.write(known, adding(self, at), table.unpack(statements)))
end

-- The same of one record, without statements that somebody else could look at.
local function first_record(self, phase, where, body)
  kept = kept or require "sipeat.versions_kept"
  local ok, message, code = kept.keep(self.script)
  if not ok then
    return failed(self, message, code)
  end
  local at = sys.now_ms()
  return accept(self, at, core.add(
    self, at - M.window_ms, at, M.pack_record(self.record), self.seq, PHASES[phase], where, body
  ))
end

-- The first write, as f(self, …) makes it: the event is accepted, unless it was before.
local function begin(self, f, ...)
  self.beginning = true
  local fine, ok, why = pcall(f, self, ...)
  local signal = self.began -- somebody waits
  self.beginning, self.began = nil, nil
  if signal then
    signal:wake()
  end
  if not fine then
    error(ok, 0)
  elseif ok and self.on_accepted then
    self.on_accepted()
  end
  return ok, why
end

function Run:begin(statements, at)
  return begin(self, first_write, statements, at)
end

local REFUSALS = {
  SQL_EXPECTED = true, SQL_UNIQUE = true, SQL_CHECK = true, SQL_NOT_NULL = true,
  SQL_FOREIGN_KEY = true, SQL_CONSTRAINT = true, SQL_REFUSED = true,
}

-- {"SQL", value…, n =, expect =} as the core has it.
local function of_script(statement)
  local n = statement.n or #statement
  local out = table.pack(table.unpack(statement, 2, n))
  out.sql, out.expect = statement[1], statement.expect
  for i = 1, out.n do
    if type(out[i]) == "table" then
      out[i] = core.blob(out[i][1]) -- sql.blob
    elseif out[i] == json.null then
      out[i] = nil
    end
  end
  return out
end

local function send_group(self, statements)
  local results = table.pack(M.write(table.unpack(statements)))
  if results[1] == nil then
    return failed(self, results[2], results[3])
  end
  local given = results[results.n]
  if given.code == "JOURNAL_FENCED" then
    return refuse(self, "the run belongs to another host now", "JOURNAL_FENCED", "cancelled")
  elseif given.failed then
    local kind = REFUSALS[given.code] and "permanent" or "transient"
    return nil, failure.new(given.message, given.code, kind)
  end
  given[#given] = nil -- of the record
  return given
end

--- Runs a script's statements and makes a value durable with them, all or nothing: a list of what
--- they gave, or nil and a failure. The event is the journal's by then.
function Run:transact(list, phase, where, value)
  if self.refused then
    return nil, self.refused
  elseif not self.added then
    return failed(self, "a step announces itself before its transaction", "JOURNAL_FAILED")
  end
  local group = {}
  for i, statement in ipairs(list) do
    group[i] = of_script(statement)
  end
  self.seq = self.seq + 1
  local last = record(self, sys.now_ms(), phase, where, body_of(value))
  last.expect = 1
  group[#group + 1] = last
  return with_pending(self, { group = group }, send_group)
end

-- Was nothing said of it yet?
local function is_fresh(self)
  return not self.added and not self.refused and not self.beginning and not self.pending[1]
    and M.write == core.write
end

local function keep_first(self, phase, where, body)
  self.seq = self.seq + 1
  local ok, why = begin(self, first_record, phase, where, body)
  settle(self)
  return ok, why
end

-- keep, in every case.
local function keep(self, phase, where, value, later)
  if self.refused then
    return nil, self.refused
  end
  local body = body_of(value)
  if not later and is_fresh(self) then
    return keep_first(self, phase, where, body)
  end
  local at = sys.now_ms()
  self.seq = self.seq + 1
  local statement = record(self, at, phase, where, body)
  if later then
    self.pending[#self.pending + 1] = statement
    self.ready = nil
    return true
  end
  return self:write(statement, at)
end

--- As keep, of a value whose JSON is `body`.
function Run:keep_text(phase, where, value, body)
  if is_fresh(self) then
    return keep_first(self, phase, where, body)
  end
  return self:keep(phase, where, value)
end

--- run:keep(phase, where, value, later) makes a value of the event's memory durable. true; or nil
--- and a failure: then nothing may happen that counts on it. `later`: it need not be durable before
--- what follows, only before what follows that is. run:ends(state) is finish without a wait:
--- true when it is said.
Run.keep, Run.ends = core.keeper(keep, sent, PHASES, failure.encode)

--- What an answer of the journal to a record means: true, or nil and a failure.
Run.sent = sent

--- The run is in that state from now on, with a text and, for what waits, when it is due. Makes
--- the event the journal's if it is not yet.
function Run:leave(state, why, due_ms)
  local at = sys.now_ms()
  return self:write({
    "run_state", self.id, self.epoch, state, due_ms or 0, at, why, n = 7,
  }, at)
end

--- As leave, for what has ended: nothing is written of an event that had nothing to keep.
function Run:finish(state, why)
  if not self.added then
    return true
  end
  return self:leave(state, why)
end

M.window_ms = 7 * 24 * 3600 * 1000

--- A run that has not begun: nothing is written before its first record. What it is given (epoch,
--- flow, cluster, script, record, event, on_accepted?) becomes the run.
function M.run(run)
  run.id, run.seq, run.pending, run.added = new_id(run.epoch), 0, {}, false
  return setmetatable(run, Run)
end

--- A run that was begun before: its row, and the number of its last record.
function M.adopt(row, seq)
  local run = setmetatable({
    id = row[1], epoch = row[2], flow = row[6], event = { id = row[11], type = row[12] },
    seq = seq, pending = {}, added = true,
  }, Run)
  settle(run)
  return run
end

-- --- reading back ---

-- A record as bytes: what a flow needs to handle it again.
function M.pack_record(r)
  if r.value and not r.headers[1] then
    return (">I1i8i8s4I1s4I4"):pack(1, r.timestamp or -1, r.offset, r.timestamp_type or "", 1,
      r.value, 0)
  end
  local parts = { (">I1i8i8s4"):pack(1, r.timestamp or -1, r.offset, r.timestamp_type or "") }
  local function add(bytes)
    parts[#parts + 1] = bytes and (">I1s4"):pack(1, bytes) or "\0"
  end
  add(r.value)
  parts[#parts + 1] = (">I4"):pack(#r.headers)
  for _, header in ipairs(r.headers) do
    parts[#parts + 1] = (">s4"):pack(header[1])
    add(header[2])
  end
  return table.concat(parts)
end

function M.unpack_record(bytes)
  local version, timestamp, offset, kind, at = (">I1i8i8s4"):unpack(bytes)
  if version ~= 1 then
    return nil, ("a record of version %d"):format(version)
  end
  local function take()
    local is_there, value
    is_there, at = (">I1"):unpack(bytes, at)
    if is_there == 1 then
      value, at = (">s4"):unpack(bytes, at)
    end
    return value
  end
  local out = { timestamp = timestamp, offset = offset, headers = {} }
  out.timestamp_type = kind ~= "" and kind or nil
  out.value = take()
  local count
  count, at = (">I4"):unpack(bytes, at)
  for i = 1, count do
    local name
    name, at = (">s4"):unpack(bytes, at)
    out.headers[i] = { name, take() }
  end
  return out
end

--- The memory of a run as its records say, and the number of the last one; or nil, message, code.
function M.memory(id)
  local rows, message, code = M.write { "records", id, n = 2 }
  if not rows then
    return nil, message, code
  end
  local memory, seq = {}, 0
  for _, row in ipairs(rows) do
    local value = row[5] and json.decode(row[5])
    if value == json.null then
      value = nil
    end
    place.put(memory, row[4], failure.from_plain(value))
    seq = row[1]
  end
  return memory, seq
end

return M
