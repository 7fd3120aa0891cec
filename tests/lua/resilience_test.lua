--- sipeat.breaker, rate_limit, bulkhead, retry_budget and timeout, one by one and together.
local failure = require "sipeat.failure"
local guard = require "sipeat.guard"
local sipeat = require "sipeat"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local SOAK = sys.getenv "SIPEAT_SOAK" ~= nil

-- Runs f(clock) with a monotonic clock that stands still unless clock.ms is moved.
local function with_clock(f)
  local real, clock = sys.monotonic_ms, { ms = 1000000 }
  sys.monotonic_ms = function()
    return clock.ms
  end
  local ok, why = xpcall(f, debug.traceback, clock)
  sys.monotonic_ms = real
  if not ok then
    error(why, 0)
  end
end

local function status_of(module, name)
  for _, one in ipairs(module.status()) do
    if one.name == name then
      return one
    end
  end
end

local function spawn_all(count, f)
  local tasks = {}
  for i = 1, count do
    tasks[i] = task.spawn(f, i)
  end
  return tasks
end

local function join_all(tasks)
  for _, one in ipairs(tasks) do
    one:join()
  end
end

-- --- breaker ---

local function fails()
  return nil, "no answer", "ETIMEDOUT"
end

t.test("a breaker opens after its failures, says until when, closes after its probes", function()
  with_clock(function(clock)
    local calls, answer = 0, fails
    local f = sipeat.breaker { name = "b1", failures = 3, open = "30s", probes = 2 }(function(...)
      calls = calls + 1
      return answer(...)
    end)
    for _ = 1, 3 do
      t.eq({ f() }, { nil, "no answer", "ETIMEDOUT" })
    end
    local _, why, code = f()
    t.eq({ calls, code, why.code, why.kind }, { 3, "BREAKER_OPEN", "BREAKER_OPEN", "transient" })
    t.eq(why.retry_at_ms, clock.ms + 30000)
    t.has(why.message, "breaker b1 is open")
    t.eq(status_of(sipeat.breaker, "b1").open_for_ms, 30000)
    clock.ms = clock.ms + 29999
    t.eq(select(3, f()), "BREAKER_OPEN")
    clock.ms = clock.ms + 1
    answer = function(...)
      return "fine", ...
    end
    t.eq({ f(1, 2) }, { "fine", 1, 2 })
    t.eq(status_of(sipeat.breaker, "b1").state, "half_open")
    t.eq(f(), "fine")
    local status = status_of(sipeat.breaker, "b1")
    t.eq({ status.state, status.opened, status.rejected, status.failed, status.succeeded },
      { "closed", 1, 2, 3, 2 })
  end)
end)

t.test("a probe that fails opens it again; no more probes than allowed pass", function()
  with_clock(function(clock)
    local gate, calls = require("sipeat.core.task").signal(), 0
    local f = sipeat.breaker { name = "b2", failures = 1, open = "10s", probes = 2 }(function(ok)
      calls = calls + 1
      gate:wait()
      if ok then
        return true
      end
      error(failure.transient("down", "DOWN"))
    end)
    local function run(ok)
      return task.spawn(pcall, f, ok)
    end
    local first = run(false)
    task.sleep "1ms"
    gate:wake()
    first:join()
    clock.ms = clock.ms + 10000
    local tasks = { run(true), run(false), run(true), run(true) }
    task.sleep "1ms"
    t.eq(calls, 3)
    local _, _, refused = tasks[4]:join()
    t.eq({ refused.code, refused.retry_at_ms }, { "BREAKER_OPEN", clock.ms + 1000 })
    gate:wake()
    join_all(tasks)
    local status = status_of(sipeat.breaker, "b2")
    t.eq({ status.state, status.opened, status.rejected }, { "open", 2, 2 })
  end)
end)

t.test("probes without a verdict do not keep it half open for ever", function()
  with_clock(function(clock)
    local hang = false
    local f = sipeat.breaker { name = "b3", failures = 1, open = "10s" }(function()
      if hang then
        return task.sleep "1h"
      end
      return nil, "down"
    end)
    f()
    clock.ms, hang = clock.ms + 10000, true
    local stuck = task.spawn(f)
    task.sleep "1ms"
    clock.ms = clock.ms + 10000
    t.eq(select(3, f()), "BREAKER_OPEN")
    t.eq(status_of(sipeat.breaker, "b3").opened, 2)
    stuck:kill()
    stuck:join()
    t.eq(status_of(sipeat.breaker, "b3").ignored, 1)
  end)
end)

