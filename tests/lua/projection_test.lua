--- sipeat.projection against the embedded broker: rows and positions, versions, rebuilds, leases.
local background = require "sipeat.background"
local event = require "sipeat.event"
local kafka = require "sipeat.kafka"
local lease = require "sipeat.lease"
local projection = require "sipeat.projection"
local rebuild = require "sipeat.projection_rebuild"
local sql = require "sipeat.sql"
local store = require "sipeat.projection_store"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

t.broker()

local number = 0

-- A name for a topic and a file that no other test uses.
local function names()
  number = number + 1
  local name = ("p%d_%s"):format(number, sys.uuid():sub(1, 8))
  return name, ("/tmp/sipeat-%s.db"):format(name)
end

local function send(topic, from, to, extra)
  local records = {}
  for n = from, to do
    records[#records + 1] = {
      topic = topic, key = "k" .. n % 10,
      value = ('{"type":"counted","id":"%d","data":{"n":%d%s}}'):format(n, n, extra or ""),
    }
  end
  for _, report in ipairs(t.ok(kafka.producer():send_many(records))) do
    t.ok(report.offset, report.message)
  end
end

local TABLES = { sums = "bucket TEXT PRIMARY KEY, n BIGINT NOT NULL, total BIGINT NOT NULL" }
local ADD = [[INSERT INTO {sums} VALUES (?, 1, ?)
  ON CONFLICT (bucket) DO UPDATE SET n = n + 1, total = total + excluded.total]]

local function add(e, rows)
  return rows:exec(ADD, e.key, e.data.n)
end

local function declare(topic, file, more)
  local o = { name = "sums", topic = topic, db = file, tables = TABLES, on = { counted = add } }
  for key, value in pairs(more or {}) do
    o[key] = value
  end
  return projection(o)
end

-- As a reload does it: what the script before declared stops.
local function redeclare(...)
  background.begin()
  local p = declare(...)
  background.commit()
  return p
end

local function total(p, column)
  local rows = t.ok(p:query("SELECT sum(" .. (column or "n") .. ") AS n FROM sums"))
  return rows[1].n or 0
end

-- Waits until there is something that is so.
local function until_true(f, what)
  for _ = 1, 600 do
    local got = f()
    if got then
      return got
    end
    t.ok(task.sleep "20ms")
  end
  error(what .. " did not come")
end

local function caught_up(p, n)
  until_true(function()
    local rows = p:query "SELECT sum(n) AS n FROM sums"
    return rows and rows[1] and rows[1].n == n
  end, n .. " events")
end

