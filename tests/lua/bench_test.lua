-- The numbers of a hardware test's series, and its report.
local html = require "sipeat.command_bench_html"
local junit = require "sipeat.command_junit"
local stats = require "sipeat.bench_stats"
local t = require "sipeat.luatest"

local function series(count, f)
  local s = stats.series("times", "ms")
  for i = 1, count do
    s:add(f(i))
  end
  return s
end

t.test("percentiles are values that were measured", function()
  local s = series(100, function(i)
    return 101 - i
  end):summary()
  t.eq({ s.count, s.min, s.p50, s.p95, s.p99, s.max, s.mean }, { 100, 1, 50, 95, 99, 100, 50.5 })
  t.eq(stats.series("none"):summary(), { count = 0 })
end)

t.test("a plot has at most a thousand points, and the outliers are among them", function()
  local points = series(50000, function(i)
    return i == 31234 and 9999 or i % 7
  end):points()
  t.ok(#points <= 1000, #points)
  local found, last = false, 0
  for _, point in ipairs(points) do
    t.ok(point[1] > last)
    last = point[1]
    found = found or point[2] == 9999 and point[1] == 31234
  end
  t.ok(found, "the outlier is lost")
end)

t.test("a histogram counts every value once", function()
  local sum = 0
  for _, bin in ipairs(series(1000, function(i)
    return i % 10
  end):histogram()) do
    sum = sum + bin[3]
  end
  t.eq(sum, 1000)
  t.eq(#series(5, function()
    return 3
  end):histogram(), 1)
end)

t.test("limits name what is beyond them", function()
  local summary = { count = 3, p99 = 60, max = 70, min = 1 }
  t.eq(stats.beyond(summary, { p99 = 50 }, nil, "ms"), "p99 is 60 ms, at most 50 ms")
  t.eq(stats.beyond(summary, { p99 = 60 }, { min = 1 }), nil)
  t.has(stats.beyond({ count = 0 }, { p99 = 60 }, nil), "p99 is nothing")
end)

local function report(name)
  local s = series(3, function(i)
    return i
  end)
  return {
    name = name, file = "x.lua", started = "2024-01-01T00:00:00.000Z", ms = 5, version = "1",
    outcome = "failed", devices = { {
      name = "#1", port = "sim", outcome = "failed", ms = 4, info = {}, message = "a: b",
      phases = { {
        name = "first", outcome = "failed", attempts = 2, ms = 3, message = "it broke",
        notes = { "a <note>" },
        steps = { { name = "volts", value = 3.5, unit = "V", min = 1, max = 5, limits = "1 to 5 V",
          outcome = "passed", attempts = 1, ms = 1 } },
        series = { { name = "times", unit = "ms", summary = s:summary(), points = s:points(),
          histogram = s:histogram(), outcome = "passed", at_most = { max = 9 } } },
      } },
    } },
  }
end

t.test("the report is one file: nothing in it is fetched, nothing breaks out of it", function()
  local page = html.page(report "<b>100%1 {{css}}</script>")
  t.has(page, "&lt;b&gt;100%1 {{css}}&lt;/script&gt;")
  t.ok(not page:find("<b>100", 1, true))
  t.has(page, "a &lt;note&gt;")
  t.has(page, 'data-kind="histogram"')
  t.has(page, "3.5 V")
  t.has(page, "Chart.js v")
  t.has(page, "Permission is hereby granted")
  t.ok(not page:find 'src="http' and not page:find '<link')
end)

t.test("text inside of the plots cannot end their script", function()
  local one = report "plan"
  one.devices[1].phases[1].series[1].name = "</script><script>alert(1)"
  local page = html.page(one)
  t.ok(not page:find("</script><script>alert", 1, true))
end)

t.test("JUnit counts what failed and what was skipped", function()
  local text = junit.document { { name = "a & b",
    { name = "one", class = "c", file = "f", ms = 1500, status = "passed" },
    { name = "two", class = "c", file = "f", ms = 0, status = "failed", message = "x<y\nz" },
    { name = "three", class = "c", file = "f", ms = 0, status = "skipped", message = "no" },
  } }
  t.has(text, '<testsuite name="a &amp; b" tests="3" failures="1" skipped="1">')
  t.has(text, 'time="1.500"/>')
  t.has(text, '<failure message="x&lt;y">x&lt;y\nz')
  t.has(text, '<skipped message="no"/>')
end)
