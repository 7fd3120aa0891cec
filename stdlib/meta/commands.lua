---@meta sipeat.commands
error "sipeat.commands: this file describes the module to an editor; it is not run"

---Command: the same steps as a chain, each with its undo.
---@param name string
---@return fun(steps: sipeat.StepOptions[]): sipeat.Handler
local function commands(name) end

return commands
