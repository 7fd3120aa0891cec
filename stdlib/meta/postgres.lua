---@meta sipeat.postgres
error("type stubs: require \"sipeat.postgres\" in a script instead")

---@class sipeat.postgres
local M = {}

---@class sipeat.postgres.OpenOptions
---@field min_connections? integer kept open once there was a first one; default 0
---@field max_connections? integer default 8
---@field pipeline? integer statements under way on one connection when all are busy; default 16
---@field statements? integer prepared ones that a connection keeps, 0 for none; default 256
---@field max_result? string|integer most that one statement's rows take; default "64mb"
---@field wait? string how long a statement waits for a connection; default "5s"
---@field connect_timeout? string of one attempt to connect; default "10s"
---@field statement_timeout? string how long a statement may run, "0s" for ever; default "30s"
---@field idle? string a connection beyond the least that rests for so long is closed; default "1m"
---@field health? string one that rests for so long is asked whether it is there; default "30s"

---@class sipeat.postgres.Status
---@field connections integer open now
---@field connecting integer on their way
---@field idle integer open, with nothing to do
---@field held integer in a transaction
---@field waiting integer statements that wait for a connection
---@field under_way integer statements that the server has
---@field opened integer connections since the start
---@field broken integer of those, lost
---@field statements integer sent since the start
---@field prepared integer of those, prepared anew

---@class sipeat.postgres.Db: sipeat.sql.Db
local Db = {}

---@return sipeat.postgres.Status
function Db:status() end

---Opens a database by its URL and waits for the first connection; sipeat.sql.open does the same.
---@param url string|sipeat.env.Secret
---@param options? sipeat.postgres.OpenOptions
---@return sipeat.postgres.Db? db
---@return string? message
---@return string? code
function M.open(url, options) end

---@param text any
---@return boolean
function M.is_url(text) end

---A value for a column of json or jsonb.
---@param value any
---@return string
function M.json(value) end

---A value for a column of text[], int[] and so on; json.null is NULL.
---@param list any[]
---@return string
function M.array(list) end

return M
