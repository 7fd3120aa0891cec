--- The states of breakers, rate limits, bulkheads and retry budgets as metrics.
-- Families of one kind of wrapper: { name, kind, help, field of its status or a function }.
local GUARDS = {
  { module = "sipeat.breaker", families = {
    { "breaker_state", "gauge", "0 closed, 1 half-open, 2 open.", function(one)
      return ({ closed = 0, half_open = 1, open = 2 })[one.state]
    end },
    { "breaker_opened", "counter", "Times that it opened.", "opened" },
    { "breaker_rejected", "counter", "Calls that it saved: not made, failed at once.", "rejected" },
    { "breaker_succeeded", "counter", "Calls that succeeded.", "succeeded" },
    { "breaker_failed", "counter", "Calls that failed and count.", "failed" },
  } },
  { module = "sipeat.rate_limit", families = {
    { "rate_limit_tokens", "gauge", "Calls that may be made at once.", "tokens" },
    { "rate_limit_waiting", "gauge", "Calls that wait for their turn.", "waiting" },
    { "rate_limit_passed", "counter", "Calls made.", "passed" },
    { "rate_limit_rejected", "counter", "Calls refused.", "rejected" },
  } },
  { module = "sipeat.bulkhead", families = {
    { "bulkhead_in_use", "gauge", "Calls under way.", "in_use" },
    { "bulkhead_waiting", "gauge", "Calls that wait for their turn.", "waiting" },
    { "bulkhead_passed", "counter", "Calls made.", "passed" },
    { "bulkhead_rejected", "counter", "Calls refused.", "rejected" },
  } },
  { module = "sipeat.retry_budget", families = {
    { "retry_budget_traffic", "counter", "First attempts.", "traffic" },
    { "retry_budget_allowed", "counter", "Retries allowed.", "allowed" },
    { "retry_budget_denied", "counter", "Times that a retry had to wait.", "denied" },
    { "retry_budget_left", "gauge", "Retries allowed now.", "left" },
  } },
}

--- Writes them on a page of metrics.
return function(page)
  for _, guard in ipairs(GUARDS) do
    local status = require(guard.module).status()
    for _, family in ipairs(#status > 0 and guard.families or {}) do
      local samples, value = {}, family[4]
      for i, one in ipairs(status) do
        samples[i] = { { name = one.name }, type(value) == "string" and one[value] or value(one) }
      end
      page:family("sipeat_" .. family[1], family[2], family[3], samples)
    end
  end
end
