---@meta sipeat.sql
error("type stubs: require \"sipeat.sql\" in a script instead")

---@class sipeat.sql
local M = {}

---@class sipeat.sql.OpenOptions
---@field busy_timeout? string how long to wait for another process's lock; default "5s"
---@field max_result? string|integer most that one statement's rows take; default "64mb"
---@field synchronous? "full"|"normal" default "full": a commit survives a power cut
---@field private? boolean a new file is for its owner only; default false

---@class sipeat.sql.TransactionOptions
---@field isolation? "read committed"|"repeatable read"|"serializable" of PostgreSQL
---@field read_only? boolean of PostgreSQL: what writes fails with SQL_READ_ONLY; default false
---@field retries? integer how often f may run again after SQL_CONFLICT; default 0

---@alias sipeat.sql.Value nil|boolean|integer|number|string|sipeat.sql.Blob
---@class sipeat.sql.Blob

---@class sipeat.sql.Runner
local Runner = {}

---Rows by column name; a NULL is an absent field.
---@param sql string one statement, with ? for each value
---@param ... sipeat.sql.Value
---@return table[]? rows
---@return string? message
---@return string? code
function Runner:query(sql, ...) end

---@param sql string one statement, with ? for each value
---@param ... sipeat.sql.Value
---@return integer? changes rows inserted, updated or deleted
---@return integer|string last_id (of PostgreSQL what RETURNING gave), or the message
---@return string? code
function Runner:exec(sql, ...) end

---Any number of statements without values.
---@param sql string
---@return true? ok
---@return string? message
---@return string? code
function Runner:script(sql) end

---Many runs of few statements, to be run together.
---@class sipeat.sql.Batch
local Batch = {}

---@param sql string one statement, with ? for each value
---@param ... sipeat.sql.Value
---@return integer? bytes that the batch takes
---@return string? message
---@return string? code "TOO_BIG": 64 MB, or 32 different statements; run it, and add again
function Batch:add(sql, ...) end

---@return integer statements that wait
function Batch:len() end

---@class sipeat.sql.Tx: sipeat.sql.Runner
local Tx = {}

---Runs the statements of a batch, which is empty then.
---@param batch sipeat.sql.Batch
---@return integer? changes
---@return string? message
---@return string? code
function Tx:run(batch) end

---@class sipeat.sql.Db: sipeat.sql.Runner
local Db = {}

---Commits what f did, unless it raises or returns nil and a message.
---@param f fun(tx: sipeat.sql.Tx): ...
---@param options? sipeat.sql.TransactionOptions
---@return any ... the results of f (true when it has none), or nil, message, code
function Db:transaction(f, options) end

---Runs the statements of a batch in a transaction.
---@param batch sipeat.sql.Batch
---@return integer? changes
---@return string? message
---@return string? code
function Db:run(batch) end

function Db:close() end

---@param path string|sipeat.env.Secret a file, ":memory:", or a URL of PostgreSQL
---@param options? sipeat.sql.OpenOptions|sipeat.postgres.OpenOptions
---@return sipeat.sql.Db? db
---@return string? message
---@return string? code
function M.open(path, options) end

---@return sipeat.sql.Batch
function M.batch() end

---@param bytes string
---@return sipeat.sql.Blob
function M.blob(bytes) end

---@param code string?
---@return boolean
function M.is_constraint(code) end

return M
