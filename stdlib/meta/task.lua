---@meta sipeat.task
error("type stubs: require \"sipeat.task\" in a script instead")

--- Functions that run side by side on one thread and wait without blocking each other.
local M = {}

---@class sipeat.Task
local Task = {}

--- Waits until the task has ended: the results of its function; or nil, error, "SCRIPT" when it
--- raised; or nil, message, "ETIMEDOUT" | "ECANCELED" when the wait itself ended early (the task
--- goes on).
---@param timeout string? duration, as in "5s"
---@return any ...
function Task:join(timeout) end

--- Asks the task to stop: what it waits on answers "ECANCELED", and it unwinds by itself.
function Task:kill() end

---@return boolean
function Task:done() end

---@class sipeat.Channel
local Channel = {}

---@param value any
---@param timeout string?
---@return true? ok
---@return string? message
---@return string? code "CLOSED", "ETIMEDOUT" or "ECANCELED"
function Channel:send(value, timeout) end

---@param timeout string?
---@return true? ok
---@return any value_or_message
---@return string? code "CLOSED" (closed and empty), "ETIMEDOUT" or "ECANCELED"
function Channel:recv(timeout) end

function Channel:close() end

---@return integer
function Channel:len() end

---@class sipeat.Semaphore
local Semaphore = {}

---@param timeout string?
---@return true? ok
---@return string? message
---@return string? code "ETIMEDOUT" or "ECANCELED"
function Semaphore:acquire(timeout) end

function Semaphore:release() end

---@param f function
---@param ... any
---@return any ...
function Semaphore:with(f, ...) end

--- Starts f(...) as a task of its own; it first runs after the caller waits or ends.
---@param f function
---@param ... any
---@return sipeat.Task
function M.spawn(f, ...) end

--- Runs the functions side by side: an array with the first result of each; or, as soon as one
--- raises or returns nil and a message, that message and code, and the others are stopped.
---@param functions function[]
---@return any[]? results
---@return any message
---@return string? code
function M.gather(functions) end

---@param duration string as in "200ms"
---@return true? ok
---@return string? message
---@return string? code "ECANCELED"
function M.sleep(duration) end

--- Runs f(...) for at most that long: its results, or nil, message, "ETIMEDOUT". What f raises is
--- raised here.
---@param timeout string
---@param f function
---@param ... any
---@return any ...
function M.with_timeout(timeout, f, ...) end

--- A bounded queue between tasks.
---@param capacity integer? values that wait in it; 0 (the default): a send waits for a receiver
---@return sipeat.Channel
function M.channel(capacity) end

---@param permits integer
---@return sipeat.Semaphore
function M.semaphore(permits) end

--- Wall clock, ms since 1970-01-01 UTC.
---@return integer
function M.now_ms() end

--- A clock for measuring, in ms with a fraction; its zero means nothing.
---@return number
function M.monotonic_ms() end

--- The event that this task works on, for log lines; inherited by the tasks that it starts.
---@param id string
function M.set_event_id(id) end

---@return string
function M.event_id() end

return M
