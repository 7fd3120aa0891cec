--- SQLite databases: typed parameters and rows, transactions; no statement ever blocks the loop.
--
-- A database works on one statement at a time; a transaction has it alone until it ends. Codes of
-- failures: SQL_UNIQUE, SQL_CHECK, SQL_NOT_NULL, SQL_FOREIGN_KEY, SQL_CONSTRAINT, SQL_BUSY,
-- SQL_FULL, SQL_IO, SQL_READ_ONLY, SQL_CANNOT_OPEN, SQL_CORRUPT, SQL_ROLLED_BACK, SQL_ERROR,
-- TOO_BIG.
local core = require "sipeat.core.sqlite"
local opts = require "sipeat.opts"
local tracing = require "sipeat.tracing"

local M = {}

local OPEN = opts.spec("sipeat.sql.open", {
  busy_timeout = { "duration", default = "5s" },
  max_result = { "size", default = "64mb" },
  synchronous = { "string", default = "full", enum = { "full", "normal" } },
  private = { "boolean", default = false },
})

local CONSTRAINTS = {
  SQL_UNIQUE = true,
  SQL_CHECK = true,
  SQL_NOT_NULL = true,
  SQL_FOREIGN_KEY = true,
  SQL_CONSTRAINT = true,
}

-- What a database and a transaction have in common: `handle` runs the statements.
local Runner = {}

local function recorded(self, kind, sql, ...)
  local span = require("sipeat.trace_spans").sql("sqlite", sql)
  local rows, message, code = self.handle:run(kind, sql, ...)
  if span then
    span:ended(rows, message, code)
  end
  return rows, message, code
end

-- rows, changes, last id; or nil, message, code
local function run(self, kind, sql, ...)
  if tracing.on and tracing.recording() then
    return recorded(self, kind, sql, ...)
  end
  return self.handle:run(kind, sql, ...)
end

--- The rows that a statement gives, each a table by column name (NULL is an absent field).
function Runner:query(sql, ...)
  local rows, message, code = run(self, "statement", sql, ...)
  if not rows then
    return nil, message, code
  end
  return rows
end

--- How many rows a statement changed, and the id of the last row inserted.
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
  local rows, changes, code = self.handle:run("batch", batch)
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

--- Runs f(tx) in a transaction: its results, or what failed. Commits, unless f raises or returns
--- nil and a message: then everything is rolled back. Inside of f, use tx; other tasks' statements
--- wait until the end.
function Db:transaction(f)
  local handle, message, code = self.handle:begin()
  if not handle then
    return nil, message, code
  end
  local guard <close> = handle -- rolls back when this task is killed
  local tx = setmetatable({ handle = guard }, Tx)
  local results = table.pack(xpcall(f, traced, tx))
  local done = results[1] and not (results[2] == nil and results[3] ~= nil)
  if not done then
    local undone, why, reason = handle:rollback()
    if not results[1] then
      error(results[2], 0)
    elseif not undone and reason ~= "ECLOSED" then
      return nil, results[3] .. "; and the rollback failed: " .. why, results[4]
    end
    return table.unpack(results, 2, results.n)
  end
  local ok
  ok, message, code = handle:commit()
  if not ok then
    return nil, message, code
  elseif results.n == 1 then
    return true
  end
  return table.unpack(results, 2, results.n)
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

--- Opens a database file, made when it is not there; ":memory:" is one that lives as long as the
--- handle.
---@param path string
---@param options sipeat.sql.OpenOptions?
function M.open(path, options)
  local o = OPEN(options)
  if type(path) ~= "string" or path == "" then
    error("sql.open: the path is text", 2)
  end
  local normal = o.synchronous == "normal"
  local handle, message, code = core.open(path, o.busy_timeout, o.max_result, normal, o.private)
  if not handle then
    return nil, message, code
  end
  return setmetatable({ handle = handle }, Db)
end

--- A batch: many runs of few statements, collected by batch:add(sql, values…) and done by tx:run or
--- db:run in one go, which costs a fraction of one after the other. add answers the bytes that the
--- batch takes; or nil, message, "TOO_BIG", and nothing was added: run it, and add again.
M.batch = core.batch

--- Marks bytes to be stored as a blob; plain strings are stored as text.
function M.blob(bytes)
  if type(bytes) ~= "string" then
    error("sql.blob: bytes are a string", 2)
  end
  return { bytes }
end

--- Whether a code says that a row breaks a rule of its table (and would break it again).
function M.is_constraint(code)
  return CONSTRAINTS[code] == true
end

return M
