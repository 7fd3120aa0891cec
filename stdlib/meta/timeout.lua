---@meta sipeat.timeout
error "sipeat.timeout: this file describes the module to an editor; it is not run"

---Time limit: a handler, or each function of a client, that answers nil, message, "ETIMEDOUT" after
---that long. What runs is stopped.
---@generic T
---@param duration string as in "2s"
---@param target T
---@return T
local function timeout(duration, target) end

return timeout
