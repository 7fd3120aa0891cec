---@meta sipeat.background
error "sipeat.background: this file describes the module to an editor; it is not run"

---Timers and loops of a script, beside its events.
---@class sipeat.background
local M = {}

---@class sipeat.Job
---@field stopped boolean? it is to end
local Job = {}

---Waits inside of a job; nil when the job is to stop.
---@param ms integer
---@return true?
function Job:rest(ms) end

---Lets it end after what it is doing.
function Job:stop() end

---Waits until it has ended.
function Job:join() end

---@param interval string as in "5m": between the end of a call and the start of the next
---@param f function
---@return sipeat.Job
function M.every(interval, f) end

---@param name string for the log
---@param f fun(job: sipeat.Job)
---@return sipeat.Job
function M.run(name, f) end

---A version of the script begins to load.
function M.begin() end

---It has loaded: its jobs start, those of the version before stop.
function M.commit() end

---It has not: its jobs are forgotten.
function M.rollback() end

---Every job is to stop.
function M.stop() end

return M
