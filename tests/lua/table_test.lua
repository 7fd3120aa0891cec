--- sipeat.table against the embedded broker: latest values, tombstones, spilling, files.
local background = require "sipeat.background"
local kafka = require "sipeat.kafka"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local tables = require "sipeat.table"
local task = require "sipeat.task"

t.broker()

local function name()
  return "table-" .. sys.uuid():sub(1, 8)
end

local function put(topic, changes)
  local records = {}
  for _, change in ipairs(changes) do
    records[#records + 1] = { topic = topic, key = change[1], value = change[2] }
  end
  for _, report in ipairs(t.ok(kafka.producer():send_many(records))) do
    t.ok(report.offset, report.message)
  end
end

local function until_true(f, what)
  for _ = 1, 600 do
    if f() then
      return
    end
    t.ok(task.sleep "20ms")
  end
  error(what .. " did not come")
end

local function all(one)
  local found = {}
  for key, value in one:each() do
    t.eq(found[key], nil)
    found[key] = value
  end
  return found
end

t.test("the latest value of each key, and none of one that was deleted", function()
  local topic = name()
  put(topic, { { "a", '{"n":1}' }, { "b", '{"n":2}' }, { "a", '{"n":3}' }, { "b", nil } })
  local one = tables { topic = topic }
  t.ok(one:ready "10s")
  t.eq({ one:get "a", one:get "b", one:get "c" }, { { n = 3 } })
  put(topic, { { "c", '"text"' }, { "a", nil } })
  until_true(function() return one:get "c" == "text" and one:get "a" == nil end, "the change")
  t.eq(all(one), { c = "text" })
  local status = t.ok(one:status())
  t.eq({ status.ready, status.keys, status.place }, { true, 1, "memory" })
  put(topic, { { "d", "{" } })
  until_true(function() return select(3, one:get "d") == "BAD_DATA" end, "what is broken")
  t.fails(one.get, "a key is text", one, 5)
end)

t.test("what does not fit into memory goes on in a file", function()
  local topic, changes = name(), {}
  for i = 1, 2000 do
    changes[i] = { "key " .. i, ("v"):rep(100) .. i }
  end
  put(topic, changes)
  local one = tables { topic = topic, value = "text", max_bytes = "64kb" }
  t.ok(one:ready "10s")
  local status = t.ok(one:status())
  t.eq({ status.place, status.keys, status.bytes }, { "file", 2000, 0 })
  put(topic, { { "key 7", nil }, { "key 8", "new" } })
  until_true(function() return one:get "key 8" == "new" end, "the change")
  t.eq(one:get "key 7", nil)
  t.eq(one:get("key 2000"), ("v"):rep(100) .. 2000)
  local found, n = all(one), 0
  for _ in pairs(found) do
    n = n + 1
  end
  t.eq({ n, found["key 8"], found["key 7"] }, { 1999, "new" })
end)

t.test("a file stays, and the next start goes on behind it", function()
  local topic, path = name(), "/tmp/sipeat-" .. name() .. ".db"
  put(topic, { { "a", "1" }, { "b", "2" } })
  local one = tables { topic = topic, path = path }
  t.ok(one:ready "10s")
  until_true(function() return one:get "b" == 2 end, "b")
  background.begin()
  background.commit() -- what was declared before stops
  put(topic, { { "b", nil }, { "c", "3" } })
  local db <close> = t.ok(sql.open(path))
  t.ok(db:exec("UPDATE sipeat_table SET value = '9' WHERE key = ?", sql.blob "a"))
  local two = tables { topic = topic, path = path }
  t.ok(two:ready "10s")
  until_true(function() return two:get "c" == 3 end, "c")
  t.eq(all(two), { a = 9, c = 3 }) -- the 9 was not read again
  background.begin()
  background.commit()
  t.ok(db:exec "UPDATE sipeat_table_positions SET at_ms = 1000")
  local three = tables { topic = topic, path = path }
  t.ok(three:ready "10s")
  until_true(function() return three:get "a" == 1 end, "a, read anew")
  t.eq(all(three), { a = 1, c = 3 })
end)

t.test("a topic that was made anew is read from its beginning", function()
  local topic, path = name(), "/tmp/sipeat-" .. name() .. ".db"
  put(topic, { { "a", "1" } })
  local one = tables { topic = topic, path = path }
  t.ok(one:ready "10s")
  background.begin()
  background.commit()
  local db <close> = t.ok(sql.open(path))
  t.ok(db:exec "UPDATE sipeat_table_positions SET next_offset = 500")
  t.ok(db:exec("INSERT INTO sipeat_table VALUES (?, ?, ?)", topic, sql.blob "gone", sql.blob "1"))
  local two = tables { topic = topic, path = path }
  t.ok(two:ready "10s")
  t.eq(all(two), { a = 1 })
end)

t.test("a topic that is not there is waited for", function()
  local topic = name()
  local one = tables { topic = topic }
  t.eq(select(3, one:ready "50ms"), "ETIMEDOUT")
  put(topic, { { "a", "1" } })
  t.ok(one:ready "20s")
  t.eq(one:get "a", 1)
  background.stop()
end)
