---@meta sipeat.metrics
error("type stubs: require \"sipeat.metrics\" in a script instead")

--- Counters, gauges and histograms of a script, served at `/metrics` beside the program's own.
--- A name is made of `a` to `z`, `0` to `9` and `_`, and ends with its unit (`_seconds`, `_bytes`).
--- Each set of label values is a series of its own; beyond `limit` sets all others are counted as
--- one whose values are `other`. Declaring a metric again gives the same one.
local M = {}

---@class sipeat.metrics.CounterOptions
---@field limit? integer sets of label values; default 200

---@class sipeat.metrics.GaugeOptions
---@field limit? integer sets of label values; default 200
---@field merge? "last"|"sum"|"max" what the gauges of several workers make; default "last"

---@class sipeat.metrics.HistogramOptions
---@field limit? integer sets of label values; default 200
---@field buckets? number[] upper bounds, ascending, at most 32; those of durations without it

---@class sipeat.Counter
local Counter = {}

--- Adds n, or 1 when it is nil.
---@param n? number
---@param ... any values of the labels, in their order
function Counter:add(n, ...) end

--- Forgets the series of these values.
---@param ... any
function Counter:remove(...) end

--- The series of these values, for what counts often: `add` then takes n alone.
---@param ... any
---@return sipeat.Counter
function Counter:with(...) end

---@class sipeat.Gauge
local Gauge = {}

---@param value number
---@param ... any values of the labels, in their order
function Gauge:set(value, ...) end

--- Adds n, which may be negative; for a gauge with `merge = "sum"`.
---@param n? number
---@param ... any
function Gauge:add(n, ...) end

--- Forgets the series of these values.
---@param ... any
function Gauge:remove(...) end

--- The series of these values, for what is set often: `set` then takes the value alone.
---@param ... any
---@return sipeat.Gauge
function Gauge:with(...) end

---@class sipeat.Histogram
local Histogram = {}

---@param value number
---@param ... any values of the labels, in their order
function Histogram:observe(value, ...) end

--- As observe, and keeps the trace as the bucket's exemplar.
---@param trace_id string
---@param value number
---@param ... any
function Histogram:observe_traced(trace_id, value, ...) end

--- Forgets the series of these values.
---@param ... any
function Histogram:remove(...) end

--- The series of these values, for what is observed often: `observe` then takes the value alone.
---@param ... any
---@return sipeat.Histogram
function Histogram:with(...) end

--- Counts what happens. `_total` is added to the name when it is served.
---@param name string
---@param help string what it means, in one line
---@param labels? string[]
---@param options? sipeat.metrics.CounterOptions
---@return sipeat.Counter
function M.counter(name, help, labels, options) end

--- What is so now.
---@param name string
---@param help string
---@param labels? string[]
---@param options? sipeat.metrics.GaugeOptions
---@return sipeat.Gauge
function M.gauge(name, help, labels, options) end

--- How values are spread, durations in seconds above all.
---@param name string
---@param help string
---@param labels? string[]
---@param options? sipeat.metrics.HistogramOptions
---@return sipeat.Histogram
function M.histogram(name, help, labels, options) end

return M
