---@meta sipeat.json
error "sipeat.json: this file describes the module to an editor; it is not run"

---JSON, exact both ways. What is read is RFC 8259, nested up to 128 deep.
---@class sipeat.json
local M = {}

---JSON's null inside of tables.
---@type lightuserdata
M.null = nil

---An empty array to write.
---@type table
M.empty_array = {}

---@param value any strings, numbers, booleans, json.null, lists, and tables with text keys
---@return string? text
---@return string? message
---@return string? code "BAD_DATA"
function M.encode(value) end

---@param text string
---@return any value json.null for null; nil when it cannot be read
---@return string? message names the first wrong byte, counted from 1
---@return string? code "BAD_DATA"
function M.decode(text) end

---As decode, and checked as strictly at once, but a field is made when it is first read. The tables
---behave as those of decode; what was not touched is encoded by copying its text.
---@param text string
---@return any value
---@return string? message
---@return string? code "BAD_DATA"
function M.lazy(text) end

---Marks a table as an array, so that it is written as [] when it is empty.
---@param t table?
---@return table
function M.array(t) end

---@param value any
---@return boolean
function M.is_array(value) end

return M
