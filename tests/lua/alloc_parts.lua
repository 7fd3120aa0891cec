--- Each allocation of these parts fails once, and with it whatever called them: they say so or go
--- on, keep nothing, and work the next time. Leaks and broken memory show with sanitizers.
local background = require "sipeat.background"
local base = require "postgres.base"
local crypto = require "sipeat.core.crypto"
local env = require "sipeat.env"
local http = require "sipeat.http"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local metrics = require "sipeat.metrics"
local metrics_core = require "sipeat.core.metrics"
local permissions = require "sipeat.permissions"
local seal = require "sipeat.seal"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local trace = require "sipeat.trace"
local trace_core = require "sipeat.core.trace"
local tracing = require "sipeat.tracing"

local MOST = 3000 -- allocations of one part: more would be one that never ends
local QUICK = os.getenv "SIPEAT_SOAK" == nil

t.broker()

-- Runs f() with its first allocation failing, its second one, and so on until none fails. `step`:
-- so many are passed over each time in the quick tier.
local function fail_each(name, f, step, more)
  local began = task.monotonic_ms()
  local number, failed, refused = 0, true, 0
  while failed and number < MOST do
    number = number + (QUICK and number > 20 and step or 1)
    t.arm(number, more)
    local ok = pcall(f)
    failed = t.disarm()
    refused = refused + (ok and 0 or 1)
  end
  t.ok(number < MOST, number)
  t.ok(number > 1, "no allocation was reached")
  f()
  print(("%s: %d allocations, each with %d behind it: %d refusals, %d ms"):format(name, number - 1,
    more, refused, math.floor(task.monotonic_ms() - began)))
end

local function sweep(name, f, step)
  t.test(name, function()
    f() -- fills pools and caches
    f()
    fail_each(name, f, step, 0)
    fail_each(name, f, step, 2) -- Lua collects its garbage and tries once more: in vain
  end)
end

local made = 0

sweep("metrics", function()
  made = made + 1
  local counter = metrics.counter("sweep_orders", "Orders.", { "shop" })
  counter:add(1, "north" .. made)
  local times = metrics.histogram("sweep_seconds", "Times.", { "shop" },
    { buckets = { 0.1, 1, 10 } })
  times:observe(0.5, "north" .. made)
  t.has(metrics_core.text "openmetrics", "sweep_orders_total")
  t.has(metrics_core.text "prometheus", "sweep_seconds_bucket")
  counter:remove("north" .. made)
  times:remove("north" .. made)
end, 3)

sweep("traces", function()
  local taken = {}
  trace_core.start(1, true)
  tracing.on = true
  tracing.export(function(span)
    taken[#taken + 1] = span
  end)
  local ok, err = pcall(trace.span, "outer", { n = 1 }, function(span)
    span:set("done", true)
    trace.span("inner", function(inside)
      inside:event("seen", { x = "y" })
    end)
  end)
  tracing.set()
  tracing.export(nil)
  tracing.on = false
  trace_core.stop()
  assert(ok, err)
  t.eq(#taken, 2)
end, 2)

sweep("secrets", function()
  t.eq(env.reveal(assert(env.secret "SWEEP_SECRET")), "from a file")
  t.eq(env.secret "SWEEP_NONE", nil)
end, 1)

sweep("sealed texts", function()
  local closing, opening = crypto.seal_keys()
  local sealed = crypto.seal(closing, "text")
  t.eq(crypto.unseal(opening, sealed), "text")
  seal.configure { keys = "" }
  t.eq(select(3, seal.close "x"), "NO_KEY")
end, 1)

sweep("permissions", function()
  t.flows(function()
    permissions { hosts = { "api.example" }, topics = { "a", "b-*" }, paths = { "/tmp/sweep" } }
    t.fails(http.get, "is not permitted", "https://evil.example/")
    t.ok(not pcall(permissions, {}))
  end)
  t.flows(function() end) -- and everything may be reached again
end, 2)

for n = 1, 20 do
  t.ok(kafka.producer():send { topic = "sweep-numbers", key = "k" .. n, value = "seven " .. n })
end

sweep("a sieve and jobs of admin", function()
  t.ok(kafka.admin():describe_topic "sweep-numbers")
  local reader <close> = t.ok(kafka.reader {
    topic = "sweep-numbers", sieve = { { "key", "k7" }, { "text", "seven" } },
  })
  while true do
    local record, message, code = reader:next "10s"
    if code == "END" then
      break
    end
    assert(record, message)
  end
end, 7)

sweep("PostgreSQL", function()
  local db <close> = assert(base.open { max_connections = 1, wait = "30s" })
  local rows = assert(db:query("SELECT ?::int AS n, ?::text AS s, ?::int[] AS a, ?::jsonb AS j",
    1, "x", require("sipeat.postgres").array { 1, json.null }, '{"a":[1]}'))
  t.eq({ rows[1].n, rows[1].s }, { 1, "x" })
  local tx <close> = setmetatable({}, { __close = function(box)
    if box.tx then
      box.tx:close()
    end
  end })
  tx.tx = assert(db.handle:begin "BEGIN")
  assert(tx.tx:run("batch", {
    table.pack("CREATE TEMP TABLE sweep (n int)"), table.pack("INSERT INTO sweep VALUES (?)", 1),
    table.pack("INSERT INTO sweep VALUES (?)", 2),
  }))
  assert(tx.tx:rollback())
  local _, _, code = db:query "SELECT nonsense FROM nowhere"
  assert(code == "SQL_ERROR" or code == "SQL_NO_TABLE" or code, code)
end, 9)

background.stop()
