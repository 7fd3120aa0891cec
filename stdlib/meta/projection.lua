---@meta sipeat.projection
error("type stubs: require \"sipeat.projection\" in a script instead")

---Read models in SQL, made of the events of topics: `sipeat.projection{…}`.
---@class sipeat.projection
local M = {}

---What a handler writes with.
---@class sipeat.projection.Rows
local Rows = {}

---Writes: the statement runs with those of the events around it. {name} in it is a table.
---@param text string one statement, with ? for each value
---@param ... sipeat.sql.Value
---@return true? ok
---@return string? message
---@return string? code
function Rows:exec(text, ...) end

---Rows as they are behind everything that was written before.
---@param text string one statement, with ? for each value
---@param ... sipeat.sql.Value
---@return table[]? rows
---@return string? message
---@return string? code
function Rows:query(text, ...) end

---@alias sipeat.projection.Handler fun(event: table, rows: sipeat.projection.Rows): any, any

---@class sipeat.projection.At
---@field topic string
---@field partition integer
---@field position integer the first offset that is not in the tables
---@field low integer
---@field high integer

---@class sipeat.ProjectionOptions
---@field name string letters, digits and "_"
---@field version? integer of the handlers and tables: a newer one is built anew; default 1
---@field topic? string
---@field topics? string[]
---@field db string|sipeat.Secret a file of SQLite's, or the URL of a PostgreSQL database
---@field tables table<string, string> name -> columns, as in CREATE TABLE name (…)
---@field indexes? string[] "table (columns)"; default {}
---@field on table<string|sipeat.event.Definition, sipeat.projection.Handler>
---@field batch? integer events in one transaction at most; default 5000
---@field on_error? "stop"|"skip" for an event that fails, "skip" notes it; default "stop"
---@field rebuild? "auto"|"manual" who builds a newer version; default "auto"
---@field sequence? boolean a stream's events that come again are left out; default false

---@class sipeat.projection.Status
---@field name string
---@field version integer of the script
---@field built_version integer of the tables; 0: there are none
---@field generation integer counts what was swapped in
---@field built? string when
---@field following boolean this process does
---@field followed_by? string the process that does
---@field standing_by? string why this one does not
---@field rebuilding? string the process that rebuilds
---@field left? { version: integer, events: integer, began: string } a rebuild that is not through
---@field skipped integer records that were left out
---@field lag? integer records not read yet
---@field message? string why it does not go on
---@field code? string
---@field partitions sipeat.projection.At[]

---@class sipeat.projection.Projection
local Projection = {}

---Rows of its tables, as far as they were built.
---@param text string one statement, with ? for each value
---@param ... sipeat.sql.Value
---@return table[]? rows
---@return string? message
---@return string? code
function Projection:query(text, ...) end

---How far it is, and who works on it.
---@return sipeat.projection.Status? status
---@return string? message
---@return string? code
function Projection:status() end

---Waits until the tables have that record.
---@param report { topic: string, partition: integer, offset: integer } as sipeat.publish gives
---@param timeout string? default "5s"
---@return true? ok
---@return string? message
---@return string? code "ETIMEDOUT"
function Projection:wait(report, timeout) end

---Declares a projection and follows its topics in the background; the same as calling the module.
---@param options sipeat.ProjectionOptions
---@return sipeat.projection.Projection
function M.projection(options) end

---Those of the script.
---@return sipeat.projection.Projection[]
function M.declared() end

return M
