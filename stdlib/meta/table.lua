---@meta sipeat.table
error("type stubs: require \"sipeat.table\" in a script instead")

---A topic as a table: the latest value of each key. `sipeat.table{…}`
---@class sipeat.table
local M = {}

---@class sipeat.TableOptions
---@field topic string
---@field path? string a file of SQLite's in which the next start goes on; none: in memory
---@field value? "json"|"text" default "json"
---@field max_bytes? string|integer in memory; beyond it a temporary file; default "64mb"
---@field resume_within? string a file that is older is read anew; default "12h"

---@class sipeat.table.Status
---@field ready boolean
---@field keys integer
---@field bytes integer in memory
---@field place "memory"|"file"
---@field message? string
---@field code? string

---@class sipeat.table.Table
local Table = {}

---The value of a key; nil when there is none.
---@param key string
---@return any value
---@return string? message
---@return string? code
function Table:get(key) end

---`for key, value in t:each() do`
---@return fun(): string?, any
function Table:each() end

---Waits until everything is in it that was in the topic when it began.
---@param timeout string? default "30s"
---@return true? ok
---@return string? message
---@return string? code "ETIMEDOUT"
function Table:ready(timeout) end

---@return sipeat.table.Status? status
---@return string? message
---@return string? code
function Table:status() end

---Declares a table and reads its topic in the background; the same as calling the module.
---@param options sipeat.TableOptions
---@return sipeat.table.Table
function M.table(options) end

return M