t.test("each event is in the tables once, and positions are beside them", function()
  local topic, file = names()
  send(topic, 1, 3000)
  local p = declare(topic, file, { batch = 700 })
  caught_up(p, 3000)
  send(topic, 3001, 3100)
  caught_up(p, 3100)
  t.eq(total(p, "total"), 3100 * 3101 // 2)
  local status = t.ok(p:status())
  t.eq({ status.lag, status.built_version, status.generation, status.skipped }, { 0, 1, 1, 0 })
  local report = t.ok(kafka.producer():send {
    topic = topic, key = "x", value = '{"type":"counted","data":{"n":1}}',
  })
  t.ok(p:wait(report, "10s"))
  t.eq(#p:query "SELECT * FROM {sums} WHERE bucket = 'x'", 1)
  report.offset = report.offset + 1
  t.eq(select(3, p:wait(report, "1ms")), "ETIMEDOUT")
end)

t.test("a handler sees what was written before it, whatever the unit", function()
  local topic, file = names()
  send(topic, 1, 300)
  local p = declare(topic, file, {
    batch = 64,
    on = {
      counted = function(e, rows)
        local found = t.ok(rows:query("SELECT n, total FROM {sums} WHERE bucket = ?", e.key))[1]
        if not found then
          return rows:exec("INSERT INTO {sums} VALUES (?, 1, ?)", e.key, e.data.n)
        end
        return rows:exec("UPDATE {sums} SET n = ?, total = ? WHERE bucket = ?", found.n + 1,
          found.total + e.data.n, e.key)
      end,
    },
  })
  caught_up(p, 300)
  t.eq(total(p, "total"), 300 * 301 // 2)
end)

t.test("what a projection cannot take is found, and left out with its reason", function()
  local topic, file = names()
  send(topic, 1, 500)
  send(topic, 501, 501, ',"bad":true')
  send(topic, 502, 900)
  local p = declare(topic, file, {
    on_error = "skip",
    on = {
      counted = function(e, rows)
        if e.data.bad then
          return nil, "a bad one", "BAD"
        end
        return add(e, rows)
      end,
    },
  })
  caught_up(p, 899)
  local status = t.ok(p:status())
  t.eq({ status.skipped, status.lag }, { 1, 0 })
  local db <close> = t.ok(sql.open(file))
  t.eq(db:query "SELECT code, message FROM sipeat_projection_skipped",
    { { code = "BAD", message = "a bad one" } })
end)

t.test("without leave to skip it stops there, and says where", function()
  local topic, file = names()
  send(topic, 1, 100)
  local broken = true
  local p = declare(topic, file, {
    on = {
      counted = function(e, rows)
        if broken and e.data.n == 50 then
          error "not this one"
        end
        return add(e, rows)
      end,
    },
  })
  local status = until_true(function()
    local now = p:status()
    return now and now.message and now
  end, "the failure")
  t.has(status.message, "projection sums stops at " .. topic)
  t.has(status.message, "not this one")
  t.ok(total(p) < 100)
  broken = false
  caught_up(p, 100)
end)

t.test("what is behind a unit that was not committed is not committed either", function()
  local topic, file = names()
  send(topic, 1, 600)
  local broken = true
  local p = declare(topic, file, {
    batch = 50,
    on = {
      counted = function(e, rows)
        if broken and e.data.n == 130 then -- it fails when the unit is committed
          t.ok(rows:exec("INSERT INTO {sums} VALUES (?, NULL, 0)", "null"))
        end
        return add(e, rows)
      end,
    },
  })
  local status = until_true(function()
    local now = p:status()
    return now and now.message and now
  end, "the failure")
  t.eq(status.code, "SQL_NOT_NULL")
  local db <close> = t.ok(sql.open(file))
  local read = db:query("SELECT sum(next_offset) AS n FROM sipeat_projection_positions")[1].n
  t.eq(total(p), read) -- as many rows were counted as events were read: none was passed over
  broken = false
  caught_up(p, 600)
  t.eq(total(p, "total"), 600 * 601 // 2)
end)

t.test("a newer version is built beside the old one and swapped in", function()
  local topic, file = names()
  send(topic, 1, 400)
  caught_up(declare(topic, file), 400)
  local tables = { sums = TABLES.sums, odd = "n BIGINT PRIMARY KEY" }
  local p = redeclare(topic, file, {
    version = 2, tables = tables, indexes = { "sums (total)" },
    on = {
      counted = function(e, rows)
        if e.data.n % 2 == 1 then
          t.ok(rows:exec("INSERT INTO {odd} VALUES (?)", e.data.n))
        end
        return add(e, rows)
      end,
    },
  })
  until_true(function()
    local now = p:status()
    return now and now.built_version == 2
  end, "version 2")
  t.eq({ total(p), p:query("SELECT count(*) AS n FROM odd")[1].n }, { 400, 200 })
  local status = t.ok(p:status())
  t.eq({ status.generation, status.left }, { 2, nil })
  send(topic, 401, 410)
  caught_up(p, 410)
  local old = redeclare(topic, file)
  status = until_true(function()
    local now = old:status()
    return now and now.code and now
  end, "the refusal")
  t.eq(status.code, "PROJECTION_NEWER")
  t.has(status.message, "version 2, and this script has version 1")
end)

-- A projection that nobody follows.
local function idle(topic, file, more)
  background.begin()
  local p = declare(topic, file, more)
  background.rollback()
  return p
end

t.test("a rebuild that was stopped goes on, and the tables stay whole meanwhile", function()
  local topic, file = names()
  send(topic, 1, 2000)
  caught_up(declare(topic, file), 2000)
  local stop = 700
  local p = idle(topic, file, {
    batch = 100,
    on = {
      counted = function(e, rows)
        if e.data.n == stop then
          return nil, "stopped here"
        end
        return add(e, rows)
      end,
    },
  })
  local db = t.ok(p:connect()).follow
  local done, message = rebuild.run(p.def, db, {})
  t.eq(done, nil)
  t.has(message, "stopped here")
  t.eq(total(p), 2000)
  local left = t.ok(p:status()).left
  t.ok(left.events > 0 and left.events < 2000, left.events)
  stop = nil
  done = t.ok(rebuild.run(p.def, db, {}))
  t.eq({ done.resumed, done.before, done.before + done.events }, { true, left.events, 2000 })
  t.eq({ total(p), total(p, "total") }, { 2000, 2000 * 2001 // 2 })
  done = t.ok(rebuild.run(p.def, db, { fresh = true }))
  t.eq({ done.resumed, done.events }, { false, 2000 })
end)

t.test("a second rebuild is refused, until the first one's process has gone", function()
  local topic, file = names()
  send(topic, 1, 10)
  local p = idle(topic, file)
  local db = t.ok(p:connect()).follow
  local here = lease.me()
  t.ok(store.lease(db, "sums", "builder", here))
  local done, message, code = rebuild.run(p.def, db, {})
  t.eq({ done, code }, { nil, "PROJECTION_BUSY" })
  t.has(message, "is being rebuilt by process")
  local gone = here:gsub(":%d+:(%x+)$", ":1:%1") -- a process of that number that began earlier
  t.ok(db:exec("UPDATE sipeat_projections SET builder = ?", gone))
  t.eq(t.ok(rebuild.run(p.def, db, {})).events, 10)
  t.ok(db:exec("UPDATE sipeat_projections SET builder = 'elsewhere:1:1:ab', builder_until_ms = ?",
    sys.now_ms() + 60000))
  t.eq(select(3, rebuild.run(p.def, db, {})), "PROJECTION_BUSY")
  t.ok(db:exec("UPDATE sipeat_projections SET builder_until_ms = ?", sys.now_ms() - 1))
  t.eq(t.ok(rebuild.run(p.def, db, { fresh = true })).events, 10)
end)

t.test("a stream's event that comes again is applied once", function()
  local topic, file = names()
  local function put(key, sequence)
    t.ok(kafka.producer():send {
      topic = topic, key = key,
      value = '{"type":"counted","data":{"n":1},"sequence":' .. sequence .. "}",
    })
  end
  for sequence = 1, 5 do
    put("a", sequence)
    put("b", sequence)
  end
  put("a", 4)
  put("a", 5)
  local p = declare(topic, file, { sequence = true, batch = 3 })
  caught_up(p, 10)
  put("b", 2)
  put("a", 6)
  caught_up(p, 11)
end)

t.test("typed events come checked and lifted to the version of today", function()
  local topic, file = names()
  local Counted = event.define("counted", { n = "integer", unit = "string" }, {
    version = "2.0", upcast = { ["1.0"] = function(data) data.unit = "pieces" return data end },
  })
  t.ok(kafka.producer():send {
    topic = topic, key = "k", value = '{"type":"counted","version":"1.0","data":{"n":3.0}}',
  })
  local p = declare(topic, file, {
    on = {
      [Counted] = function(e, rows)
        return rows:exec(ADD, e.data.unit, e.data.n)
      end,
    },
  })
  caught_up(p, 1)
  t.eq(p:query "SELECT * FROM sums", { { bucket = "pieces", n = 1, total = 3 } })
end)

t.test("a caller's mistakes throw", function()
  local function fails(what, change)
    local o = { name = "x", topic = "t", db = ":memory:", tables = TABLES, on = { a = add } }
    change(o)
    t.has(t.fails(function() projection(o) end), what)
  end
  fails("name: letters", function(o) o.name = "a-b" end)
  fails("no topic", function(o) o.topic = nil end)
  fails("at least one", function(o) o.tables = {} end)
  fails("its columns as text", function(o) o.tables = { a = {} } end)
  fails("table (columns)", function(o) o.indexes = { "other (n)" } end)
  fails("no handler", function(o) o.on = {} end)
  fails("did you mean", function(o) o.tabels = {} end)
end)

t.test("a topic that was made anew is not read into the old tables", function()
  local topic, file = names()
  send(topic, 1, 10)
  local p = idle(topic, file)
  local db = t.ok(p:connect()).follow
  t.ok(rebuild.run(p.def, db, {}))
  t.ok(db:exec("UPDATE sipeat_projection_positions SET next_offset = next_offset + 1000"))
  local again = declare(topic, file)
  local status = until_true(function()
    local now = again:status()
    return now and now.code and now
  end, "the refusal")
  t.eq(status.code, "PROJECTION_POSITION_LOST")
  t.has(status.message, "made anew")
end)

t.test("a program that ends stops following, and gives its lease back", function()
  local topic, file = names()
  send(topic, 1, 1)
  local p = declare(topic, file)
  until_true(function()
    local now = p:status()
    return now and now.following
  end, "the follower")
  background.stop()
  until_true(function()
    local now = p:status()
    return now and not now.following and not now.followed_by
  end, "the end")
end)
