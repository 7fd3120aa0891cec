--- What databases have in common, whichever it is: rows, transactions, the end.
--
-- A driver gives a handle: run(kind, sql, ...) -> rows, changes, last, json_columns; begin(how) ->
-- a handle for one transaction, with run, commit, rollback and close; close().
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local task = require "sipeat.task"
local tracing = require "sipeat.tracing"

local M = {}

local TRANSACTION = opts.spec("sipeat.sql.transaction", {
  isolation = {
    "string", enum = { "read committed", "repeatable read", "serializable" },
  },
  read_only = { "boolean", default = false },
  retries = { "integer", default = 0, min = 0, max = 100 },
})

-- What a database and a transaction have in common: `handle` runs the statements.
local Runner = {}

-- Columns of JSON are decoded when a script touches them.
local function decoded(rows, columns)
  for _, row in ipairs(rows) do
    for _, name in ipairs(columns) do
      if row[name] ~= nil then
        local value, message, code = json.lazy(row[name])
        if value == nil then
          return nil, ("sql: column %s: %s"):format(name, message), code
        end
        row[name] = value
      end
    end
  end
  return rows
end

local function recorded(system, sql, f, ...)
  local span = require("sipeat.trace_spans").sql(system, sql)
  local results = table.pack(f(...))
  if span then
    span:ended(results[1], results[2], results[3])
  end
  return table.unpack(results, 1, results.n)
end

-- f(...), with a span of the statement `sql` when the work is recorded.
local function told(system, sql, f, ...)
  if tracing.on and tracing.recording() then
    return recorded(system, sql, f, ...)
  end
  return f(...)
end

local function ask(self, kind, sql, ...)
  local handle = self.handle
  return told(self.system, sql, handle.run, handle, kind, sql, ...)
end

-- rows, changes, last id; or nil, message, code
local function run(self, kind, sql, ...)
  local rows, changes, last, columns = ask(self, kind, sql, ...)
  if not rows then
    self.conflict = self.conflict or last == "SQL_CONFLICT"
  elseif columns then
    local ok, message, code = decoded(rows, columns)
    if not ok then
      return nil, message, code
    end
  end
  return rows, changes, last
end

--- The rows that a statement gives, each a table by column name (NULL is an absent field).
function Runner:query(sql, ...)
  local rows, message, code = run(self, "statement", sql, ...)
  if not rows then
    return nil, message, code
  end
  return rows
end

--- How many rows a statement changed, and the id of the last row inserted (of PostgreSQL, the first
--- value that RETURNING gave).
function Runner:exec(sql, ...)
  local rows, changes, last_id = run(self, "statement", sql, ...)
  if not rows then
    return nil, changes, last_id -- message and code
  end
  return changes, last_id
end

--- Runs any number of statements without parameters, as for a schema.
function Runner:script(sql)
  local rows, message, code = run(self, "script", sql)
  if not rows then
    return nil, message, code
  end
  return true
end

local Tx = { query = Runner.query, exec = Runner.exec, script = Runner.script }
Tx.__index = Tx

--- Runs the statements of a batch, which is empty then: how many rows they changed.
function Tx:run(batch)
  if batch:len() == 0 then
    return 0
  end
  local rows, changes, code = ask(self, "batch", batch)
  if not rows then
    return nil, changes, code -- message and code
  end
  return changes
end

local Db = { query = Runner.query, exec = Runner.exec, script = Runner.script }
Db.__index = Db

local function traced(err)
  if type(err) == "string" and not err:find("\nstack traceback:", 1, true) then
    return debug.traceback(err, 2)
  end
  return err
end

-- One try. Whether another one may help, and the results.
local function attempt(db, f, how)
  local handle, message, code = db.handle:begin(how)
  if not handle then
    return false, nil, message, code
  end
  local guard <close> = handle -- rolls back when this task is killed
  local tx = setmetatable({ handle = guard, system = db.system }, Tx)
  local results = table.pack(xpcall(f, traced, tx))
  local done = results[1] and not (results[2] == nil and results[3] ~= nil)
  if not done then
    local undone, why, reason = handle:rollback()
    if not results[1] then
      if tx.conflict then
        return true, error, results[2], 0
      end
      error(results[2], 0)
    elseif not undone and reason ~= "ECLOSED" and not tx.conflict then
      return false, nil, results[3] .. "; and the rollback failed: " .. why, results[4]
    end
    return tx.conflict, table.unpack(results, 2, results.n)
  end
  local ok
  ok, message, code = told(db.system, "COMMIT", handle.commit, handle)
  if not ok then
    return code == "SQL_CONFLICT", nil, message, code
  elseif results.n == 1 then
    return false, true
  end
  return false, table.unpack(results, 2, results.n)
end

local function words_of(o)
  local words = { "BEGIN" }
  if o.isolation then
    words[#words + 1] = "ISOLATION LEVEL " .. o.isolation:upper()
  end
  if o.read_only then
    words[#words + 1] = "READ ONLY"
  end
  return table.concat(words, " ")
end

-- The last try's results, or its error again.
local function ended(first, ...)
  if first == error then
    error(...)
  end
  return first, ...
end

--- Runs f(tx) in a transaction: its results, or what failed. Commits, unless f raises or returns
--- nil and a message: then everything is rolled back. Inside of f, use tx. With `retries`, f runs
--- again when the database reports a conflict with another transaction.
function Db:transaction(f, options)
  local o = TRANSACTION(options)
  local how = words_of(o)
  for try = 1, o.retries do
    local results = table.pack(attempt(self, f, how))
    if not results[1] then
      return ended(table.unpack(results, 2, results.n))
    elseif not task.sleep(math.random(5, 20) * math.min(try, 10) .. "ms") then
      return nil, "sql: the task was stopped", "ECANCELED"
    end
  end
  return ended(select(2, attempt(self, f, how)))
end

--- Runs the statements of a batch: all of them, or none.
function Db:run(batch)
  return self:transaction(function(tx)
    return tx:run(batch)
  end)
end

--- Closes it: what waits ends with "ECANCELED", an open transaction is rolled back.
function Db:close()
  self.handle:close()
end

Db.__close = Db.close

--- A database over a driver's handle, of a system as traces name it. `methods` are what this one
--- has besides.
function M.new(handle, system, methods)
  local class = Db
  if methods then
    class = setmetatable(methods, { __index = Db })
    class.__index, class.__close = class, Db.close
  end
  return setmetatable({ handle = handle, system = system }, class)
end

return M