t.test("permanent failures, bugs, stops and refusals do not count", function()
  with_clock(function()
    local answer
    local f = sipeat.breaker { name = "b4", failures = 1 }(function()
      return answer()
    end)
    for _, one in ipairs {
      function() return nil, failure.permanent "wrong data" end,
      function() return nil, "wrong", "BAD_DATA" end,
      function() return nil, "stopped", "ECANCELED" end,
      function() return nil, guard.refusal("full", "RATE_LIMITED") end,
      function() return nil, "wrapped: full", "BULKHEAD_FULL" end,
      function() return false end,
      function() return nil end,
    } do
      answer = one
      f()
    end
    answer = function() error "a bug" end
    t.has(t.fails(f, "a bug"), "resilience_test.lua")
    answer = function() error(failure.permanent "raised") end
    t.fails(f, "raised")
    local status = status_of(sipeat.breaker, "b4")
    t.eq({ status.state, status.succeeded, status.failed, status.ignored }, { "closed", 5, 0, 4 })
    answer = function() return { status = 503, headers = {} } end
    t.eq(f().status, 503)
    t.eq(status_of(sipeat.breaker, "b4").state, "open")
  end)
end)

t.test("a ratio opens it by share, once there are calls enough; the window slides", function()
  with_clock(function(clock)
    local ok = true
    local f = sipeat.breaker { name = "b5", ratio = 0.5, min_calls = 10, window = "10s" }(function()
      return ok or nil, "down"
    end)
    ok = false
    for _ = 1, 9 do
      f()
    end
    clock.ms = clock.ms + 11000 -- forgotten
    ok = true
    for _ = 1, 6 do
      f()
    end
    ok = false
    for _ = 1, 5 do
      f()
    end
    t.eq(status_of(sipeat.breaker, "b5").state, "closed")
    f()
    t.eq(status_of(sipeat.breaker, "b5").state, "open")
  end)
end)

t.test("a service with half of its answers faults: what the breaker saves", function()
  with_clock(function(clock)
    local random, calls, total = 12345, 0, SOAK and 200000 or 20000
    local f = sipeat.breaker { name = "half", ratio = 0.4, min_calls = 20, window = "10s",
      open = "5s", probes = 3 }(function()
      calls = calls + 1
      random = (random * 1103515245 + 12345) & 0x7fffffff
      return random & 0x10000 == 0 or nil, "fault"
    end)
    for _ = 1, total do
      f()
      clock.ms = clock.ms + 10 -- 100 calls a second
    end
    local status = status_of(sipeat.breaker, "half")
    t.eq(status.succeeded + status.failed, calls)
    t.eq(status.rejected, total - calls)
    print(("         of %d calls %d were made (%d failed), %d saved, opened %d times"):format(
      total, calls, status.failed, status.rejected, status.opened))
    t.ok(status.rejected > 0.9 * total, "saved only " .. status.rejected)
  end)
end)

-- --- rate limit ---

