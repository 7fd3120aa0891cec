---@meta sipeat.failure
error "sipeat.failure: this file describes the module to an editor; it is not run"

---Failures as values.
---@class sipeat.failure
local M = {}

---@alias sipeat.FailureKind
---| "transient" # may pass: try again
---| "timeout" # as transient; whether it happened is not known
---| "permanent" # trying again cannot help
---| "bug" # a script raised something that is no failure
---| "cancelled" # the task was stopped from outside: no verdict

---@class sipeat.Failure
---@field message string
---@field code string
---@field kind sipeat.FailureKind
---@field refused? boolean the call was not made: an open breaker, a full bulkhead and their like
---@field retry_at_ms? number when refused: from then on it may pass, on task.monotonic_ms
---@field traceback? string of a bug
---@field chain? string name of the chain or commands that failed
---@field step? string the step that failed
---@field undone? string[] steps that were undone
---@field not_undone? string[] steps whose undo failed
---@field kept? string[] done steps without an undo
---@field unknown? string[] steps whose outcome is unknown
---@field decided_by? string who said that it is to be undone, whatever is unknown
---@field done? string[] of a parked chain: steps that stand
---@field cause? sipeat.Failure
---@field failures? table<string, sipeat.Failure> of observers, by name

---@param message string
---@param code string? default "FAILED"
---@param kind sipeat.FailureKind? default: what the code implies
---@return sipeat.Failure
function M.new(message, code, kind) end

---Trying again cannot help, and what was asked for did not happen.
---@param message string
---@param code string? default "PERMANENT"
---@return sipeat.Failure
function M.permanent(message, code) end

---Trying again may help.
---@param message string
---@param code string?
---@return sipeat.Failure
function M.transient(message, code) end

---@param value any
---@return boolean
function M.is(value) end

---Is it certain that the effect did not happen? True of permanent failures (but not of an answer
---that could not be read) and of codes such as "ECONNREFUSED" and "RATE_LIMITED".
---@param failure sipeat.Failure
---@return boolean
function M.proves_absence(failure) end

---The failure that `nil, message, code` stands for.
---@param message string|sipeat.Failure|nil
---@param code string?
---@return sipeat.Failure
function M.of(message, code) end

---A value as plain data: each failure in it becomes a table that from_plain knows.
---@param value any
---@return any
function M.to_plain(value) end

---The JSON text of to_plain(value), made in one go.
---@param value any
---@return string? text nil when it has none
---@return string? message
---@return string? code
function M.encode(value) end

---What to_plain was given.
---@param value any
---@return any
function M.from_plain(value) end

---Did it leave something behind that a person has to look at: an outcome that nobody knows, or what
---could not be undone?
---@param failure sipeat.Failure
---@return boolean
function M.in_doubt(failure) end

---Runs f(...): true and its results, or nil and a failure that it raised or returned.
---@param f function
---@param ... any
---@return true? ok
---@return any ...
function M.catch(f, ...) end

---The failure that a function's results stand for: a failure, or nil, message, code. Else nil.
---@param first any
---@param second any
---@param third any
---@return sipeat.Failure?
function M.of_results(first, second, third) end

---What a raised value becomes: the message handler of an xpcall, on the stack of the raise.
---@param value any
---@return sipeat.Failure
function M.caught(value) end

---Results of an xpcall with `caught`, as M.catch gives them.
---@param ok boolean
---@param ... any
---@return true? ok
---@return any ...
function M.sort_out(ok, ...) end

return M
