--- What flows count of events that did not end well at once: M.retries and M.parked, by group.
local metrics = require "sipeat.metrics"

local LIMIT = { limit = 1000 } -- groups

return {
  retries = metrics.counter("sipeat_flow_retries", "Attempts that failed and are repeated.",
    { "group" }, LIMIT),
  parked = metrics.counter("sipeat_flow_parked", "Events parked for a person to decide on.",
    { "group" }, LIMIT),
}
