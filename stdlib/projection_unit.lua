--- A unit of work of a projection: what its handlers write for some events, and how far these came;
-- all of it is one transaction. Handlers get it as `rows`.
--
-- Statements wait in a batch until the unit is committed, or until a handler asks for rows: then
-- they run first, in the unit's transaction.
local sql = require "sipeat.sql"
local store = require "sipeat.projection_store"
local sys = require "sipeat.core.sys"

local M = {}

local Rows = {}
Rows.__index = Rows

-- What stands for a batch with PostgreSQL: its statements go down a connection's pipeline.
local List = {}
List.__index = List

function List:add(text, ...)
  self.n, self.bytes = self.n + 1, self.bytes + #text
  self[self.n] = table.pack(text, ...)
  return self.bytes
end

function List:len()
  return self.n
end

local function batch_for(db)
  if db.system == "postgresql" then
    return setmetatable({ n = 0, bytes = 0 }, List)
  end
  return sql.batch()
end

--- A unit of that run. It has `events`, how many it is for, `record`, the last of them, `bytes` of
--- statements, `next` ({ [topic] = { [partition] = offset } }), `seen` ({ [stream] = sequence })
--- and `settled` once no other unit is before it.
function M.new(run)
  return setmetatable({
    run = run, texts = run.texts, batch = batch_for(run.db), events = 0, bytes = 0,
    next = {}, seen = {},
  }, Rows)
end

-- Begins its transaction, once the unit before it is committed.
local function begin(unit)
  if unit.tx then
    return true
  end
  local ok, message, code = true, nil, nil
  if not unit.settled then
    ok, message, code = unit.run:settle()
  end
  if ok then
    ok, message, code = unit.run.db.handle:begin "BEGIN"
  end
  if not ok then
    return nil, message, code
  end
  unit.tx = ok
  return true
end

-- Runs what waits, in its transaction.
local function drain(unit)
  local ok, message, code = begin(unit)
  if ok and unit.batch:len() > 0 then
    ok, message, code = unit.tx:run("batch", unit.batch)
    if ok and getmetatable(unit.batch) == List then
      unit.batch = batch_for(unit.run.db)
    end
    unit.bytes = 0
  end
  if not ok then
    return nil, message, code
  end
  return true
end

--- Writes: the statement runs with those around it. `{name}` in it is the table of that name.
function Rows:exec(text, ...)
  local bytes, message, code = self.batch:add(self.texts[text], ...)
  if bytes then
    self.bytes = bytes
    return true
  elseif code ~= "TOO_BIG" then
    return nil, message, code
  end
  local ok
  ok, message, code = drain(self)
  if not ok then
    return nil, message, code
  end
  return self:exec(text, ...)
end

--- Rows as they are behind everything that was written before.
function Rows:query(text, ...)
  local ok, message, code = drain(self)
  if not ok then
    return nil, message, code
  end
  local rows
  rows, message, code = self.tx:run("statement", self.texts[text], ...)
  if not rows then
    return nil, message, code
  end
  return rows
end

--- Undoes what was not committed.
function M.give_up(unit)
  if unit.tx then
    unit.tx:close()
    unit.tx = nil
  end
end

-- Says in its transaction that the lease goes on. "PROJECTION_MOVED" when it has gone, or the
-- tables have been swapped.
local function renew(unit)
  local run, till = unit.run, sys.now_ms() + store.LEASE_MS
  local rows, changes, code
  if run.role == "builder" then
    rows, changes, code = unit.tx:run("statement", store.RENEW.builder, till, unit.events,
      run.def.name, run.me, run.generation)
  else
    rows, changes, code = unit.tx:run("statement", store.RENEW.runner, till, run.def.name, run.me,
      run.generation)
  end
  if not rows then
    return nil, changes, code
  elseif changes ~= 1 then
    local why = "projection %s: its tables, or the right to write them, have gone elsewhere"
    return nil, why:format(run.def.name), "PROJECTION_MOVED"
  end
  return true
end

--- Puts the positions behind the rows and commits. true, or nil, message, code: nothing was
--- written.
function M.commit(unit)
  local run, def = unit.run, unit.run.def
  for topic, partitions in pairs(unit.next) do
    for partition, next_offset in pairs(partitions) do
      unit:exec(store.POSITION, def.name, run.build, topic, partition, next_offset)
    end
  end
  for stream, sequence in pairs(unit.seen) do
    unit:exec(def.seen_sql, stream, sequence)
  end
  local ok, message, code = drain(unit)
  if ok then
    ok, message, code = renew(unit)
  end
  if ok then
    ok, message, code = unit.tx:commit()
  end
  M.give_up(unit)
  if not ok then
    return nil, message, code
  end
  return true
end

return M
