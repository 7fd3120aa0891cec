---@meta sipeat.bulkhead
error "sipeat.bulkhead: this file describes the module to an editor; it is not run"

---Bulkhead: `sipeat.bulkhead { name = "crm", limit = 10 }(handler_or_client)`.
local M = {}

---@class sipeat.BulkheadOptions
---@field name string wrappers of one name share its places; the name alone refers to it
---@field limit integer calls at once
---@field queue? integer calls that may wait; more are refused with BULKHEAD_FULL; default 1000
---@field wait? string how long a call waits before it is refused; default "30s"
---@field only? string[] names of a client's functions that are meant; without it all of them

---@class sipeat.BulkheadStatus
---@field name string
---@field limit integer
---@field in_use integer
---@field waiting integer
---@field passed integer
---@field waited integer calls that had to wait
---@field rejected integer

---What is known of each bulkhead, by name.
---@return sipeat.BulkheadStatus[]
function M.status() end

return M
