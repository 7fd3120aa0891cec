--- sipeat.metrics: names, kinds, limits, and the text that is served.
local core = require "sipeat.core.metrics"
local metrics = require "sipeat.metrics"
local t = require "sipeat.luatest"

local function lines_of(name, format)
  local lines = {}
  for line in core.text(format or "openmetrics"):gmatch "[^\n]+" do
    if line:find(name, 1, true) then
      lines[#lines + 1] = line
    end
  end
  return lines
end

t.test("a counter counts by its labels, in both formats", function()
  local orders = metrics.counter("t_orders", "Orders taken.", { "shop", "ok" })
  orders:add(1, "north", true)
  orders:add(nil, "north", true)
  orders:add(2.5, "south", false)
  t.eq(lines_of "t_orders", {
    "# TYPE t_orders counter", "# HELP t_orders Orders taken.",
    't_orders_total{shop="north",ok="true"} 2', 't_orders_total{shop="south",ok="false"} 2.5',
  })
  t.eq(lines_of("t_orders", "prometheus")[1], "# TYPE t_orders_total counter")
  orders:remove("south", false)
  t.eq(#lines_of "t_orders", 3)
  t.fails(function()
    orders:add(-1, "north", true)
  end, "a counter only grows")
  t.fails(function()
    orders:add(1, "north")
  end, "it has 2 labels, got 1 values")
  t.fails(function()
    orders:set(1, "north", true)
  end, "a counter has no set")
end)

t.test("declaring it again gives the same one, with _total or without", function()
  metrics.counter("t_again_total", "Once."):add(3)
  metrics.counter("t_again", "Twice."):add()
  t.eq(lines_of("t_again")[3], "t_again_total 4")
  t.fails(function()
    metrics.gauge("t_again", "Not that.")
  end, "declared with another kind")
  t.fails(function()
    metrics.counter("t_again", "Not that.", { "shop" })
  end, "take another name")
end)

t.test("a gauge is what was set last; sums are added to", function()
  local level = metrics.gauge("t_level_celsius", "Of the boiler.")
  level:set(90)
  level:set(-0.5)
  t.eq(lines_of("t_level_celsius")[3], "t_level_celsius -0.5")
  level:set(1 / 0)
  t.eq(lines_of("t_level_celsius")[3], "t_level_celsius +Inf")
  t.fails(function()
    level:add(1)
  end, 'merge = "sum"')
  local waiting = metrics.gauge("t_waiting", "Cups.", nil, { merge = "sum" })
  waiting:add(3)
  waiting:add(-1)
  t.eq(lines_of("t_waiting")[3], "t_waiting 2")
end)

t.test("a histogram counts in its buckets, and keeps a trace for each", function()
  local size = metrics.histogram("t_size_bytes", "Of a body.", { "kind" },
    { buckets = { 10, 100 } })
  size:observe(10, "a")
  size:observe(11, "a")
  size:observe_traced("4bf92f3577b34da6a3ce929d0e0e4736", 1e6, "a")
  local lines = lines_of "t_size_bytes"
  t.eq(lines[3], 't_size_bytes_bucket{kind="a",le="10"} 1')
  t.eq(lines[4], 't_size_bytes_bucket{kind="a",le="100"} 2')
  local at = lines[5]:match(
    '^t_size_bytes_bucket{kind="a",le="%+Inf"} 3 # '
      .. '{trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 1000000 (%d+%.%d+)$')
  t.ok(at, lines[5])
  t.ok(math.abs(tonumber(at) - require("sipeat.core.sys").now_ms() / 1000) < 100, at)
  t.eq(lines[6], 't_size_bytes_count{kind="a"} 3')
  t.eq(lines[7], 't_size_bytes_sum{kind="a"} 1000021')
  t.ok(not lines_of("t_size_bytes", "prometheus")[5]:find "#")
  size:observe_traced("no trace", 1e6, "a") -- what is no id is left out
  t.ok(not lines_of("t_size_bytes")[5]:find "trace_id")
  t.fails(function()
    size:observe(0 / 0, "a")
  end, "not a number")
end)

t.test("label values without end go to one set, and are counted", function()
  local by_user = metrics.counter("t_users", "By name.", { "name" }, { limit = 5 })
  for i = 1, 100 do
    by_user:add(1, "user-" .. i)
  end
  by_user:add(1, "user-1")
  local lines = lines_of "t_users_total{"
  t.eq(#lines, 6)
  t.eq(lines[1], 't_users_total{name="user-1"} 2')
  t.eq(lines[6], 't_users_total{name="other"} 95')
  t.eq(lines_of 'metric="t_users"', { 'sipeat_metrics_overflow_total{metric="t_users"} 95' })
end)

t.test("values of labels are escaped, cut and made text", function()
  local odd = metrics.counter("t_odd", "A \\ and\na line.", { "v" })
  odd:add(1, 'a"b\\c\nd')
  odd:add(1, ("x"):rep(1000))
  odd:add(1, "bad \xff\0")
  odd:add(1, "bad \xfe\0")
  t.eq(lines_of "t_odd", {
    "# TYPE t_odd counter", [[# HELP t_odd A \\ and\na line.]],
    [[t_odd_total{v="a\"b\\c\nd"} 1]], ('t_odd_total{v="%s"} 1'):format(("x"):rep(128)),
    't_odd_total{v="bad ??"} 2',
  })
end)

t.test("bad names are refused where they are written", function()
  local function refused(part, ...)
    local why = t.fails(metrics.counter, part, ...)
    t.has(why, "metric")
  end
  for _, name in ipairs { "", "Orders", "1st", "a-b", "ä", ("x"):rep(200), "x\n# EOF" } do
    refused("a name is made of", name, "x")
  end
  refused("is added by the format", "t_bucket", "x")
  t.fails(metrics.gauge, "is added by the format", "t_total", "x")
  for _, label in ipairs { "le", "__name__", "Big", "a b", "" } do
    refused("label", "t_label", "x", { label })
  end
  refused("stands once", "t_label", "x", { "a", "a" })
  refused("a list of names", "t_label", "x", { shop = "north" })
  refused("at most 8 labels", "t_label", "x", { "a", "b", "c", "d", "e", "f", "g", "h", "i" })
  refused("unknown option", "t_label", "x", {}, { limits = 3 })
  t.fails(metrics.histogram, "ascending", "t_h", "x", {}, { buckets = { 2, 1 } })
  t.fails(metrics.histogram, "buckets", "t_h", "x", {}, { buckets = { 0 / 0 } })
end)
