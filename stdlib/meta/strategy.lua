---@meta sipeat.strategy
error "sipeat.strategy: this file describes the module to an editor; it is not run"

---Strategy: one of several handlers, chosen for each event.
---@param select fun(event: sipeat.Event, ctx: table): any name of the handler; one that is not
---there runs `default`, and without it is the permanent failure "UNKNOWN_STRATEGY"
---@param handlers table<any, sipeat.Handler>
---@return sipeat.Handler
local function strategy(select, handlers) end

return strategy
