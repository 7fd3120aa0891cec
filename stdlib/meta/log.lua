---@meta sipeat.log
error("type stubs: require \"sipeat.log\" in a script instead")

--- Structured log lines on standard error. The id of the event that the task works on is on each
--- line.
local M = {}

---@class sipeat.Logger
local Logger = {}

---@param text any
---@param fields table<string, any>?
function Logger:debug(text, fields) end

---@param text any
---@param fields table<string, any>?
function Logger:info(text, fields) end

---@param text any
---@param fields table<string, any>?
function Logger:warn(text, fields) end

---@param text any
---@param fields table<string, any>?
function Logger:error(text, fields) end

--- A logger that names its module on each line.
---@param module string
---@return sipeat.Logger
function M.new(module) end

---@param text any
---@param fields table<string, any>?
function M.debug(text, fields) end

---@param text any
---@param fields table<string, any>?
function M.info(text, fields) end

---@param text any
---@param fields table<string, any>?
function M.warn(text, fields) end

---@param text any
---@param fields table<string, any>?
function M.error(text, fields) end

--- Whether lines of that level are written.
---@param level "debug"|"info"|"warn"|"error"
---@return boolean
function M.enabled(level) end

return M
