--- sipeat.sql: values, errors, transactions, cancelling.
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local ENDLESS = [[
  WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)
  SELECT count(*) FROM c]]

local function memory()
  local db = t.ok(sql.open(":memory:"))
  t.ok(db:script [[
    CREATE TABLE t (
      n INTEGER PRIMARY KEY, name TEXT UNIQUE, price INTEGER CHECK (price >= 0))]])
  return db
end

local function count(db)
  return db:query("SELECT count(*) AS n FROM t")[1].n
end

t.test("values keep their types", function()
  local db <close> = memory()
  local rows = t.ok(db:query("SELECT ? AS i, ? AS r, ? AS s, ? AS b, ? AS none, ? AS yes",
    math.maxinteger, 0.5, "a\0b", sql.blob("\xff"), nil, true))
  t.eq(rows, { { i = math.maxinteger, r = 0.5, s = "a\0b", b = "\xff", yes = 1 } })
  t.eq(db:query("SELECT typeof(?) AS kind", sql.blob("x"))[1].kind, "blob")
  t.eq(db:query("SELECT typeof(?) AS kind", "x")[1].kind, "text")
  t.eq(db:query("SELECT n FROM t"), {})
end)

t.test("exec counts changes and gives the last id", function()
  local db <close> = memory()
  local changes, id = db:exec("INSERT INTO t (n, name) VALUES (?, ?), (?, ?)", 5, "a", 6, "b")
  t.eq({ changes, id }, { 2, 6 })
  t.eq(db:exec("UPDATE t SET price = 3 WHERE n > 100"), 0)
end)

t.test("rules that a row breaks have names", function()
  local db <close> = memory()
  t.ok(db:exec("INSERT INTO t (n, name) VALUES (1, 'a')"))
  for statement, expected in pairs {
    ["INSERT INTO t (n, name) VALUES (2, 'a')"] = "SQL_UNIQUE",
    ["INSERT INTO t (n, price) VALUES (3, -1)"] = "SQL_CHECK",
    ["INSERT INTO missing VALUES (1)"] = "SQL_ERROR",
  } do
    local result, message, code = db:exec(statement)
    t.eq(result, nil)
    t.eq(code, expected)
    t.has(message, statement:sub(1, 20))
    t.eq(sql.is_constraint(code), expected ~= "SQL_ERROR")
  end
end)

t.test("a caller's mistakes throw", function()
  local db = memory()
  t.fails(function() db:query("SELECT ?", {}) end, "sql.blob")
  t.fails(function() db:query("SELECT ?", print) end, "no value of SQL")
  t.fails(function() sql.open("") end, "the path is text")
  t.fails(function() sql.open("x", { timeout = "1s" }) end, "unknown option timeout")
  db:close()
  t.fails(function() db:query("SELECT 1") end, "the database is closed")
end)

t.test("a transaction commits what it did and gives the function's results", function()
  local db <close> = memory()
  local a, b = db:transaction(function(tx)
    t.ok(tx:exec("INSERT INTO t (n) VALUES (1)"))
    return "x", 2
  end)
  t.eq({ a, b }, { "x", 2 })
  t.eq(db:transaction(function(tx) t.ok(tx:exec("INSERT INTO t (n) VALUES (2)")) end), true)
  t.eq(count(db), 2)
end)

t.test("a transaction that fails or raises leaves nothing", function()
  local db <close> = memory()
  local result, message, code = db:transaction(function(tx)
    t.ok(tx:exec("INSERT INTO t (n) VALUES (1)"))
    return nil, "no more", "SOLD_OUT"
  end)
  t.eq({ result, message, code }, { nil, "no more", "SOLD_OUT" })
  t.fails(function()
    db:transaction(function(tx)
      t.ok(tx:exec("INSERT INTO t (n) VALUES (1)"))
      error "boom"
    end)
  end, "boom")
  t.eq(count(db), 0)
end)

t.test("transactions of several tasks run one after the other", function()
  local db <close> = memory()
  t.ok(db:exec("INSERT INTO t (n, price) VALUES (1, 0)"))
  local jobs = {}
  for i = 1, 20 do
    jobs[i] = function()
      return db:transaction(function(tx)
        local price = tx:query("SELECT price FROM t")[1].price
        task.sleep "1ms"
        return tx:exec("UPDATE t SET price = ?", price + 1)
      end)
    end
  end
  t.ok(task.gather(jobs))
  t.eq(db:query("SELECT price FROM t")[1].price, 20)
end)

t.test("several that open a new file at once all get it", function()
  for _ = 1, 20 do
    local path = ("/tmp/sipeat-sql-%s.db"):format(sys.uuid())
    local jobs = {}
    for i = 1, 4 do
      jobs[i] = function()
        local db <close> = t.ok(sql.open(path))
        return t.ok(db:exec("CREATE TABLE IF NOT EXISTS t (n INTEGER)"))
      end
    end
    t.ok(task.gather(jobs))
  end
end)

t.test("db inside of its own transaction is refused instead of waiting for ever", function()
  local db <close> = memory()
  t.ok(db:transaction(function()
    t.fails(function() db:query("SELECT 1") end, "use the tx")
    t.fails(function() db:transaction(print) end, "use the tx")
  end))
  t.eq(count(db), 0)
end)

