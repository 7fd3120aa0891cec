--- PostgreSQL for scripts: pooled connections, prepared and pipelined statements, transactions; the
--- same shape as sipeat.sql, whose open takes a URL too.
--
-- The engine is drivers/postgres/client.h. Statements are written with ? or with $1; numeric is
-- text, so that no digit is lost; json is decoded when it is touched.
local core = require "sipeat.core.postgres"
local database = require "sipeat.sql_database"
local env = require "sipeat.env"
local json = require "sipeat.json"
local opts = require "sipeat.opts"

local M = {}

local OPEN = opts.spec("sipeat.postgres.open", {
  min_connections = { "integer", default = 0, min = 0, max = 1000 },
  max_connections = { "integer", default = 8, min = 1, max = 1000 },
  pipeline = { "integer", default = 16, min = 1, max = 1000 },
  statements = { "integer", default = 256, min = 0, max = 100000 },
  max_result = { "size", default = "64mb" },
  wait = { "duration", default = "5s" },
  connect_timeout = { "duration", default = "10s" },
  statement_timeout = { "duration", default = "30s" },
  idle = { "duration", default = "1m" },
  health = { "duration", default = "30s" },
})

local Methods = {}

--- What the pool has and did: connections, idle, held (by transactions), waiting, and so on.
function Methods:status()
  return self.handle:status()
end

--- Batches of scripts are of SQLite: here statements are pipelined as they are.
function Methods.run()
  error("a batch is of SQLite; run the statements in a transaction of this database", 2)
end

--- Whether a text is the URL of a PostgreSQL database.
function M.is_url(text)
  return type(text) == "string" and text:find "^postgres[ql]*://" ~= nil
end

--- Opens a database and waits for its first connection, at most `wait`.
---@param url string|sipeat.env.Secret
---@param options sipeat.postgres.OpenOptions?
function M.open(url, options)
  local o = OPEN(options)
  local text = env.is_secret(url) and env.reveal(url) or url
  if not M.is_url(text) then
    error("postgres.open: expected a URL such as \"postgres://user:password@host/database\"", 2)
  end
  local handle, message, code = core.open(text, o)
  if not handle then
    return nil, message, code
  end
  local there
  there, message, code = handle:run("ping", "")
  if not there then
    handle:close()
    return nil, message, code
  end
  return database.new(handle, "postgresql", Methods)
end

--- A value as JSON, for a column of json or jsonb (and of text in SQLite).
function M.json(value)
  local text, message = json.encode(value)
  if not text then
    error("postgres.json: " .. message, 2)
  end
  return text
end

local function item(value)
  local kind = type(value)
  if value == nil or value == json.null then
    return "NULL"
  elseif kind == "table" then
    return M.array(value)
  elseif kind == "number" or kind == "boolean" then
    return tostring(value)
  elseif kind ~= "string" then
    error(("postgres.array: a %s is no value of SQL"):format(kind), 0)
  end
  return '"' .. value:gsub('[\\"]', "\\%0") .. '"'
end

--- A list as an array, for a column of text[], int[] and so on; json.null is NULL, and a list of
--- lists is an array of two dimensions.
function M.array(list)
  if type(list) ~= "table" then
    error(("postgres.array: expected a list, got %s"):format(opts.show(list)), 2)
  end
  local items = {}
  for i = 1, #list do
    items[i] = item(list[i])
  end
  return "{" .. table.concat(items, ",") .. "}"
end

return M
