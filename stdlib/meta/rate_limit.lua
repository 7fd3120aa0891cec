---@meta sipeat.rate_limit
error "sipeat.rate_limit: this file describes the module to an editor; it is not run"

---Rate limit: `sipeat.rate_limit { name = "crm", rate = "100/s" }(handler_or_client)`.
local M = {}

---@class sipeat.RateLimitOptions
---@field name string wrappers of one name share one bucket; the name alone refers to it
---@field rate string calls and time, as "100/s", "5/m" or "10/500ms"
---@field burst? integer calls at once after a pause; without it what the rate gives in 50 ms
---@field queue? integer calls that may wait; more are refused with RATE_LIMITED; default 1000
---@field wait? string a call that would wait for longer is refused at once; default "30s"
---@field only? string[] names of a client's functions that are meant; without it all of them

---@class sipeat.RateLimitStatus
---@field name string
---@field rate string
---@field tokens integer calls that may be made at once
---@field waiting integer
---@field passed integer
---@field waited integer calls that had to wait
---@field rejected integer

---What is known of each rate limit, by name.
---@return sipeat.RateLimitStatus[]
function M.status() end

---Calls per millisecond of a rate.
---@param rate string as "100/s", "5/m" or "10/500ms"
---@return number? per_ms
---@return string? message
---@return string? code "EINVAL"
function M.per_ms(rate) end

return M
