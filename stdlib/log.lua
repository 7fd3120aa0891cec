--- Structured log lines on standard error. The id of the event that the task works on is on each
--- line.
local core = require "sipeat.core.log"

local M = {}

local Logger = {}
Logger.__index = Logger

--- A logger that names its module on each line.
---@param module string
function M.new(module)
  if type(module) ~= "string" then
    error("log.new: the module's name is a string, got " .. type(module), 2)
  end
  return setmetatable({ module = module }, Logger)
end

for _, level in ipairs { "debug", "info", "warn", "error" } do
  Logger[level] = function(self, text, fields)
    core.write(level, self.module, text, fields)
  end
  M[level] = function(text, fields)
    core.write(level, "script", text, fields)
  end
end

--- Whether lines of that level are written.
---@param level "debug"|"info"|"warn"|"error"
M.enabled = core.enabled

return M
