---@meta sipeat.chain
error "sipeat.chain: this file describes the module to an editor; it is not run"

---Chain of Responsibility: steps in order, undone in reverse when a required one fails for good.

---@alias sipeat.StepRun fun(args: any, ctx: table): any, any, string?

---@class sipeat.StepOptions
---@field [1] string name; its result is ctx.results.<name> for later steps
---@field run sipeat.StepRun a result; or nil, a message or failure, a code
---@field effect "local"|"idempotent"|"at_most_once"|"repeatable"
---@field args? fun(event: sipeat.Event, ctx: table): any pure; the event's data when missing
---@field undo? fun(args: any, result: any, ctx: table): any, string|sipeat.Failure|nil, string?
---`result` is nil when the step may have taken effect but gave no result
---@field reconcile? fun(args: any, ctx: table): "done"|"not_done"|"unknown"|nil, any, string?
---@field required? boolean whether its failure fails the chain; default true
---@field timeout? string longest time of one run, undo or reconcile
---@field retry? sipeat.RetryOptions attempts of the step, within one attempt of the event
---@field key? fun(event: sipeat.Event, ctx: table): string idempotency key, ctx.key
---@field lifetime? string how long the receiver of an idempotent effect knows its key: afterwards
---reconcile decides whether it is run again; without one the outcome is unknown
---@field point_of_no_return? boolean once done, nothing is undone; by itself so for an at_most_once
---step without undo

---@class sipeat.LocalStatement
---@field [1] string SQL with ? for its values, which follow
---@field n? integer how many there are with the SQL, when one of them is nil
---@field expect? integer how many rows it must change, or a SELECT give

---@class sipeat.LocalStatements
---@field [integer] sipeat.LocalStatement
---@field result? any plain data: what later steps see of this one; default true

---A step whose effect is "local" has ctx:transact(statements), once: all of them happen, together
---with the step's record, or none. For each statement its rows by column name, or how many rows it
---changed; or nil and a failure.
---@alias sipeat.Transact fun(ctx: table, list: sipeat.LocalStatements): any[]?, sipeat.Failure?

---A step that returns sipeat.handled(result) ends the chain early. Beside the steps the list may
---have `undo_retry`, how a failing undo is tried again.
---@param name string
---@return fun(steps: sipeat.StepOptions[]): sipeat.Handler
local function chain(name) end

return chain
