---@meta sipeat.breaker
error "sipeat.breaker: this file describes the module to an editor; it is not run"

---Circuit breaker: `sipeat.breaker { name = "stripe" }(handler_or_client)`.
local M = {}

---@class sipeat.BreakerOptions
---@field name string wrappers of one name share one state; the name alone refers to it
---@field failures? integer opens after so many within the window; 5 without this and `ratio`
---@field ratio? number opens when this share of the window's calls failed, as 0.5
---@field min_calls? integer calls that `ratio` needs to judge by; default 10
---@field window? string what counts; default "10s"
---@field open? string how long calls fail at once; default "30s"
---@field probes? integer calls that pass when that time is up; all must succeed; default 1
---@field failed? fun(...): boolean is that answer a failure? Without it: status 500+, 429
---@field only? string[] names of a client's functions that are meant; without it all of them

---@class sipeat.BreakerStatus
---@field name string
---@field state "closed"|"half_open"|"open"
---@field opened integer times
---@field rejected integer calls that it saved
---@field succeeded integer
---@field failed integer
---@field ignored integer calls that say nothing of the service: stopped, refused, a script's error
---@field open_for_ms? integer while it is open

---What is known of each breaker, by name.
---@return sipeat.BreakerStatus[]
function M.status() end

return M
