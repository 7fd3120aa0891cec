---@meta sipeat.opts
error "sipeat.opts: this file describes the module to an editor; it is not run"

---Options tables: what a function takes is declared once, at load time, and checked at each call.
---@class sipeat.opts
local M = {}

---Every spec by its name, for tools.
---@type table<string, table<string|integer, sipeat.opts.Field>>
M.specs = {}

---@class sipeat.opts.Field
---@field [1] string type, or several as in "string|table": string, integer, number, boolean, table,
---function, handler, any, duration (text with a unit; becomes ms), size (text with a unit or bytes;
---becomes bytes), secret (text or a secret), string[]
---@field default? any stands in when the key is missing; converted as a given value would be
---@field required? boolean
---@field enum? any[] the values that are allowed
---@field min? number
---@field max? number
---@field check? fun(value: any): string? what is wrong, beginning with "must"
---@field spec? function checker of a nested table, made by opts.spec

---@class sipeat.RetryOptions
---@field attempts? integer how often in all; default 3
---@field backoff? string[] first and longest pause, doubling; default { "200ms", "30s" }
---@field budget? string|sipeat.RetryBudgetOptions a retry budget, by name or declared here

---Declares the options of one function.
---@param name string name of the function, for messages
---@param fields table<string|integer, sipeat.opts.Field>
---@return fun(options: table?, level: integer|false|nil): table checker throws at `level` (default
---2: the caller of the function that calls the checker); with `false` it returns nil, message,
---"EINVAL" instead
function M.spec(name, fields) end

---The spec of a retry: attempts and backoff.
---@param options sipeat.RetryOptions?
---@param level integer|false|nil
---@return table
function M.retry(options, level) end

---Pauses of a checked retry: pause(n) is how many ms to wait after the n-th failed attempt.
---@param retry table
---@return (fun(attempt: integer): integer)? pause
---@return string? message
---@return string? code "EINVAL"
function M.backoff(retry) end

---Milliseconds of "200ms", "1.5s", "5m", "2h", "3d" or "1w".
---@param text string
---@return integer? ms
---@return string? message
---@return string? code "EINVAL"
function M.duration_ms(text) end

---Bytes of "512b", "64kb", "10mb" or "1gb"; an integer is bytes already.
---@param value string|integer
---@return integer? bytes
---@return string? message
---@return string? code "EINVAL"
function M.size_bytes(value) end

---How a value appears in a message: short, quoted when text, never a secret's content.
---@param value any
---@return string
function M.show(value) end

---The name in the list that `name` was probably meant to be.
---@param name string
---@param names string[]
---@return string?
function M.nearest(name, names) end

---The keys of a table as text, sorted.
---@param t table
---@return string[]
function M.names(t) end

---Can it be called, as a function can?
---@param value any
---@return boolean
function M.is_callable(value) end

---@param text string in which "*" stands for anything, as in "order.*"
---@return string pattern of Lua
function M.glob(text) end

return M