t.test("a transaction is of no use after its end", function()
  local db <close> = memory()
  local kept
  t.ok(db:transaction(function(tx) kept = tx end))
  t.fails(function() kept:query("SELECT 1") end, "the transaction is over")
end)

t.test("a killed task's transaction is rolled back and lets the others in", function()
  local db <close> = memory()
  local started = task.channel(1)
  local stuck = task.spawn(function()
    db:transaction(function(tx)
      tx:exec("INSERT INTO t (n) VALUES (1)")
      started:send(true)
      task.sleep "1h"
    end)
  end)
  t.ok(started:recv())
  local waiting = task.spawn(count, db)
  stuck:kill()
  t.eq(waiting:join("5s"), 0)
end)

t.test("a statement that takes too long is stopped, and the next one runs", function()
  local db <close> = memory()
  local result, _, code = task.with_timeout("20ms", function() return db:query(ENDLESS) end)
  t.eq({ result, code }, { nil, "ETIMEDOUT" })
  t.eq(count(db), 0)
end)

t.test("closing ends what waits", function()
  local db = memory()
  local first = task.spawn(function() return db:query(ENDLESS) end)
  local second = task.spawn(function() return db:query("SELECT 1") end)
  task.sleep "5ms"
  db:close()
  t.eq(select(3, second:join("5s")), "ECANCELED")
  first:kill()
  t.eq(select(3, first:join("5s")), "ECANCELED")
end)

t.test("a file that cannot be opened says which and why", function()
  local db, message, code = sql.open("/nowhere/x.db")
  t.eq(db, nil)
  t.has(message, "/nowhere/x.db")
  t.eq(code, "SQL_CANNOT_OPEN")
end)

t.test("rows beyond the limit are refused", function()
  local db <close> = t.ok(sql.open(":memory:", { max_result = "10kb" }))
  local rows, _, code = db:query("SELECT randomblob(20000) AS b")
  t.eq({ rows, code }, { nil, "TOO_BIG" })
end)

-- Left open and unfinished on purpose: the end of the process has to clean up after these.
local forgotten = memory()
task.spawn(function() forgotten:query(ENDLESS) end)
task.sleep "5ms"

t.test("a batch runs its statements in order, in one go, with the values of each", function()
  local db <close> = memory()
  local batch = sql.batch()
  for n = 1, 5000 do
    t.ok(batch:add("INSERT INTO t VALUES (?, ?, ?)", n, "name " .. n, n % 7))
    t.ok(batch:add("UPDATE t SET price = price + 1 WHERE n = ?", n))
  end
  t.ok(batch:add("DELETE FROM t WHERE n <= 1000"))
  t.eq(batch:len(), 10001)
  t.eq(db:run(batch), 11000)
  t.eq(batch:len(), 0)
  t.eq(count(db), 4000)
  t.eq(db:query("SELECT * FROM t WHERE n = 5000"), { { n = 5000, name = "name 5000", price = 3 } })
  t.eq(db:run(batch), 0)
end)

t.test("a batch that fails leaves nothing, and says which statement", function()
  local db <close> = memory()
  local batch = sql.batch()
  t.ok(batch:add("INSERT INTO t VALUES (?, ?, ?)", 1, "a", 1))
  t.ok(batch:add("UPDATE t SET price = ? WHERE n = ?", -1, 1))
  t.ok(batch:add("INSERT INTO t VALUES (?, ?, ?)", 2, "b", 1))
  local changes, message, code = db:run(batch)
  t.eq({ changes, code }, { nil, "SQL_CHECK" })
  t.has(message, "UPDATE t SET price")
  t.eq(count(db), 0)
  t.ok(batch:add("INSERT INTO t VALUES (?, ?)", 1, "a"))
  t.has(select(2, db:run(batch)), "but 2 values")
  t.ok(batch:add("INSERT INTO nowhere VALUES (?)", 1))
  t.has(select(2, db:run(batch)), "nowhere")
  t.fails(batch.add, "no value of SQL", batch, "SELECT ?", 1, print)
  t.ok(batch:add("INSERT INTO t VALUES (?, ?, ?)", 3, "c", 1))
  t.eq(db:run(batch), 1)
end)

t.test("a batch is bounded", function()
  local db <close> = memory()
  local batch, big = sql.batch(), ("x"):rep(1024 * 1024)
  local n, added = 0
  repeat
    n = n + 1
    added = table.pack(batch:add("INSERT INTO t (n, name) VALUES (?, ?)", n, n .. big))
  until not added[1]
  t.eq({ n, added[3] }, { 64, "TOO_BIG" })
  t.eq(db:run(batch), 63)
  t.ok(batch:add("INSERT INTO t (n, name) VALUES (?, ?)", n, "small"))
  for i = 2, 32 do
    t.ok(batch:add("UPDATE t SET price = " .. i))
  end
  t.eq(select(3, batch:add "DELETE FROM t"), "TOO_BIG")
  t.eq(batch:len(), 32)
end)
