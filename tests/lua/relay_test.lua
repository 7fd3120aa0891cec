--- sipeat.relay: events of a database's transactions, in order, at least once, one relay at a time.
local kafka = require "sipeat.kafka"
local metrics = require "sipeat.core.metrics"
local relay = require "sipeat.relay"
local sipeat = require "sipeat"
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

t.broker()

local Noted = sipeat.event.define("noted", { key = "string", n = "integer", text = "string?" }, {
  key = "key", mode = "body",
})

local POSTGRES = t.server("postgres_server.py"):match "^%S+"

local function open(place)
  local db = t.ok(sql.open(place or ":memory:"))
  t.ok(db:script "CREATE TABLE IF NOT EXISTS notes (n INTEGER)")
  return db
end

local function add(db, outbox, topic, key, n, text)
  return db:transaction(function(tx)
    t.ok(tx:exec("INSERT INTO notes VALUES (?)", n))
    return outbox:add(tx, Noted, { key = key, n = n, text = text }, { topic = topic })
  end)
end

-- What came of each key, in order.
local function read(topic, count)
  local consumer <close> = t.ok(kafka.consumer {
    topics = { topic }, group = topic .. "-readers", from = "beginning",
  })
  local found, ids = {}, {}
  for _ = 1, count do
    local record = t.ok(consumer:next "30s")
    found[record.key] = found[record.key] or {}
    table.insert(found[record.key], tonumber(record.value:match '"n":(%d+)'))
    ids[#ids + 1] = record.headers["event-id"]
  end
  return found, ids
end

local function sent(outbox, waiting)
  while t.ok(outbox:status()).waiting > (waiting or 0) do
    task.sleep "10ms"
  end
end

t.test("what waits in its table, and what became of the rest, is told for /metrics", function()
  local db <close> = open()
  local outbox = relay.new { db = db, table = "told", every = "1h" }
  t.ok(outbox:start())
  t.ok(add(db, outbox, "relay-told", "k", 1))
  outbox:wake()
  sent(outbox)
  t.ok(add(db, outbox, "relay-told", "k", 2))
  t.ok(db:exec "UPDATE told SET added_ms = added_ms - 60000")
  t.has(metrics.text "openmetrics", 'sipeat_relay_events_total{name="told",outcome="sent"} 1')
  local told = relay.tables().told
  t.eq({ told.waiting, told.refused }, { 1, 0 })
  t.ok(told.oldest_ms >= 60000)
  outbox:stop()
  while relay.tables().told do
    task.sleep "5ms"
  end
end)

t.test("what is committed comes out in order, what is rolled back does not", function()
  local db <close> = open()
  local outbox = relay.new { db = db, every = "20ms", batch = 7 }
  t.ok(outbox:start())
  for n = 1, 30 do
    t.ok(add(db, outbox, "relay-order", "k" .. n % 3, n))
  end
  t.fails(function()
    db:transaction(function(tx)
      t.ok(outbox:add(tx, Noted, { key = "k0", n = 99 }, { topic = "relay-order" }))
      error "boom"
    end)
  end, "boom")
  outbox:wake()
  sent(outbox)
  t.eq(outbox:status().sent, 30)
  local found = read("relay-order", 30)
  for key, list in pairs(found) do
    t.eq(#list, 10, key)
    for i = 2, #list do
      t.ok(list[i - 1] < list[i])
    end
  end
  outbox:stop()
end)

t.test("what Kafka refuses for good stays with its reason, and lets the others pass", function()
  local db <close> = open()
  local outbox = relay.new { db = db, every = "20ms" }
  t.ok(outbox:start())
  t.ok(add(db, outbox, "relay-refused", "a", 1))
  t.ok(add(db, outbox, "relay-refused", "a", 2, ("x"):rep(2000000)))
  t.ok(add(db, outbox, "relay-refused", "a", 3))
  sent(outbox)
  t.eq(read("relay-refused", 2), { a = { 1, 3 } })
  t.eq(outbox:status().refused, 1)
  t.has(db:query("SELECT refused FROM outbox")[1].refused, "MSG_SIZE_TOO_LARGE")
  outbox:stop()
end)

t.test("data that is wrong is refused before anything is written", function()
  local db <close> = open()
  local outbox = relay.new { db = db, table = "events" }
  t.ok(outbox:start())
  local id, _, code = add(db, outbox, "relay-wrong", "a", "many")
  t.eq({ id, code }, { nil, "INVALID_EVENT" })
  t.eq(db:query("SELECT count(*) AS n FROM events")[1].n, 0)
  t.fails(function() relay.new { db = db, table = "a; b" } end, "no name of a table")
  t.fails(function() relay.new {} end, "db")
  outbox:stop()
end)

t.test("of several relays on one PostgreSQL database one sends, until it is gone", function()
  local db <close> = open(POSTGRES)
  local first = relay.new { db = db, every = "20ms", lease = "300ms" }
  t.ok(first:start())
  t.ok(add(db, first, "relay-lease", "a", 1))
  sent(first)
  local second = relay.new { db = db, every = "20ms", lease = "300ms" }
  t.ok(second:start())
  t.ok(add(db, first, "relay-lease", "a", 2))
  sent(first)
  t.eq({ first:status().sent, second:status().sent }, { 2, 0 })
  first:stop()
  t.ok(add(db, second, "relay-lease", "a", 3))
  sent(second)
  t.eq(second:status().sent, 1)
  t.eq(read("relay-lease", 3), { a = { 1, 2, 3 } })
  second:stop()
end)
