--- Counters, gauges and histograms of a script, served at /metrics beside the program's own.
--
-- They are kept in C and outlive a reload: declaring a metric again gives the one that is there.
local core = require "sipeat.core.metrics"
local opts = require "sipeat.opts"

local M = {}

local LIMIT = { "integer", default = 200, min = 1, max = 10000 }
local COUNTER = opts.spec("sipeat.metrics.counter", { limit = LIMIT })
local GAUGE = opts.spec("sipeat.metrics.gauge", {
  limit = LIMIT,
  merge = { "string", default = "last", enum = { "last", "sum", "max" } },
})
local HISTOGRAM = opts.spec("sipeat.metrics.histogram", { limit = LIMIT, buckets = { "table" } })

-- Labels and options, each of which may be left out.
local function declare(kind, spec, name, help, labels, options)
  if type(name) ~= "string" or type(help) ~= "string" or help == "" then
    error(("metrics.%s takes a name and what it means"):format(kind), 3)
  elseif labels ~= nil and type(labels) ~= "table" then
    error(("metrics.%s: labels are a list of names, got %s"):format(kind, opts.show(labels)), 3)
  end
  for key in pairs(labels or {}) do
    if math.type(key) ~= "integer" then
      local why = "metrics.%s: labels are a list of names, as in { \"machine\" }; got the key %s"
      error(why:format(kind, opts.show(key)), 3)
    end
  end
  local metric, message = core.declare(kind, name, help, labels or {}, spec(options, 3))
  if not metric then
    error(message, 3)
  end
  return metric
end

--- Counts what happens: counter:add(n?, label values…).
function M.counter(name, help, labels, options)
  return declare("counter", COUNTER, name, help, labels, options)
end

--- What is so now: gauge:set(value, label values…).
function M.gauge(name, help, labels, options)
  return declare("gauge", GAUGE, name, help, labels, options)
end

--- How values are spread, durations in seconds above all: histogram:observe(value, label values…).
function M.histogram(name, help, labels, options)
  return declare("histogram", HISTOGRAM, name, help, labels, options)
end

return M
