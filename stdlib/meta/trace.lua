---@meta sipeat.trace
error "sipeat.trace: this file describes the module to an editor; it is not run"

---Traces: spans of a script's own, and the trace that a handler works in. See docs/traces.md.
---@class sipeat.trace
local M = {}

---What a function of trace.span gets; of work that is not recorded, all of it does nothing.
---@class sipeat.Span
local Span = {}

---Sets an attribute: a text (cut at 4 KiB), a number or a boolean; at most 64 of them.
---@param name string
---@param value string|number|boolean
function Span:set(name, value) end

---Notes that something happened now; at most 32 times.
---@param name string
---@param attributes table<string, string|number|boolean>?
function Span:event(name, attributes) end

---The work has failed, though the function goes on.
---@param why string|sipeat.Failure
---@param code string?
function Span:fail(why, code) end

---Runs f(span) as a span of its own below the one that the task works in: its results. What it
---raises is raised, and that, or a result of nil and a message, is the span's failure.
---@param name string the same for many: what differs goes into attributes
---@param attributes table<string, string|number|boolean>|fun(span: sipeat.Span): ...
---@param f (fun(span: sipeat.Span): ...)?
---@return any ...
function M.span(name, attributes, f) end

---The context that this task works in, as the headers have it; nil when it works in none.
---@return string? traceparent
---@return string? tracestate
function M.current() end

---Is what this task does recorded?
---@return boolean
function M.recording() end

return M