t.test("a rate limit holds to 5% over thousands of calls, in order", function()
  local seconds, count = SOAK and 30 or 2, 0
  local order = {}
  local f = sipeat.rate_limit { name = "r1", rate = "1000/s", queue = 100 }(function(i)
    count = count + 1
    order[#order + 1] = i
    return true
  end)
  local from, stop = sys.monotonic_ms(), false
  local tasks = spawn_all(50, function(i)
    while not stop do
      f(i)
    end
  end)
  task.sleep(seconds .. "s")
  local passed, took_ms = count, sys.monotonic_ms() - from
  stop = true
  join_all(tasks)
  local wanted = took_ms * 1.0 -- 1000/s
  print(("         %d calls in %d ms"):format(passed, math.floor(took_ms)))
  local off = math.abs(passed - wanted)
  t.ok(off <= 0.05 * wanted + 50, ("%d instead of %.0f"):format(passed, wanted))
  for i = 151, passed - 100 do -- everybody had the same turn before
    t.eq(order[i], order[i - 50])
  end
end)

t.test("beyond its queue or its wait a call is refused at once, and told when to come", function()
  with_clock(function(clock)
    local f = sipeat.rate_limit { name = "r2", rate = "10/s", burst = 2, queue = 0 }(function(...)
      return "passed", ...
    end)
    t.eq({ f(nil, 3) }, { "passed", nil, 3 })
    t.eq(f(), "passed")
    local _, why, code = f()
    t.eq({ code, why.kind, why.retry_at_ms }, { "RATE_LIMITED", "transient", clock.ms + 100 })
    clock.ms = clock.ms + 100
    t.eq(f(), "passed")
    clock.ms = clock.ms + 100000
    t.eq({ f(), f() }, { "passed", "passed" })
    t.eq(f(), nil)
    local slow = sipeat.rate_limit { name = "r3", rate = "1/m", wait = "10s" }(f)
    clock.ms = clock.ms + 1000
    t.eq(slow(), "passed")
    t.eq(select(3, slow()), "RATE_LIMITED")
    t.eq(status_of(sipeat.rate_limit, "r2").rejected, 2)
  end)
end)

t.test("a waiting call that is stopped gives its turn to the next one", function()
  local f = sipeat.rate_limit { name = "r4", rate = "4/s", burst = 1 }(function(i)
    return i
  end)
  f(0)
  local tasks = spawn_all(3, f)
  task.sleep "5ms"
  tasks[1]:kill()
  t.eq(select(3, tasks[1]:join()), "ECANCELED")
  local from = sys.monotonic_ms()
  t.eq(tasks[2]:join(), 2)
  t.ok(sys.monotonic_ms() - from < 450, "the turn of the stopped one was lost")
  t.eq(tasks[3]:join(), 3)
  t.eq(status_of(sipeat.rate_limit, "r4").waiting, 0)
end)

-- --- bulkhead ---

t.test("a bulkhead holds its limit over thousands of calls", function()
  local running, most, calls, busy_ms, from = 0, 0, 0, 0, sys.monotonic_ms()
  local f = sipeat.bulkhead { name = "h1", limit = 20, queue = 1000 }(function()
    running, calls = running + 1, calls + 1
    most = math.max(most, running)
    local began = sys.monotonic_ms()
    task.sleep "10ms"
    running, busy_ms = running - 1, busy_ms + sys.monotonic_ms() - began
    if calls % 7 == 0 then
      error "sometimes it raises"
    end
    return true
  end)
  join_all(spawn_all(100, function()
    for _ = 1, SOAK and 500 or 40 do
      pcall(f)
    end
  end))
  t.eq(most, 20)
  t.eq(calls, SOAK and 50000 or 4000)
  local used = busy_ms / (sys.monotonic_ms() - from)
  print(("         %d calls, %.2f places used of 20"):format(calls, used))
  t.ok(used >= 19 and used <= 20, "places used: " .. used)
  local status = status_of(sipeat.bulkhead, "h1")
  t.eq({ status.in_use, status.waiting, status.passed }, { 0, 0, calls })
end)

t.test("beyond its queue or its wait a call is refused; a stopped one leaves its place", function()
  local gate = require("sipeat.core.task").signal()
  local f = sipeat.bulkhead { name = "h2", limit = 1, queue = 2, wait = "20ms" }(function(i)
    gate:wait()
    return i
  end)
  local tasks = spawn_all(3, f)
  task.sleep "1ms"
  local _, why, code = f(4)
  t.eq({ code, why.refused, why.kind }, { "BULKHEAD_FULL", true, "transient" })
  tasks[2]:kill()
  t.eq(select(3, tasks[2]:join()), "ECANCELED")
  t.eq(select(3, tasks[3]:join()), "BULKHEAD_FULL") -- waited too long
  gate:wake()
  t.eq(tasks[1]:join(), 1)
  local next_one = task.spawn(f, 5)
  task.sleep "1ms"
  gate:wake()
  t.eq(next_one:join(), 5)
  t.eq(status_of(sipeat.bulkhead, "h2").in_use, 0)
end)

-- --- retry budget ---

t.test("retries stay below their share while the service is down, and none is lost", function()
  with_clock(function(clock)
    local first, retries = 0, 0
    local f = sipeat.retry_budget { name = "q1", share = 0.1, min_per_second = 0.1 }(
      function(_, ctx)
        if ctx.attempt > 1 then
          retries = retries + 1
        else
          first = first + 1
        end
        return nil, "down", "ETIMEDOUT"
      end)
    local waiting, seconds = {}, SOAK and 600 or 120
    for second = 1, seconds do
      for _ = 1, 100 do
        f(nil, { attempt = 1 })
        waiting[#waiting + 1] = { attempt = 2, at = clock.ms }
      end
      for _, ctx in ipairs(waiting) do
        if ctx.at <= clock.ms then
          local _, why = f(nil, ctx)
          ctx.at = failure.is(why) and why.retry_at_ms or math.huge
          t.ok(ctx.at == math.huge or ctx.at > clock.ms and ctx.at <= clock.ms + 10000)
        end
      end
      clock.ms = clock.ms + 1000
      if second % 10 == 0 then
        task.sleep "1ms" -- the budget of a script that does not wait is real time
      end
      t.ok(retries <= 0.1 * first + 0.1 * (second + 10), ("%d of %d"):format(retries, first))
    end
    local status = status_of(sipeat.retry_budget, "q1")
    t.eq({ status.traffic, status.allowed }, { first, retries })
    t.ok(retries > 0.09 * first, "the budget was not used: " .. retries)
    print(("         %d first attempts, %d retries (%.1f%%), %d denied"):format(
      first, retries, 100 * retries / first, status.denied))
  end)
end)

t.test("without traffic a few retries go on; a retry option of observers waits for them", function()
  local attempt = require "sipeat.attempt"
  local plan = attempt.plan({
    attempts = 4, backoff = { "1ms" }, budget = { name = "q2", share = 0, min_per_second = 0.2 },
  }, "test")
  local calls, from = 0, sys.monotonic_ms()
  t.eq(attempt.run(plan, nil, function() calls = calls + 1 return nil, "down" end), nil)
  t.ok(sys.monotonic_ms() - from >= 100, "the third retry did not wait for the budget")
  t.eq(calls, 4)
end)

-- --- timeout, composition, clients ---

t.test("a timeout stops what takes too long, and is transparent otherwise", function()
  local stopped
  local f = sipeat.timeout("20ms", function(long, ...)
    if long then
      stopped = { task.sleep "1h" }
    end
    return ...
  end)
  t.eq({ f(false, 1, nil, 3) }, { 1, nil, 3 })
  t.eq({ f(true) }, { nil, "did not finish within 20ms", "ETIMEDOUT" })
  t.eq(stopped[3], "ECANCELED")
  t.fails(sipeat.timeout("1s", function() error "raised" end), "raised")
  t.fails(sipeat.timeout, "is no duration", "soon", print)
  t.fails(sipeat.timeout, "a function, or a table of functions", "1s", 5)
end)

t.test("a client's functions are wrapped, its methods get it, the rest is as it is", function()
  local client = { base = "x", calls = 0 }
  function client.get(what) return "got " .. what end
  function client:count() self.calls = self.calls + 1 return self.calls, rawequal(self, client) end
  local guarded = sipeat.breaker { name = "c1" }(sipeat.bulkhead { name = "c1", limit = 2 }(client))
  t.eq(guarded.get "it", "got it")
  t.eq({ guarded:count() }, { 1, true })
  t.eq({ guarded.base, guarded.nothing }, { "x" })
  t.eq(rawequal(guarded.get, guarded.get), true)
  t.eq(status_of(sipeat.bulkhead, "c1").passed, 2)
  local some = sipeat.rate_limit { name = "c2", rate = "1/h", burst = 1, queue = 0,
    only = { "get" } }(client)
  t.eq({ some.get "a", select(3, some.get "b") }, { "got a", "RATE_LIMITED" })
  t.eq({ some:count() }, { 2, true })
  t.fails(sipeat.breaker { name = "c3", only = { "got" } }, "no function got", client)
  local callable = setmetatable({ get = client.get }, { __call = function(_, x) return x end })
  local both = sipeat.timeout("1s", callable)
  t.eq({ both(5), both.get "c" }, { 5, "got c" })
end)

t.test("wrappers nest with each other and with patterns", function()
  local down = true
  local service = sipeat.breaker { name = "n1", failures = 2, open = "1h" }(
    sipeat.timeout("1s", sipeat.rate_limit { name = "n1", rate = "1000/s" }(function()
      return not down or nil, "down"
    end)))
  local both = sipeat.observers { a = service, b = service }
  local event = { id = "e", data = {} }
  local ctx = { memory = {}, log = sipeat.log.new "test", final = false }
  local _, why = both(event, ctx)
  t.eq({ why.code, why.refused or false }, { "OBSERVERS_FAILED", false })
  _, why = both(event, ctx)
  t.eq(why.refused, true)
  t.ok(why.retry_at_ms > sys.monotonic_ms() + 3000000)
  local chain = sipeat.chain "paid" { { "pay", run = service, effect = "at_most_once" } }
  _, why = chain(event, ctx)
  t.eq({ why.code, why.refused, why.kind }, { "BREAKER_OPEN", true, "transient" })
  t.eq(why.message, "chain paid: step pay: " .. why.message:match "breaker.*")
  local chosen = sipeat.strategy(function() return "s" end, { s = service })
  _, why = chosen(event, { memory = {}, log = ctx.log })
  t.eq(("call: " .. why):sub(1, 29), "call: breaker n1 is open: not")
end)

-- --- names and reloads ---

t.test("wrong options throw at the script's line", function()
  t.fails(sipeat.breaker, "did you mean name?", { nam = "x" })
  t.fails(sipeat.breaker, "name is required", {})
  t.fails(sipeat.rate_limit, "rate is required", { name = "unknown" })
  t.fails(sipeat.rate_limit, "a number and a time", { name = "x", rate = "fast" })
  t.fails(sipeat.rate_limit, "a number and a time", { name = "x", rate = "0/s" })
  t.fails(sipeat.bulkhead, "limit is required", { name = "x" })
  t.fails(sipeat.retry_budget, "share must be at least 0", { name = "x", share = -1 })
  t.has(t.fails(function()
    sipeat.breaker { name = "y", opens = "1s" }
  end), "resilience_test.lua:")
  sipeat.bulkhead { name = "y", limit = 1 }
  sipeat.bulkhead { name = "y", limit = 1 }
  t.has(t.fails(function()
    sipeat.bulkhead { name = "y", limit = 2 }
  end, "y is declared with other options already"), "resilience_test.lua:")
end)

t.test("a reload keeps the state, applies other options; a refused one does nothing", function()
  local function load(f, refuse)
    t[refuse and "fails" or "ok"](refuse and t.flows or pcall(t.flows, f), refuse and "refused", f)
  end
  local old
  load(function()
    old = sipeat.bulkhead { name = "kept", limit = 1, queue = 0 }(task.sleep)
    sipeat.bulkhead { name = "gone", limit = 1 }
  end)
  local running = task.spawn(old, "1h")
  task.sleep "1ms"
  load(function()
    sipeat.bulkhead { name = "kept", limit = 2, queue = 0 }
    sipeat.bulkhead { name = "never", limit = 2 }
    error "refused"
  end, true)
  t.eq({ status_of(sipeat.bulkhead, "kept").limit, status_of(sipeat.bulkhead, "never") }, { 1 })
  t.eq(select(3, old "1ms"), "BULKHEAD_FULL")
  local new
  load(function()
    new = sipeat.bulkhead { name = "kept" }(task.sleep)
    sipeat.bulkhead { name = "kept", limit = 2, queue = 0 }
    t.eq(select(3, new "1ms"), "BULKHEAD_FULL") -- not before it is taken over
  end)
  t.eq(new "1ms", true)
  local status = status_of(sipeat.bulkhead, "kept")
  t.eq({ status.limit, status.in_use, status.passed }, { 2, 1, 2 })
  t.eq(status_of(sipeat.bulkhead, "gone"), nil)
  running:kill()
  running:join()
  t.eq(status_of(sipeat.bulkhead, "kept").in_use, 0)
end)

t.test("all of it is in the metrics", function()
  local page = {}
  function page:family(name, kind, help, samples)
    t.ok(#help > 0)
    for _, sample in ipairs(samples) do
      self[("%s %s %s"):format(kind, name, sample[1].name)] = sample[2]
    end
  end
  sipeat.breaker { name = "m", failures = 1 }(fails)()
  t.eq(sipeat.breaker { name = "m" }(fails)(), nil)
  sipeat.rate_limit { name = "m", rate = "1/h", burst = 3 }(task.sleep) "1ms"
  sipeat.retry_budget { name = "m", min_per_second = 2 }(print)()
  local running = task.spawn(sipeat.bulkhead { name = "m", limit = 1 }(task.sleep), "1h")
  task.sleep "1ms"
  require "sipeat.guard_metrics"(page)
  running:kill()
  t.eq({
    page["gauge sipeat_breaker_state m"], page["counter sipeat_breaker_opened m"],
    page["counter sipeat_breaker_rejected m"], page["counter sipeat_breaker_failed m"],
    page["gauge sipeat_rate_limit_tokens m"], page["counter sipeat_rate_limit_passed m"],
    page["gauge sipeat_bulkhead_in_use m"], page["gauge sipeat_bulkhead_waiting m"],
    page["counter sipeat_retry_budget_traffic m"], page["gauge sipeat_retry_budget_left m"],
  }, { 2, 1, 1, 1, 2, 1, 1, 0, 1, 20 })
end)

t.test("the example of the documentation loads", function()
  t.broker()
  local text = t.ok(sys.read_file(sys.getenv "SIPEAT_SOURCE" .. "/docs/resilience.md"))
  t.flows(t.ok(load(text:match "```lua\n(.-)```")))
  t.ok(status_of(sipeat.retry_budget, "orders"))
  t.flows(function() end)
end)
