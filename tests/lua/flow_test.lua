--- sipeat.flow on the embedded broker: routing, attempts, outcomes, outputs, reload.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local sipeat = require "sipeat"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local function wait_for(what, condition)
  local deadline = sys.monotonic_ms() + 20000
  while not condition() do
    if sys.monotonic_ms() > deadline then
      error("waited too long for " .. what, 2)
    end
    task.sleep "5ms"
  end
end

local function send(topic, type_name, data, options)
  options = options or {}
  options.topic = topic
  return t.ok(sipeat.publish(type_name, data, options))
end

local function send_raw(topic, value, headers, key)
  return t.ok(sipeat.kafka.producer():send {
    topic = topic, key = key, value = value, headers = headers,
  })
end

local function headers_of(record)
  local map = {}
  for _, header in ipairs(record.headers) do
    map[header[1]] = header[2]
  end
  return map
end

-- Reads what a topic holds until `count` records are there.
local function read(topic, count)
  local records, reader <close> = {}, t.ok(sipeat.kafka.reader { topic = topic })
  wait_for(topic, function()
    local record = reader:next "100ms"
    records[#records + 1] = record
    return #records >= count
  end)
  return records
end

t.test("a type of events finds its own handler, then that of the longest name with *", function()
  local function named(name)
    return function() return name end
  end
  local flow = sipeat.flow.define({ topic = "a", group = "g", on = {
    ["order.*"] = named "any order", ["order.created"] = named "created",
    ["order.payment_*"] = named "payment", ["*"] = named "rest",
  } }, 1)
  local function handler_of(kind)
    local route = flow.routes[kind] or flow.routes["*"]
    return route.handler()
  end
  t.eq(handler_of "order.created", "created")
  t.eq(handler_of "order.payment_processed", "payment")
  t.eq(handler_of "order.cancelled", "any order")
  t.eq(handler_of "orders", "rest")
  t.eq(flow.routes[nil], nil)
end)

t.test("a topic's name with * is a pattern, which takes no dead letters", function()
  local flow = sipeat.flow.define({
    topics = { "order.*", "orders-*-x", "^raw.*" }, group = "g", on = { ["*"] = print },
  }, 1)
  t.eq(flow.topics[3], "^raw.*")
  t.eq(flow.topics[2], "^orders-[A-Za-z0-9._-]*-x$")
  t.has(flow.topics[1], "^order\\.")
end)

t.test("what is declared wrongly throws at the script's line", function()
  local on = { ["*"] = print }
  t.fails(sipeat.flow, "did you mean topic?", { topik = "a", group = "g", on = on })
  t.fails(sipeat.flow, "group is required", { topic = "a", on = on })
  t.fails(sipeat.flow, "no topic", { group = "g", on = on })
  t.fails(sipeat.flow, "no handler", { topic = "a", group = "g", on = {} })
  t.fails(sipeat.flow, "the handler of x is a function", {
    topic = "a", group = "g", on = { x = "y" },
  })
  t.fails(sipeat.flow, "is neither \"header:NAME\"", {
    topic = "a", group = "g", on = on, key = "machineId",
  })
  t.fails(sipeat.flow, "is neither \"beginning\"", {
    topic = "a", group = "g", on = on, from = "yesterday",
  })
  t.fails(sipeat.flow, "did you mean attempts?", {
    topic = "a", group = "g", on = on, retry = { attempt = 3 },
  })
  t.fails(sipeat.flow, "transactional and outbox exclude each other", {
    topic = "a", group = "g", on = on, transactional = true, outbox = true,
  })
  t.fails(sipeat.flow, "transactional and retry.topics exclude each other", {
    topic = "a", group = "g", on = on, transactional = true, order = "none",
    retry = { topics = { "10s" } },
  })
  t.fails(sipeat.flow, 'transactional and after_dead = "hold" exclude each other', {
    topic = "a", group = "g", on = on, transactional = true, after_dead = "hold",
  })
  t.fails(sipeat.flow, "did you mean events?", {
    topic = "a", group = "g", on = on, batch = { event = 3 },
  })
  t.fails(sipeat.flow, "must be one of", { topic = "a", group = "g", on = on, order = "random" })
  t.fails(sipeat.flow, "while the script loads", { topic = "a", group = "g", on = on })
  local ok, why = pcall(function()
    sipeat.flow { topic = "a", group = "g", on = on, conc = 1 }
  end)
  t.ok(not ok)
  t.has(why, "flow_test.lua:")
end)

t.broker()

local Order = sipeat.event.define("order.created", { orderId = "string", amount = "integer" })
local seen = {} -- test -> what its handlers noted
local function note(name, what)
  seen[name] = seen[name] or {}
  table.insert(seen[name], what)
end

local RETRY = { attempts = 3, backoff = { "1ms", "5ms" } }
local gate = false

local function outcomes(name)
  return function(outcome)
    note(name, {
      status = outcome.status, attempts = outcome.attempts, result = outcome.result,
      code = outcome.failure and outcome.failure.code, id = outcome.event.id,
      timed = outcome.duration_ms >= 0, task = task.event_id() == outcome.event.id,
    })
  end
end

local function declare_routing()
  sipeat.flow {
    topic = "routing", group = "routing",
    on = {
      [Order] = function(event, ctx)
        note("routing", { "order", event.data.amount, ctx.id == event.id, ctx.key == event.id })
      end,
      ["plain.type"] = function(event)
        note("routing", { "plain", event.data.n })
      end,
    },
    on_dead = function(event, why, ctx)
      note("routing dead", { why.code, event.type, event.topic, ctx.id == event.id })
    end,
  }
end

local function declare_attempts()
  sipeat.flow {
    topic = "attempts", group = "attempts", retry = RETRY,
    on = {
      ["*"] = function(event, ctx)
        ctx:on_end(outcomes "ends")
        ctx.memory.count = (ctx.memory.count or 0) + 1
        note("attempts", { event.data.mode, ctx.attempt, ctx.final, ctx.memory.count })
        if event.data.mode == "third" and ctx.attempt == 3 then
          return "well"
        elseif event.data.mode == "permanent" then
          return nil, failure.permanent("never", "NO_STOCK")
        elseif event.data.mode == "code" then
          return nil, "broken", "INVALID_EVENT"
        elseif event.data.mode == "raised" then
          error(failure.permanent("raised", "RAISED"))
        elseif event.data.mode == "cancelled" then
          return nil, "a child was stopped", "ECANCELED"
        end
        error "again"
      end,
    },
    on_dead = function()
      note("never", "on_dead is not called beside on_end")
    end,
  }
end

local function declare_letters()
  sipeat.flow {
    topic = "dropped", group = "dropped", dead_letter = false,
    on = { x = print },
    on_dead = function(_, why)
      note("dropped", why.code)
    end,
  }
  sipeat.flow {
    topic = "named", group = "named", dead_letter = "graveyard", on = { x = print },
  }
  sipeat.flow {
    topics = { "^pattern%-.*" }, group = "pattern", on = { x = print },
  }
end

local function declare_rest()
  sipeat.flow {
    topic = "slow", group = "slow", timeout = "50ms", retry = { attempts = 1 },
    on = {
      ["*"] = function(_, ctx)
        note("deadline", ctx.deadline - task.monotonic_ms() <= 50)
        task.sleep "1h"
      end,
    },
  }
  sipeat.flow {
    topic = "outputs", group = "outputs",
    on = {
      ["*"] = function(event, ctx)
        t.ok(ctx:emit("out", "k", "text", { a = "1", b = "2" }))
        t.ok(ctx:emit("out", nil, { n = event.data.n }, { { "c", "3" }, { name = "d" } }))
        t.ok(ctx:publish(Order:new({ orderId = "o", amount = 1 }, { topic = "out" })))
        note("refused", { ctx:emit("out", nil, ("x"):rep(1100000)) })
        t.fails(ctx.emit, "the topic is a text", ctx, nil)
        t.fails(ctx.emit, "the key is a text", ctx, "out", 5)
        t.fails(ctx.emit, "a list of { name, text }", ctx, "out", nil, "x", { a = 1 })
        t.fails(ctx.publish, "has no topic", ctx, { type = "x" })
        t.fails(ctx.on_end, "a function is needed", ctx, "f")
        note("ctx", ctx)
      end,
    },
  }
  sipeat.flow {
    topic = "runaway", group = "runaway", retry = RETRY,
    on = {
      spin = function()
        while true do
          pcall(function()
            while true do end
          end)
        end
      end,
      ["*"] = function(event)
        note("runaway", event.type)
      end,
    },
  }
  sipeat.flow {
    topic = "keyed", group = "keyed", key = "data.machine.id", concurrency = 100,
    on = {
      ["*"] = function(event)
        local id = event.data.machine.id
        note("keyed", { id, event.data.n })
        task.sleep "1ms"
        note("keyed", { id, event.data.n })
      end,
    },
  }
end

local function swapped(version)
  return function()
    sipeat.flow {
      topic = "swapped", group = "swapped", concurrency = 2,
      on = {
        ["*"] = function(event)
          while event.data.n <= 2 and not gate do
            task.sleep "5ms"
          end
          note("swapped", { event.data.n, version })
        end,
      },
    }
  end
end

local function declare_all()
  declare_routing()
  declare_attempts()
  declare_letters()
  declare_rest()
end

t.flows(function()
  declare_all()
  swapped(1)()
end)

t.test("two flows of one group and the same topics are refused", function()
  t.fails(t.flows, "is there already", function()
    sipeat.flow { topic = "a", group = "g", on = { x = print } }
    sipeat.flow { topic = "a", group = "g", on = { y = print } }
  end)
  t.fails(t.flows, "flow_test.lua", function()
    sipeat.flow { topic = "a" }
  end)
  local flows = sipeat.flow.status()
  t.eq(#flows, 10)
end)

t.test("events go to the handler of their type, typed and checked", function()
  send("routing", "order.created", { orderId = "1", amount = 1500.0 }, { key = "k" })
  send("routing", "plain.type", { n = 7 }, { key = "k" })
  send("routing", "order.created", { orderId = "1" }, { key = "k" })
  send("routing", "other.type", { n = 7 }, { key = "k" })
  send_raw("routing", "{ \"type\": ", nil, "k")
  send_raw("routing", "{}", nil, "k")
  send_raw("routing", nil, nil, "k")
  wait_for("dead letters", function()
    return #(seen["routing dead"] or {}) == 5
  end)
  t.eq(seen.routing, { { "order", 1500, true, true }, { "plain", 7 } })
  table.sort(seen["routing dead"], function(a, b)
    return a[1] .. tostring(a[2]) < b[1] .. tostring(b[2])
  end)
  t.eq(seen["routing dead"], {
    { "BAD_DATA", nil, "routing", true },
    { "INVALID_EVENT", "order.created", "routing", true },
    { "UNKNOWN_TYPE", nil, "routing", true },
    { "UNKNOWN_TYPE", nil, "routing", true },
    { "UNKNOWN_TYPE", "other.type", "routing", true },
  })
  local codes = {}
  for _, record in ipairs(read("routing-dlt", 5)) do
    local code = headers_of(record)["sipeat-error-code"]
    codes[code] = (codes[code] or 0) + 1
    t.eq(record.key, "k")
  end
  t.eq(codes, { BAD_DATA = 1, INVALID_EVENT = 1, UNKNOWN_TYPE = 3 })
end)

local function runs_of(mode)
  local runs = {}
  for _, run in ipairs(seen.attempts or {}) do
    if run[1] == mode then
      runs[#runs + 1] = { table.unpack(run, 2) }
    end
  end
  return runs
end

t.test("a failure is tried again, as often as it is worth it", function()
  local expected = {
    third = { "done", 3 }, always = { "dead", 3, "SCRIPT_ERROR" },
    permanent = { "dead", 1, "NO_STOCK" }, code = { "dead", 1, "INVALID_EVENT" },
    raised = { "dead", 1, "RAISED" }, cancelled = { "dead", 3, "ECANCELED" },
  }
  local ids = {}
  for mode in pairs(expected) do
    ids[mode] = send("attempts", "x", { mode = mode }).id
  end
  wait_for("all ends", function()
    return #(seen.ends or {}) == 6
  end)
  for mode, want in pairs(expected) do
    local runs, outcome = runs_of(mode), nil
    t.eq(#runs, want[2], mode)
    for n, run in ipairs(runs) do
      t.eq(run, { n, n == 3, n }, mode) -- attempt, final, memory of all attempts
    end
    for _, candidate in ipairs(seen.ends) do
      outcome = candidate.id == ids[mode] and candidate or outcome
    end
    t.eq(outcome, {
      status = want[1], attempts = want[2], code = want[3], id = ids[mode], timed = true,
      task = true, result = mode == "third" and "well" or nil,
    }, mode)
  end
  t.eq(seen.never, nil)
end)

t.test("dead letters go where the flow says", function()
  send("dropped", "y", {})
  send("named", "y", {})
  wait_for("the drop", function()
    return seen.dropped
  end)
  t.eq(seen.dropped, { "UNKNOWN_TYPE" })
  t.eq(headers_of(read("graveyard", 1)[1])["kafka_dlt-original-topic"], "named")
  for _, topic in ipairs(sipeat.kafka.admin():topics()) do
    t.ok(topic.name ~= "dropped-dlt", "nothing is written for dead_letter = false")
  end
end)

t.test("a handler that takes longer than its timeout has failed", function()
  send("slow", "x", {})
  local headers = headers_of(read("slow-dlt", 1)[1])
  t.eq(headers["sipeat-error-code"], "ETIMEDOUT")
  t.eq(headers["sipeat-error-kind"], "timeout")
  t.eq(seen.deadline, { true })
end)

t.test("outputs are written with their headers, and refusals are told", function()
  send("outputs", "x", { n = 9 })
  local by_value = {}
  for _, record in ipairs(read("out", 3)) do
    by_value[record.value] = record
  end
  t.eq(by_value.text.key, "k")
  t.eq(headers_of(by_value.text), { a = "1", b = "2" })
  local n = by_value[json.encode { n = 9 }]
  t.eq(#n.headers, 2)
  t.eq(headers_of(n), { c = "3" })
  t.eq(seen.refused[1][1], nil)
  t.eq(seen.refused[1][3], "MSG_SIZE_TOO_LARGE")
  t.fails(seen.ctx[1].emit, "the event has ended", seen.ctx[1], "out", nil, "late")
end)

t.test("a handler that never ends becomes a dead letter, and the others go on", function()
  send("runaway", "spin", {}, { key = "a" })
  send("runaway", "fine", {}, { key = "a" })
  local headers = headers_of(read("runaway-dlt", 1)[1])
  t.eq(headers["sipeat-error-code"], "OVER_BUDGET")
  t.eq(headers["sipeat-error-kind"], "bug")
  wait_for("the next event of the key", function()
    return seen.runaway
  end)
  t.eq(seen.runaway, { "fine" })
end)

t.test("a path into the data keeps the order of its values", function()
  for n = 1, 60 do
    send("keyed", "x", { n = n, machine = { id = n % 3 } }, { key = "k" .. n % 3 })
  end
  wait_for("60 events", function()
    return #(seen.keyed or {}) == 120
  end)
  local last = {}
  for _, entry in ipairs(seen.keyed) do
    local id, n = entry[1], entry[2]
    t.ok(last[id] == nil or n >= last[id], "an event overtook another one of its key")
    last[id] = n
  end
end)

t.test("a reload takes new events to the new handlers, and lets the others end", function()
  for n = 1, 20 do
    send("swapped", "x", { n = n }, { key = "k" .. n })
  end
  wait_for("two that run", function()
    for _, flow in ipairs(sipeat.flow.status()) do
      if flow.group == "swapped" and flow.running == 2 and flow.taken == 20 then
        return true
      end
    end
  end)
  t.flows(function()
    declare_all()
    swapped(2)()
  end)
  gate = true
  wait_for("20 events", function()
    return #(seen.swapped or {}) == 20
  end)
  local old = {}
  for _, entry in ipairs(seen.swapped) do
    if entry[2] == 1 then
      old[#old + 1] = entry[1]
    end
  end
  table.sort(old)
  t.ok(#old >= 2 and #old <= 12, "the old handlers ended " .. #old .. " events")
end)

t.test("a transactional flow runs on the embedded broker too", function()
  local attempts, told = 0, {}
  t.flows(function()
    sipeat.flow {
      topic = "paid", group = "paid", transactional = true, batch = { events = 10, time = "20ms" },
      retry = { attempts = 2, backoff = { "1ms" } },
      on = {
        pay = function(event, ctx)
          ctx:emit("receipts", event.key, "first of " .. event.data.n)
          ctx:on_end(function(outcome)
            told[event.data.n] = outcome.status
          end)
          if event.data.n == 2 and ctx.attempt == 1 then
            attempts = attempts + 1
            return nil, "not yet"
          elseif event.data.n == 3 then
            return nil, failure.permanent "no"
          end
          ctx:emit("receipts", event.key, "second of " .. event.data.n)
        end,
      },
    }
  end)
  for n = 1, 4 do
    send("paid", "pay", { n = n }, { key = "k" })
  end
  wait_for("the ends", function()
    return told[1] and told[2] and told[3] and told[4]
  end)
  t.eq(told, { "done", "done", "dead", "done" })
  t.eq(attempts, 1)
  local values = {}
  for i, record in ipairs(read("receipts", 6)) do
    values[i] = record.value
  end
  t.eq(values, { -- nothing of the attempt that failed, nothing of the dead letter
    "first of 1", "second of 1", "first of 2", "second of 2", "first of 4", "second of 4",
  })
  t.eq(json.decode(read("paid-dlt", 1)[1].value).n, 3)
  for _, status in ipairs(sipeat.flow.status()) do
    if status.group == "paid" then
      t.ok(status.committed >= 1)
      t.eq(status.aborted, 0)
    end
  end
end)
