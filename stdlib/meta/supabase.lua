---@meta sipeat.supabase
error("type stubs: require \"sipeat.supabase\" in a script instead")

--- Tables behind Supabase's REST interface (PostgREST).
local M = {}

---@class sipeat.supabase.ClientOptions
---@field url? string default: NEXT_PUBLIC_SUPABASE_URL
---@field key? sipeat.Secret|string default: NEXT_PUBLIC_SUPABASE_ANON_KEY
---@field schema? string default: the project's
---@field timeout? string default "10s"

--- A value (it must be equal), { operator, value } or a list of these. Operators: eq, neq, gt, gte,
--- lt, lte, like, ilike, match, imatch, is, in, cs, cd, ov, fts, plfts, phfts, wfts, not.…
---@alias sipeat.supabase.Filters table<string, string|number|boolean|table>

---@class sipeat.supabase.SelectOptions
---@field columns? string default "*"
---@field order? string such as "slot" or "score.desc,name"
---@field limit? integer
---@field offset? integer rows that are passed over

---@class sipeat.supabase.WriteOptions
---@field returning? boolean default false: true gives the rows as they are stored

---@class sipeat.supabase.UpsertOptions
---@field returning? boolean default false: true gives the rows as they are stored
---@field on_conflict? string columns with a unique key; default: the primary key
---@field ignore? boolean default false: true leaves the rows that are there as they are

---@class sipeat.supabase.Client
local Client = {}

---@param name string of the table
---@param filters? sipeat.supabase.Filters
---@param options? sipeat.supabase.SelectOptions
---@return table[]? rows
---@return string? message
---@return string? code
function Client:select(name, filters, options) end

---@param name string
---@param rows table|table[]
---@param options? sipeat.supabase.WriteOptions
---@return true|table[]? result
---@return string? message
---@return string? code
function Client:insert(name, rows, options) end

---@param name string
---@param rows table|table[]
---@param options? sipeat.supabase.UpsertOptions
---@return true|table[]? result
---@return string? message
---@return string? code
function Client:upsert(name, rows, options) end

---@param name string
---@param filters sipeat.supabase.Filters at least one
---@param changes table
---@param options? sipeat.supabase.WriteOptions
---@return true|table[]? result
---@return string? message
---@return string? code
function Client:update(name, filters, changes, options) end

---@param name string
---@param filters sipeat.supabase.Filters at least one
---@param options? sipeat.supabase.WriteOptions
---@return true|table[]? result
---@return string? message
---@return string? code
function Client:delete(name, filters, options) end

---@param name string of the database's function
---@param arguments? table
---@return any? result
---@return string? message
---@return string? code
function Client:rpc(name, arguments) end

---@param options? sipeat.supabase.ClientOptions
---@return sipeat.supabase.Client? client
---@return string? message
---@return string? code
function M.client(options) end

--- Whether trying again cannot help.
---@param code string?
---@return boolean
function M.is_permanent(code) end

--- nil and the failure that a client's message and code stand for.
---@param message string
---@param code string
---@return nil
---@return sipeat.Failure failure
function M.fail(message, code) end

return M
