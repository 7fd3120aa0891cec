--- Invoices and customers in SQLite or PostgreSQL. Each change and its event are one transaction.
local relay = require "sipeat.relay"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local events = require "app.events"
local settings = require "app.settings"

local M = {}

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS customers (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS invoices (
  id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers (id),
  amount BIGINT NOT NULL CHECK (amount > 0), status TEXT NOT NULL, changed_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS processed (
  event_id TEXT PRIMARY KEY, action TEXT NOT NULL, invoice_id TEXT NOT NULL,
  amount BIGINT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS follow_ups (
  event_id TEXT PRIMARY KEY, invoice_id TEXT NOT NULL, task TEXT NOT NULL, due TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounting (
  event_id TEXT PRIMARY KEY, invoice_id TEXT NOT NULL, kind TEXT NOT NULL, amount BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS audit_log (
  event_id TEXT PRIMARY KEY, at TEXT NOT NULL, text TEXT NOT NULL);
INSERT INTO customers VALUES ('customer-1', 'Ada Lovelace', 'ada@example.com'),
  ('customer-2', 'Alan Turing', 'alan@example.com'), ('customer-3', 'Grace Hopper',
  'grace@example.com') ON CONFLICT (id) DO NOTHING;
]]

local db, outbox

--- Opens the database and makes its tables; what waits in the outbox begins to leave.
function M.open()
  db = assert(sql.open(settings.database))
  assert(db:script(SCHEMA))
  outbox = relay.new { db = db, every = "500ms" }
  assert(outbox:start())
end

function M.query(statement, ...)
  return db:query(statement, ...)
end

--- Puts a row where its event has none yet. How many were put: 0 or 1.
function M.note(statement, ...)
  return db:exec(statement .. " ON CONFLICT (event_id) DO NOTHING", ...)
end

--- The first row, false when there is none; or nil, message, code.
local function first(rows, message, code)
  if not rows then
    return nil, message, code
  end
  return rows[1] or false
end

function M.find(id)
  return first(db:query([[SELECT i.*, c.name FROM invoices i JOIN customers c
    ON c.id = i.customer_id WHERE i.id = ?]], id))
end

function M.list(limit)
  return db:query([[SELECT i.*, c.name FROM invoices i JOIN customers c ON c.id = i.customer_id
    ORDER BY i.changed_at DESC, i.id LIMIT ?]], limit)
end

function M.customers()
  return db:query "SELECT * FROM customers ORDER BY name"
end

function M.customer(id)
  return first(db:query("SELECT * FROM customers WHERE id = ?", id))
end

--- How many invoices were created, and for how much, as the processor has counted.
function M.totals()
  return first(db:query [[SELECT count(*) AS invoices, CAST(coalesce(sum(amount), 0) AS BIGINT)
    AS amount FROM processed WHERE action = 'created'
    AND invoice_id NOT IN (SELECT invoice_id FROM processed WHERE action = 'deleted')]])
end

local function publish(tx, action, row, at)
  return outbox:add(tx, events.by_action[action], {
    action = action, invoiceId = row.id, customerId = row.customer_id, amount = row.amount,
    status = row.status, timestamp = at,
  }, { topic = settings.topic })
end

-- Runs f(tx, at), which gives the row that changed, false, or nil and why not; and publishes. The
-- row comes first, so that of two changes of one invoice the events stand in the same order.
local function change(action, f)
  local at = sys.iso_time()
  local row, message, code = db:transaction(function(tx)
    local row, message, code = f(tx, at)
    if not row then
      return row, message, code
    end
    local id
    id, message, code = publish(tx, action, row, at)
    if not id then
      return nil, message, code
    end
    return row
  end, { retries = 5 })
  if row then
    outbox:wake() -- nobody waits for it
  end
  return row, message, code
end

--- A new invoice; `id` is that of a form or an Idempotency-Key, and the same one makes one invoice.
--- Its row; or nil, message, code.
function M.create(id, invoice)
  local row, message, code = change("created", function(tx, at)
    local made, message, code = tx:exec("INSERT INTO invoices VALUES (?, ?, ?, ?, ?)", id,
      invoice.customerId, invoice.amount.amount_minor, invoice.status, at)
    if not made then
      return nil, message, code
    end
    return {
      id = id, customer_id = invoice.customerId, amount = invoice.amount.amount_minor,
      status = invoice.status,
    }
  end)
  if code == "SQL_UNIQUE" then
    return M.find(id)
  end
  return row, message, code
end

--- The row as it is then, false when there is none; or nil, message, code.
function M.update(id, invoice)
  return change("updated", function(tx, at)
    local changed, message, code = tx:exec([[UPDATE invoices SET customer_id = ?, amount = ?,
      status = ?, changed_at = ? WHERE id = ?]], invoice.customerId, invoice.amount.amount_minor,
      invoice.status, at, id)
    if not changed then
      return nil, message, code
    end
    return changed == 1 and {
      id = id, customer_id = invoice.customerId, amount = invoice.amount.amount_minor,
      status = invoice.status,
    }
  end)
end

--- The row as it was, false when there is none; or nil, message, code.
function M.delete(id)
  return change("deleted", function(tx)
    local row, message, code = first(tx:query("SELECT * FROM invoices WHERE id = ?", id))
    if not row then
      return row, message, code
    end
    local deleted
    deleted, message, code = tx:exec("DELETE FROM invoices WHERE id = ?", id)
    if not deleted then
      return nil, message, code
    end
    return deleted == 1 and row -- somebody else was faster
  end)
end

return M
