--- The store in a SQLite file. The interface is described in flows.store.
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local schema = require "flows.store.schema"
local tables = require "flows.store.tables"

local M = {}

local Store = {}
Store.__index = Store

-- nil and the failure of a statement.
local function fail(message, code)
  local kind = sql.is_constraint(code) and "permanent" or nil
  return nil, failure.new(message, code, kind)
end

-- "a = ? AND b = ?" and the values.
local function where(filters)
  local parts, values = {}, {}
  for _, name in ipairs(opts.names(filters)) do
    parts[#parts + 1] = name .. " = ?"
    values[#values + 1] = filters[name]
  end
  return table.concat(parts, " AND "), values
end

local function write(db, name, row)
  local columns, marks, values, sets = opts.names(row), {}, {}, {}
  for i, column in ipairs(columns) do
    marks[i], values[i] = "?", row[column]
    sets[i] = ("%s = excluded.%s"):format(column, column)
  end
  return db:exec(
    ("INSERT INTO %s (%s) VALUES (%s) ON CONFLICT (%s) DO UPDATE SET %s"):format(
      name, table.concat(columns, ", "), table.concat(marks, ", "),
      table.concat(tables[name].key, ", "), table.concat(sets, ", ")
    ),
    table.unpack(values, 1, #columns)
  )
end

function Store:find(name, filters)
  local text, values = where(filters)
  local order = table.concat(tables[name].key, ", ")
  local statement = ("SELECT * FROM %s WHERE %s ORDER BY %s"):format(name, text, order)
  local rows, message, code = self.db:query(statement, table.unpack(values))
  if not rows then
    return fail(message, code)
  end
  return rows
end

function Store:put(name, row)
  row.updated_at = sys.iso_time()
  local changes, message, code = write(self.db, name, row)
  if not changes then
    return fail(message, code)
  end
  return true
end

function Store:replace(name, filters, rows)
  local done, message, code = self.db:transaction(function(tx)
    local text, values = where(filters)
    local ok, why, reason = tx:exec(
      ("DELETE FROM %s WHERE %s"):format(name, text), table.unpack(values)
    )
    for _, row in ipairs(rows) do
      row.updated_at = row.updated_at or sys.iso_time()
      if ok then
        ok, why, reason = write(tx, name, row)
      end
    end
    if not ok then
      return nil, why, reason
    end
    return true
  end)
  if not done then
    return fail(message, code)
  end
  return true
end

function Store:change(name, filters, changes)
  local sets, values = {}, {}
  changes.updated_at = sys.iso_time()
  for i, column in ipairs(opts.names(changes)) do
    sets[i], values[i] = column .. " = ?", changes[column]
  end
  local text, wanted = where(filters)
  table.move(wanted, 1, #wanted, #values + 1, values)
  local count, message, code = self.db:exec(
    ("UPDATE %s SET %s WHERE %s"):format(name, table.concat(sets, ", "), text),
    table.unpack(values)
  )
  if not count then
    return fail(message, code)
  end
  return count
end

function Store:forget(name, before)
  local text = ("DELETE FROM %s WHERE created_at < ?"):format(name)
  local count, message, code = self.db:exec(text, before)
  if not count then
    return fail(message, code)
  end
  return count
end

-- Inside of a transaction: the reservation, or nil, message, code.
local function reserve(tx, event_id, machine_id, slot)
  local known, message, code = tx:query("SELECT * FROM reservations WHERE event_id = ?", event_id)
  if not known then
    return nil, message, code
  elseif known[1] and known[1].state ~= "released" then
    return known[1]
  end
  local taken
  taken, message, code = tx:query(
    "UPDATE inventory SET stock = stock - 1, updated_at = ? "
      .. "WHERE machine_id = ? AND slot = ? AND stock > 0 RETURNING drink",
    sys.iso_time(), machine_id, slot
  )
  if not taken then
    return nil, message, code
  elseif not taken[1] then
    return nil, ("machine %s, slot %s: sold out"):format(machine_id, slot), "SOLD_OUT"
  end
  local row = {
    event_id = event_id, machine_id = machine_id, slot = slot, drink = taken[1].drink,
    state = "held", updated_at = sys.iso_time(),
  }
  local ok
  ok, message, code = write(tx, "reservations", row)
  if not ok then
    return nil, message, code
  end
  return row
end

function Store:reserve(event_id, machine_id, slot)
  local row, message, code = self.db:transaction(function(tx)
    return reserve(tx, event_id, machine_id, slot)
  end)
  if row then
    return row
  elseif code == "SOLD_OUT" then
    return nil, failure.permanent(message, code)
  end
  return fail(message, code)
end

function Store:release(event_id)
  local released, message, code = self.db:transaction(function(tx)
    local rows, why, reason = tx:query(
      "UPDATE reservations SET state = 'released', updated_at = ? "
        .. "WHERE event_id = ? AND state IN ('held', 'dispensing') RETURNING machine_id, slot",
      sys.iso_time(), event_id
    )
    if not rows then
      return nil, why, reason
    elseif not rows[1] then
      return false
    end
    rows, why, reason = tx:exec(
      "UPDATE inventory SET stock = stock + 1, updated_at = ? "
        .. "WHERE machine_id = ? AND slot = ? AND stock < capacity",
      sys.iso_time(), rows[1].machine_id, rows[1].slot
    )
    if not rows then
      return nil, why, reason
    end
    return true
  end)
  if released == nil then
    return fail(message, code)
  end
  return released
end

--- Opens the file and makes the tables. nil and a failure when that does not work.
function M.open(path)
  local db, message, code = sql.open(path)
  if not db then
    return fail(message, code)
  end
  local ok
  ok, message, code = db:script(schema)
  if not ok then
    db:close()
    return fail(message, code)
  end
  return setmetatable({ db = db, name = "SQLite at " .. path }, Store)
end

return M
