---@meta sipeat.factory
error "sipeat.factory: this file describes the module to an editor; it is not run"

---Factory: a handler that makes a handler for each event and runs it.
---@param make fun(event: sipeat.Event, ctx: table): sipeat.Handler
---@return sipeat.Handler
local function factory(make) end

return factory
