---@meta sipeat.observers
error "sipeat.observers: this file describes the module to an editor; it is not run"

---Observer: several handlers see the same event, each with its own outcome.

---A result; or nil, a message or failure, a code.
---@alias sipeat.Handler fun(event: sipeat.Event, ctx: table): any, any, string?

---@class sipeat.ObserverOptions
---@field [1] sipeat.Handler
---@field required? boolean whether its failure fails the event; default true
---@field retry? sipeat.RetryOptions attempts of its own, within one attempt of the event
---@field timeout? string longest time of one attempt

---Makes one handler of several that run side by side.
---@param definitions table `name = handler`, `name = { handler, … }` or `{ "name", handler, … }`
---@return sipeat.Handler handler results by name
local function observers(definitions) end

return observers
