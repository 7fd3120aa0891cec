--- Databases: a file of SQLite's, or a PostgreSQL server by its URL; typed parameters and rows,
--- transactions; no statement ever blocks the loop.
--
-- Of SQLite, a database works on one statement at a time; a transaction has it alone until it ends.
-- What both have is sql_database.lua, what PostgreSQL has besides is postgres.lua. Codes of
-- failures: SQL_UNIQUE, SQL_CHECK, SQL_NOT_NULL, SQL_FOREIGN_KEY, SQL_CONSTRAINT, SQL_BUSY,
-- SQL_FULL, SQL_IO, SQL_READ_ONLY, SQL_CANNOT_OPEN, SQL_CORRUPT, SQL_ROLLED_BACK, SQL_ERROR,
-- TOO_BIG; of a server also SQL_CONFLICT, SQL_TIMEOUT, SQL_POOL_TIMEOUT, SQL_LOST, SQL_AUTH,
-- SQL_TLS.
local core = require "sipeat.core.sqlite"
local database = require "sipeat.sql_database"
local env = require "sipeat.env"
local opts = require "sipeat.opts"
local postgres = require "sipeat.postgres"

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

--- Opens a database: a file, made when it is not there; ":memory:", which lives as long as the
--- handle; or a server, by "postgres://user@host/database" and the options of sipeat.postgres.open.
---@param path string
---@param options sipeat.sql.OpenOptions|sipeat.postgres.OpenOptions?
function M.open(path, options)
  if env.is_secret(path) then
    path = env.reveal(path)
  end
  if type(path) ~= "string" or path == "" then
    error("sql.open: the path is text", 2)
  elseif postgres.is_url(path) then
    return postgres.open(path, options)
  end
  local o = OPEN(options)
  local normal = o.synchronous == "normal"
  local handle, message, code = core.open(path, o.busy_timeout, o.max_result, normal, o.private)
  if not handle then
    return nil, message, code
  end
  return database.new(handle, "sqlite")
end

--- A batch, of SQLite: many runs of few statements, collected by batch:add(sql, values…) and done
--- by tx:run or db:run in one go, which costs a fraction of one after the other. add answers the
--- bytes that it takes; or nil, message, "TOO_BIG", and nothing was added: run it, and add again.
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
