--- The ledger of sipeat.vending: which board was ordered to move for which approval, what its
--- counters said before, and what came of it.
--
-- In a file a row is durable before the order leaves, so that a process that comes after a crash
-- finds it, and compares the counters. In memory (without a path) it is as short-lived as they
-- are. An order: { approval, machine, slot, board, before, state, outcome?, at_ms }; states:
-- ordered, done, refused, unknown. Failures are nil and a failure.
local failure = require "sipeat.failure"
local plain = require "sipeat.plain"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local REMEMBERED = 10000 -- settled approvals kept in memory
local SHOWN = 50 -- of the last orders
local KEPT_MS = 90 * 24 * 60 * 60 * 1000 -- and in a file

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS vending_ledger (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vending_orders (
  machine TEXT NOT NULL,
  approval TEXT NOT NULL,
  slot TEXT NOT NULL,              -- JSON
  board TEXT NOT NULL,             -- who the board said it is
  before TEXT NOT NULL,            -- its counters before the order, JSON
  state TEXT NOT NULL CHECK (state IN ('ordered', 'done', 'refused', 'unknown')),
  outcome TEXT,                    -- JSON
  told INTEGER NOT NULL DEFAULT 0, -- its sale was published
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (machine, approval)
);
CREATE INDEX IF NOT EXISTS vending_orders_open ON vending_orders (machine)
  WHERE state = 'ordered';
CREATE INDEX IF NOT EXISTS vending_orders_untold ON vending_orders (at_ms)
  WHERE state = 'done' AND told = 0;
]]

-- --- in memory ---

local Memory = {}
Memory.__index = Memory

function M.memory()
  return setmetatable({ orders = {}, settled = {} }, Memory)
end

function Memory:here()
  return nil, failure.transient("vending: the ledger is in memory: it has no name", "NO_LEDGER")
end

local function name_of(machine, approval)
  return #machine .. ":" .. machine .. approval
end

function Memory:get(machine, approval)
  return self.orders[name_of(machine, approval)] or false
end

function Memory:add(order)
  self.orders[name_of(order.machine, order.approval)] = order
  return true
end

function Memory:forget(order)
  self.orders[name_of(order.machine, order.approval)] = nil
  return true
end

function Memory:settle(order)
  local settled = self.settled
  settled[#settled + 1] = name_of(order.machine, order.approval)
  if #settled > 2 * REMEMBERED then -- at once for many, so that it costs little for each
    for i = 1, REMEMBERED do
      self.orders[settled[i]] = nil
    end
    self.settled = table.move(settled, REMEMBERED + 1, #settled, 1, {})
  end
  return true
end

function Memory:open_orders(machine)
  local list = {}
  for _, order in pairs(self.orders) do
    if order.state == "ordered" and order.machine == machine then
      list[#list + 1] = order
    end
  end
  return list
end

function Memory:last_orders(machine)
  local list = {}
  for _, order in pairs(self.orders) do
    if order.machine == machine then
      list[#list + 1] = order
    end
  end
  table.sort(list, function(a, b)
    return a.at_ms > b.at_ms
  end)
  return table.move(list, 1, math.min(#list, SHOWN), 1, {})
end

function Memory:untold()
  return {}
end

function Memory:told()
  return true
end

-- --- in a file ---

local File = {}
File.__index = File

--- The ledger in the SQLite file at that path, opened when it is first needed.
function M.file(path)
  return setmetatable({ path = path, opening = task.semaphore(1) }, File)
end

local function prepare(db)
  local ok, message, code = db:script(SCHEMA)
  if not ok then
    return nil, message, code
  end
  return db:transaction(function(tx)
    local rows, why, reason = tx:query "SELECT id FROM vending_ledger"
    if not rows then
      return nil, why, reason
    elseif rows[1] then
      return rows[1].id
    end
    local id = sys.uuid()
    local added
    added, why, reason = tx:exec("INSERT INTO vending_ledger VALUES (?)", id)
    if not added then
      return nil, why, reason
    end
    return id
  end)
end

local function open(self)
  if self.db then
    return self.db
  end
  local db, message, code = sql.open(self.path)
  if not db then
    return nil, message, code
  end
  local id
  id, message, code = prepare(db)
  if id then
    local past = sys.now_ms() - KEPT_MS
    id = db:exec("DELETE FROM vending_orders WHERE state <> 'ordered' AND at_ms < ?", past) and id
  end
  if not id then
    db:close()
    return nil, message, code
  end
  self.db, self.id = db, id
  return db
end

-- A statement's rows ("query") or how many it changed ("exec").
local function run(self, method, text, ...)
  local db, message, code = self.opening:with(open, self)
  local result
  if db then
    result, message, code = db[method](db, text, ...)
  end
  if result == nil then
    return nil, failure.transient(("vending: the ledger %s: %s"):format(self.path, message), code)
  end
  return result
end

local function order_of(row)
  row.slot, row.before = plain.unpack(row.slot), plain.unpack(row.before) or {}
  row.outcome = row.outcome and plain.unpack(row.outcome)
  return row
end

local function list_of(rows, why)
  for i = 1, rows and #rows or 0 do
    rows[i] = order_of(rows[i])
  end
  return rows, why
end

--- What tells this ledger from others: whoever has it, and no row here, was never ordered.
function File:here()
  local rows, why = run(self, "query", "SELECT id FROM vending_ledger")
  return rows and self.id, why
end

function File:get(machine, approval)
  local rows, why = run(self, "query",
    "SELECT * FROM vending_orders WHERE machine = ? AND approval = ?", machine, approval)
  if not rows then
    return nil, why
  end
  return rows[1] and order_of(rows[1]) or false
end

function File:add(order)
  return run(self, "exec",
    "INSERT INTO vending_orders (machine, approval, slot, board, before, state, at_ms) "
      .. "VALUES (?, ?, ?, ?, ?, ?, ?)",
    order.machine, order.approval, plain.pack(order.slot), order.board, plain.pack(order.before),
    order.state, order.at_ms)
end

function File:forget(order)
  return run(self, "exec", "DELETE FROM vending_orders WHERE machine = ? AND approval = ?",
    order.machine, order.approval)
end

function File:settle(order)
  return run(self, "exec",
    "UPDATE vending_orders SET state = ?, outcome = ? WHERE machine = ? AND approval = ?",
    order.state, (plain.reduce(order.outcome)), order.machine, order.approval)
end

function File:open_orders(machine)
  return list_of(run(self, "query",
    "SELECT * FROM vending_orders WHERE machine = ? AND state = 'ordered'", machine))
end

--- The last orders of a machine, the newest first.
function File:last_orders(machine)
  return list_of(run(self, "query", "SELECT * FROM vending_orders WHERE machine = ? "
    .. "ORDER BY at_ms DESC LIMIT ?", machine, SHOWN))
end

--- Sales that were not published yet, the oldest first.
function File:untold()
  return list_of(run(self, "query", "SELECT * FROM vending_orders "
    .. "WHERE state = 'done' AND told = 0 ORDER BY at_ms LIMIT 1000"))
end

function File:told(order)
  return run(self, "exec", "UPDATE vending_orders SET told = 1 WHERE machine = ? AND approval = ?",
    order.machine, order.approval)
end

return M
