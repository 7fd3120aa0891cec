--- sipeat top: what it reads of a page of metrics, and works out of two.
local t = require "sipeat.luatest"
local tap = require "sipeat.command_tap_line"
local top = require "sipeat.command_top_figures"

local PAGE = [[
# TYPE sipeat_ready gauge
sipeat_ready 1
sipeat_flow_finished_total{group="a \"b\" \\ {c}"} %d
sipeat_flow_running{group="a \"b\" \\ {c}"} 3
sipeat_partition_lag{group="a \"b\" \\ {c}",topic="t",partition="0"} 4
sipeat_partition_lag{group="a \"b\" \\ {c}",topic="t",partition="1"} 5
DURATION_bucket{messaging_consumer_group_name="g",cloudevents_event_type="x",le="0.1"} %d
DURATION_bucket{messaging_consumer_group_name="g",cloudevents_event_type="x",le="+Inf"} %d
DURATION_count{messaging_consumer_group_name="g",cloudevents_event_type="x"} %d
DURATION_sum{messaging_consumer_group_name="g",cloudevents_event_type="x"} %s
]]
PAGE = PAGE:gsub("DURATION", "messaging_process_duration_seconds")

t.test("rates, lag and slow handlers are worked out of two pages", function()
  local before = top.parse(PAGE:format(100, 10, 10, 10, "0.5"))
  local now = top.parse(PAGE:format(150, 15, 20, 20, "10.5"))
  local state = top.between(before, now, 2)
  t.eq(state.ready, true)
  t.eq(#state.flows, 1)
  local flow = state.flows[1]
  t.eq({ flow.group, flow.rate, flow.running, flow.lag, flow.waiting },
    { 'a "b" \\ {c}', 25.0, 3, 9, 0 })
  local slow = state.slow[1]
  t.eq({ slow.group, slow.type, slow.rate, slow.mean_ms, slow.p50_ms, slow.p99_ms },
    { "g", "x", 5.0, 1000.0, 100.0, math.huge })
  t.eq(#top.between(now, now, 1).slow, 0)
end)

t.test("an attempt is a line without control bytes", function()
  local line = tap.line {
    at_ms = 0, ms = 1.5, outcome = "dead", group = "g", type = "x\27[2J", topic = "t",
    partition = 1, offset = 7, id = "e-1", key = "k\n", why = "broken\r",
  }
  t.has(line, "00:00:00.000  DEAD ")
  t.has(line, "x\\x1b[2J")
  t.has(line, "e-1  t/1/7  key k\\x0a  broken\\x0d")
end)
