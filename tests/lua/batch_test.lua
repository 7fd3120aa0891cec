--- sipeat.batch: nothing waits for the service behind it; nothing is lost without being counted.
local answer = require "sipeat.answer"
local batch = require "sipeat.batch"
local failure = require "sipeat.failure"
local http = require "sipeat.http"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local made = 0

-- A batch of a name of its own, and the calls of its `send`: each answers with the next of
-- `answers`, a function or a value, and then with true.
local function fresh(options, answers)
  made = made + 1
  local calls, told = {}, task.channel(1000)
  local o = {
    name = "test-" .. made, flush = "1ms", retry = { attempts = 3, backoff = { "1ms", "5ms" } },
  }
  function o.send(items)
    calls[#calls + 1] = { items = table.move(items, 1, #items, 1, {}), at = sys.monotonic_ms() }
    told:send(#calls)
    local one = table.remove(answers or {}, 1)
    if type(one) == "function" then
      return one(items)
    elseif one ~= nil then
      return nil, one
    end
    return true
  end
  for key, value in pairs(options or {}) do
    o[key] = value
  end
  return batch.new(o), calls, told
end

local function items_of(calls)
  local list = {}
  for i, call in ipairs(calls) do
    list[i] = table.concat(call.items, " ")
  end
  return list
end

-- What of a batch's counts is not 0.
local function counted(b)
  local out = {}
  for name, n in pairs(b:stats()) do
    out[name] = n ~= 0 and n or nil
  end
  return out
end

t.test("items leave in order, in batches no larger than they may be", function()
  local b, calls = fresh { batch_items = 3, batch_bytes = 10, flush = "1h" }
  for _, item in ipairs { "a", "b", "c", "dddd", "eeee", "fff", "g" } do
    t.ok(b:add(item))
  end
  t.ok(b:flush "5s")
  t.eq(items_of(calls), { "a b c", "dddd eeee", "fff g" })
  t.eq(counted(b), { sent = 7, batches = 3 })
end)

t.test("a batch waits for others, but no longer than told; a full one goes at once", function()
  local b, calls, told = fresh { batch_items = 2, flush = "1h" }
  b:add "a"
  task.sleep "5ms"
  t.eq(#calls, 0)
  b:add "b"
  t.ok(told:recv "5s")
  local soon, soon_calls, soon_told = fresh { batch_items = 100, flush = "20ms" }
  local began = sys.monotonic_ms()
  soon:add "x"
  soon:add "y"
  t.ok(soon_told:recv "5s")
  t.ok(soon_calls[1].at - began >= 20)
  t.eq(items_of(soon_calls), { "x y" })
end)

t.test("a full buffer takes nothing, at once, and what it left out is counted", function()
  local gate = task.channel(0)
  local b, calls, told = fresh({ max_items = 4, batch_items = 2 }, { function()
    return gate:recv()
  end })
  t.ok(b:add "1")
  t.ok(b:add "2")
  t.ok(told:recv "5s") -- two are under way, and count
  t.ok(b:add "3")
  t.ok(b:add "4")
  t.eq({ b:add "5" }, { false, "full" })
  t.eq(b:stats().queued, 4)
  gate:send(true)
  t.ok(b:flush "5s")
  t.ok(b:add "6")
  t.ok(b:flush "5s")
  t.eq(items_of(calls), { "1 2", "3 4", "6" })
  t.eq(counted(b), { sent = 5, full = 1, batches = 3 })
end)

t.test("the bytes of the buffer and of one item are bounded too", function()
  local b = fresh { max_bytes = 100, batch_bytes = 50, flush = "1h" }
  t.eq({ b:add(("x"):rep(51)) }, { false, "too_big" })
  t.ok(b:add(("x"):rep(50)))
  t.ok(b:add("counts as much as it says", 50))
  t.eq({ b:add "y" }, { false, "full" })
  t.eq(b:stats().queued_bytes, 100)
  t.ok(b:flush "5s")
  t.ok(b:add { ["as JSON"] = ("x"):rep(30) })
  t.eq(b:stats().queued_bytes, #'{"as JSON":""}' + 30)
  t.ok(b:flush "5s")
end)

t.test("a service that is dead for a while gets the same batch again", function()
  local b, calls = fresh({}, { failure.new("no", "ECONNREFUSED"), failure.new("?", "ETIMEDOUT") })
  b:add "a"
  b:add "b"
  t.ok(b:flush "5s")
  t.eq(items_of(calls), { "a b", "a b", "a b" })
  t.eq(counted(b), { sent = 2, retries = 2, batches = 1 })
end)

t.test("one that stays dead costs the batch after its last attempt, not those after it", function()
  local down = failure.new("no", "ECONNREFUSED")
  local b, calls = fresh({ batch_items = 1 }, { down, down, down })
  b:add "lost"
  b:add "later"
  t.ok(b:flush "5s")
  t.eq(items_of(calls), { "lost", "lost", "lost", "later" })
  t.eq(counted(b), { failed = 1, sent = 1, retries = 2, batches = 1 })
end)

t.test("what is refused for good is not tried again, and a raise is a failure", function()
  local b, calls = fresh({ batch_items = 1 }, {
    failure.permanent "bad key", function() error "a mistake" end,
  })
  b:add "refused"
  b:add "raised"
  t.ok(b:flush "5s")
  t.eq(items_of(calls), { "refused", "raised", "raised" })
  t.eq(counted(b), { rejected = 1, sent = 1, retries = 1, batches = 1 })
end)

t.test("a batch that the service finds too large is halved until it fits", function()
  local function small(items)
    if #items > 1 then
      return nil, failure.new("413", "TOO_BIG")
    end
    return true
  end
  local b, calls = fresh({ flush = "1h" }, { small, small, small, small, small })
  for _, item in ipairs { "a", "b", "c" } do
    b:add(item)
  end
  t.ok(b:flush "5s")
  t.eq(items_of(calls), { "a b c", "a", "b c", "b", "c" })
  t.eq(counted(b), { sent = 3, batches = 3 })
  local alone = fresh({}, { failure.new("413", "TOO_BIG") })
  alone:add "larger than the service takes"
  t.ok(alone:flush "5s")
  t.eq(counted(alone), { rejected = 1 })
end)

t.test("a service that does not answer is given up in time", function()
  local b, calls = fresh({ timeout = "5ms" }, { function()
    return task.channel():recv()
  end })
  b:add "a"
  t.ok(b:flush "5s")
  t.eq(#calls, 2)
  t.eq(counted(b), { sent = 1, retries = 1, batches = 1 })
end)

-- A server that answers as told.
local answers = {}
http.route("POST /stats", function()
  return table.remove(answers, 1) or { status = 202 }
end)
local server = t.ok(http.listen "127.0.0.1:0")

local function post(items)
  return batch.posted("stats", http.post("http://" .. server.address .. "/stats", { json = items }))
end

t.test("Retry-After is obeyed, also in a hurry; 413 halves and 400 is for good", function()
  answers = { { status = 429, headers = { ["retry-after"] = "0.2" } }, { status = 503 } }
  local b, calls = fresh({}, { post, post, post })
  b:add "a"
  t.ok(b:flush "10s")
  t.ok(calls[2].at - calls[1].at >= 200, "it came back too early")
  t.eq(counted(b), { sent = 1, retries = 2, batches = 1 })
  answers = { { status = 413 }, { status = 400, body = "no such field" } }
  local c = fresh({ flush = "1h" }, { post, post, post })
  c:add "a"
  c:add "b"
  t.ok(c:flush "5s")
  t.eq(counted(c), { sent = 1, rejected = 1, batches = 1 })
end)

t.test("nothing listens: the code of the transport, and it is tried again", function()
  local b, calls = fresh({}, { function()
    return batch.posted("stats", http.post "http://127.0.0.1:1/")
  end })
  b:add "a"
  t.ok(b:flush "5s")
  t.eq({ #calls, b:stats().sent }, { 2, 1 })
end)

t.test("answers are told apart, and Retry-After is read in both forms", function()
  local function of(status, headers, body)
    local why = answer.failure("x", { status = status, headers = headers or {}, body = body })
    return why and { why.code, why.kind, why.message }
  end
  t.eq(of(204), nil)
  t.eq(of(429), { "RATE_LIMITED", "transient", "x: refused with status 429" })
  t.eq(of(503, {}, " come\nback "),
    { "UNAVAILABLE", "transient", "x: refused with status 503: come back" })
  t.eq(of(404, {}, ("y"):rep(1000))[2], "permanent")
  t.eq(of(409)[2], "transient")
  t.eq(of(302)[2], "permanent")
  t.eq(answer.retry_after_ms "3", 3000)
  t.eq(answer.retry_after_ms " 1.5 ", 1500)
  t.eq(answer.retry_after_ms "99999999999", 3600000)
  t.eq(answer.retry_after_ms "Wed, 21 Oct 2015 07:28:00 GMT", 0)
  t.eq(answer.retry_after_ms "Wed, 21 Oct 2199 07:28:00 GMT", 3600000)
  for _, odd in ipairs { "", "soon", "-5", "1e9", "Wed, 99 Foo 2015 07:28:00 GMT", "0x10" } do
    t.eq(answer.retry_after_ms(odd), nil, odd)
  end
end)

t.test("when the program stops, what waits goes out, and a dead service holds nobody", function()
  local good, good_calls = fresh { flush = "1h" }
  local dead, _, told = fresh({ flush = "1h" }, { function()
    return task.channel():recv()
  end })
  good:add "a"
  dead:add "b"
  local began = sys.monotonic_ms()
  local ok, message, code = batch.flush "100ms"
  t.ok(told:recv "0ms")
  t.eq({ ok, code }, { nil, "ETIMEDOUT" })
  t.has(message, dead.name .. ": 1 items were not delivered in time")
  t.eq(items_of(good_calls), { "a" })
  t.ok(sys.monotonic_ms() - began < 20000)
  t.eq({ good:stats().queued, dead:stats().queued }, { 0, 1 })
  for _, one in ipairs(batch.status()) do
    if one.name == dead.name then
      t.eq({ one.queued, one.queued_bytes }, { 1, 1 })
    end
  end
  dead.sender:kill()
  dead.sender:join()
end)

t.test("a sender that was stopped leaves its batch to the next one", function()
  local b, calls, told = fresh({}, { function()
    return task.channel():recv()
  end })
  b:add "a"
  t.ok(told:recv "5s")
  b.sender:kill()
  b.sender:join()
  t.ok(b:add "b")
  t.ok(b:flush "5s")
  t.eq(items_of(calls), { "a", "a", "b" })
  t.eq(counted(b), { sent = 2, retries = 1, batches = 2 })
end)

t.test("what became of items is in /metrics", function()
  local b = fresh({ batch_items = 1 }, { failure.permanent "no", failure.new("?", "ETIMEDOUT") })
  b:add "refused"
  b:add(("x"):rep(10))
  t.ok(b:flush "5s")
  local text = require("sipeat.core.metrics").text "openmetrics"
  for _, line in ipairs {
    'items_total{name="%s",outcome="rejected"} 1', 'items_total{name="%s",outcome="sent"} 1',
    'retries_total{name="%s"} 1', 'queued_items{name="%s"} 0', 'queued_bytes{name="%s"} 0',
  } do
    t.has(text, "sipeat_batch_" .. line:format(b.name))
  end
end)

t.test("what its source has is fetched within bounds, and before each batch", function()
  local waiting, got = { "a", "b", "too long", "c" }, {}
  local queue = batch.new {
    name = "fed", max_items = 3, batch_bytes = 4, flush = "20ms",
    source = function()
      local texts = waiting
      waiting = nil
      return texts, texts and 5
    end,
    send = function(items)
      got[#got + 1] = table.concat(items)
      if #got == 1 then
        waiting = { "d" }
      end
      return true
    end,
  }
  queue:fetch()
  t.eq(queue:stats().queued, 3)
  t.ok(queue:flush "5s")
  t.eq(got, { "abc", "d" })
  local stats = queue:stats()
  t.eq({ stats.sent, stats.full, stats.too_big }, { 4, 10, 1 })
  waiting = { "e" }
  t.ok(batch.flush "5s")
  t.eq(got[3], "e")
  t.fails(function() batch.new { name = "x", send = print }:fetch() end, "no source")
end)

t.test("a caller's mistakes are told", function()
  t.fails(batch.new, "name is required", { send = print })
  t.fails(batch.new, "letters, digits", { name = "a b", send = print })
  t.fails(batch.new, "send is required", { name = "a" })
  t.fails(batch.new, "backoff", { name = "a", send = print, retry = { backoff = { "soon" } } })
  local b = fresh()
  t.fails(b.add, "anything but nil", b)
  t.fails(b.add, "bytes of an item", b, "a", -1)
  t.fails(b.add, "an item without a size", b, { print })
  t.fails(b.flush, "is no duration", b, "soon")
end)
