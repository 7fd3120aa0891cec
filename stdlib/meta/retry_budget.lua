---@meta sipeat.retry_budget
error "sipeat.retry_budget: this file describes the module to an editor; it is not run"

---Retry budget: `sipeat.retry_budget { name = "stripe", share = 0.1 }(handler_or_client)`, or
---`retry = { budget = "stripe" }` in a flow, an observer or a step.
local M = {}

---@class sipeat.RetryBudgetOptions
---@field name string retries of one name share one budget; the name alone refers to it
---@field share? number retries for each first attempt, over ten seconds; default 0.1
---@field min_per_second? number retries allowed whatever the traffic; default 1
---@field only? string[] names of a client's functions that are meant; without it all of them

---@class sipeat.RetryBudgetStatus
---@field name string
---@field share number
---@field traffic integer first attempts
---@field allowed integer retries
---@field denied integer times that a retry had to wait
---@field left integer retries that are allowed now

---What is known of each budget, by name.
---@return sipeat.RetryBudgetStatus[]
function M.status() end

---The budget of a retry option: its name, or its options. Used by flows, observers and steps.
---@param budget string|sipeat.RetryBudgetOptions
---@param level integer the line to blame, as `error` counts
---@return table
function M.of(budget, level) end

return M
