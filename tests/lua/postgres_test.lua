--- sipeat.postgres against a real server: values, errors, pool, transactions.
local base = require "postgres.base"
local json = require "sipeat.json"
local postgres = require "sipeat.postgres"
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local URL = base.url
local open, fresh, spawn_all = base.open, base.fresh, base.spawn_all

t.test("values keep their types", function()
  local db <close> = open()
  local row = t.ok(db:query([[SELECT ?::int8 AS i, ?::float8 AS r, ?::text AS s, ?::bytea AS b,
      ?::text AS none, ?::boolean AS yes, ?::numeric AS n, ?::float8 AS nan]],
    math.maxinteger, 0.1, "a'b\\?", sql.blob("\0\xff"), nil, true, "12345678901234567890.10",
    math.huge))[1]
  t.eq(row, {
    i = math.maxinteger, r = 0.1, s = "a'b\\?", b = "\0\xff", yes = true,
    n = "12345678901234567890.10", nan = math.huge,
  })
  t.eq(db:query("SELECT ?::int AS n", 3.0)[1].n, 3)
  t.eq(db:query("SELECT 1 WHERE false"), {})
  t.eq(db:query [[SELECT timestamptz '2026-01-02 03:04:05.5+01' AS a,
      timestamp '2026-01-02 03:04' AS b, date '2026-01-02' AS c,
      timestamptz 'infinity' AS d]], { {
    a = "2026-01-02T02:04:05.5Z", b = "2026-01-02T03:04:00", c = "2026-01-02", d = "infinity",
  } })
end)

t.test("json is a table, an array is a list", function()
  local db <close> = open()
  local value = { list = { 1, 2.5, json.null }, text = "é\"" }
  local row = t.ok(db:query([[SELECT ?::jsonb AS j, ?::int[] AS a, ?::text[] AS b,
      '{}'::int[] AS none, '[0:1]={5,6}'::int[] AS c]],
    postgres.json(value), postgres.array { 1, json.null, 3 },
    postgres.array { { "a\\\"b", "NULL" }, { "", "x,{y}" } }))[1]
  t.eq(row.j.list[2], 2.5)
  t.eq(row.j.text, "é\"")
  t.eq(row.a, { 1, json.null, 3 })
  t.eq(row.b, { { "a\\\"b", "NULL" }, { "", "x,{y}" } })
  t.eq(row.none, {})
  t.eq(row.c, { 5, 6 })
end)

t.test("question marks are values, and only where they are code", function()
  local db <close> = open()
  t.eq(db:query([[SELECT '?' AS a, "?column?" AS b, ?::int AS c /* ? /* ? */ */, $x$?$x$ AS d,
    E'\'?' AS e, '{"k":1}'::jsonb ?? 'k' AS f -- ?
    FROM (SELECT 1) AS "t?"("?column?")]], 7), { {
    a = "?", b = 1, c = 7, d = "?", e = "'?", f = true,
  } })
  t.eq(db:query("SELECT $2::int - $1::int AS n", 1, 5)[1].n, 4)
  t.eq(db:query("SELECT ?2::int - ?1::int AS n", 1, 5)[1].n, 4)
end)

t.test("exec counts changes and gives what RETURNING gives", function()
  local db <close> = open()
  local name = fresh(db, "n serial PRIMARY KEY, v int")
  t.eq({ db:exec(("INSERT INTO %s (v) VALUES (1), (2) RETURNING n"):format(name)) }, { 2, 1 })
  t.eq(db:exec(("UPDATE %s SET v = 3 WHERE n > 100"):format(name)), 0)
end)

t.test("rules that a row breaks have the names of sipeat.sql", function()
  local db <close> = open()
  local name = fresh(db, "n int PRIMARY KEY CHECK (n > 0), v text NOT NULL")
  local other = fresh(db, ("n int REFERENCES %s"):format(name))
  t.ok(db:exec(("INSERT INTO %s VALUES (1, 'a')"):format(name)))
  for statement, expected in pairs {
    [("INSERT INTO %s VALUES (1, 'a')"):format(name)] = "SQL_UNIQUE",
    [("INSERT INTO %s VALUES (-1, 'a')"):format(name)] = "SQL_CHECK",
    [("INSERT INTO %s VALUES (2, NULL)"):format(name)] = "SQL_NOT_NULL",
    [("INSERT INTO %s VALUES (7)"):format(other)] = "SQL_FOREIGN_KEY",
    ["INSERT INTO missing VALUES (1)"] = "SQL_ERROR",
    ["SELECT 1; SELECT 2"] = "SQL_ERROR",
    ["COPY (SELECT 1) TO STDOUT"] = "SQL_ERROR",
    ["/* x */ begin"] = "SQL_ERROR",
    ["SELECT 'x'::int"] = "SQL_ERROR",
  } do
    local result, message, code = db:query(statement)
    t.eq({ result, code }, { nil, expected }, statement)
    t.eq(sql.is_constraint(code), expected ~= "SQL_ERROR")
    t.ok(message)
  end
  t.eq(select(3, db:query("SELECT ?::text", "a\0b")), "BAD_DATA")
  t.eq(db:query("SELECT 1 AS n"), { { n = 1 } }) -- none of it has hurt the connections
end)

t.test("a caller's mistakes throw", function()
  local db = open()
  t.fails(function() db:query("SELECT ?", {}) end, "sql.blob")
  t.fails(function() sql.open(URL, { busy_timeout = "1s" }) end, "unknown option busy_timeout")
  t.fails(function() db:transaction(function() end, { isolation = "none" }) end, "isolation")
  t.fails(function()
    db:transaction(function() return db:query "SELECT 1" end)
  end, "use the tx")
  db:close()
  t.fails(function() db:query "SELECT 1" end, "closed")
end)

t.test("statements are prepared once, and the oldest goes when there is no room", function()
  local db <close> = open { max_connections = 1, statements = 2 }
  for i = 1, 50 do
    t.eq(db:query("SELECT ?::int AS n", i)[1].n, i)
  end
  t.eq(db:status().prepared, 1)
  for i = 1, 10 do
    t.eq(db:query(("SELECT %d AS n"):format(i))[1].n, i)
  end
  t.eq(db:query("SELECT count(*) AS n FROM pg_prepared_statements")[1].n, 2)
  local name = fresh(db, "n int")
  for _ = 1, 20 do -- what fails when it runs stays prepared
    t.eq(select(3, db:query "SELECT 1 / 0"), "SQL_ERROR")
  end
  t.eq(db:query("SELECT count(*) AS n FROM pg_prepared_statements")[1].n, 2)
  local all = "SELECT * FROM " .. name
  t.eq(db:query(all), {})
  t.ok(db:script(("ALTER TABLE %s ADD COLUMN v int; INSERT INTO %s VALUES (1, 2)")
    :format(name, name)))
  t.eq(db:query(all), { { n = 1, v = 2 } }) -- its plan was of no use any more
  t.ok(db:script "DEALLOCATE ALL")
  t.eq(db:query(all), { { n = 1, v = 2 } })
  local plain <close> = open { statements = 0 }
  t.eq(plain:query("SELECT ?::int AS n", 1)[1].n, 1)
  t.eq(plain:status().prepared, 0)
end)

t.test("what comes at once shares connections", function()
  local db <close> = open { max_connections = 2, pipeline = 50 }
  for i, result in ipairs(spawn_all(300, function(i)
    return t.ok(db:query("SELECT ?::int AS n", i))[1].n
  end)) do
    t.eq(result[1], i)
  end
  t.ok(db:status().connections <= 2)
end)

t.test("a transaction has a connection to itself", function()
  local db <close> = open { max_connections = 2 }
  local name = fresh(db, "n int")
  local insert = ("INSERT INTO %s VALUES (?)"):format(name)
  local function rows()
    return db:query("SELECT count(*) AS n FROM " .. name)[1].n
  end
  t.eq(db:transaction(function(tx)
    t.ok(tx:exec(insert, 1))
    t.eq(task.spawn(rows):join(), 0)
    return tx:query("SELECT count(*) AS n FROM " .. name)[1].n
  end), 1)
  t.fails(function()
    db:transaction(function(tx)
      t.ok(tx:exec(insert, 2))
      error "boom"
    end)
  end, "boom")
  t.eq({ db:transaction(function(tx)
    t.ok(tx:exec(insert, 2))
    return nil, "no", "WHY"
  end) }, { nil, "no", "WHY" })
  local _, _, code = db:transaction(function(tx)
    tx:exec "INSERT INTO missing VALUES (1)"
    local result, _, after = tx:exec(insert, 2)
    t.eq({ result, after }, { nil, "SQL_ROLLED_BACK" })
    return true
  end)
  t.eq(code, "SQL_ROLLED_BACK") -- a commit that was none
  t.eq(rows(), 1)
  t.eq(select(3, db:transaction(function(tx)
    return tx:exec(insert, 3)
  end, { read_only = true })), "SQL_READ_ONLY")
  t.eq(db:transaction(function(tx)
    t.ok(tx:exec "SAVEPOINT s")
    tx:exec "SELECT 1 / 0"
    t.ok(tx:exec "ROLLBACK TO s")
    return tx:exec(insert, 9)
  end), 1)
  t.eq(rows(), 2)
  t.eq(db:status().held, 0)
end)

t.test("a script that leaves a transaction open ends its connection, not the program", function()
  local db <close> = open { max_connections = 1 }
  t.eq(select(3, db:script "BEGIN; SELECT 1"), "SQL_ERROR")
  t.ok(db:script "BEGIN; SELECT 1; COMMIT")
  t.eq(db:query("SELECT 1 AS n")[1].n, 1)
end)

t.test("a killed task's statement is stopped and its transaction undone", function()
  local db <close> = open { max_connections = 2 }
  local name = fresh(db, "n int")
  local started = task.monotonic_ms()
  local result, _, code = task.with_timeout("200ms", function()
    return db:transaction(function(tx)
      t.ok(tx:exec(("INSERT INTO %s VALUES (1)"):format(name)))
      return tx:query "SELECT pg_sleep(60)"
    end)
  end)
  t.eq({ result, code }, { nil, "ETIMEDOUT" })
  t.eq(db:transaction(function(tx) -- gets its turn once the other one is gone
    return tx:query("SELECT count(*) AS n FROM " .. name)[1].n
  end), 0)
  while db:query([[SELECT count(*) AS n FROM pg_stat_activity
      WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active']])[1].n > 0 do
    task.sleep "20ms"
  end
  t.ok(task.monotonic_ms() - started < 30000)
end)

t.test("a statement that was cancelled does not take its neighbours along", function()
  local db <close> = open { max_connections = 1, pipeline = 50 }
  local slow = task.spawn(function()
    return task.with_timeout("100ms", db.query, db, "SELECT pg_sleep(60)")
  end)
  local results = spawn_all(20, function(i)
    return db:query("SELECT ?::int AS n", i)
  end)
  for i, result in ipairs(results) do
    t.eq(result[1] and result[1][1].n, i, tostring(result[2]))
  end
  t.eq(select(3, slow:join()), "ETIMEDOUT")
end)

t.test("conflicts of transactions: told, or tried again", function()
  local db <close> = open { max_connections = 4 }
  local name = fresh(db, "id int PRIMARY KEY, n int")
  t.ok(db:exec(("INSERT INTO %s VALUES (1, 0), (2, 0)"):format(name)))
  local function add(options)
    return function()
      return db:transaction(function(tx)
        local n = assert(tx:query(("SELECT n FROM %s WHERE id = 1"):format(name)))[1].n
        local set = ("UPDATE %s SET n = ? WHERE id = 1"):format(name)
        assert(tx:exec(set, n + 1)) -- assert loses the code
        return true
      end, options)
    end
  end
  local results = spawn_all(4, add { isolation = "serializable", retries = 100 })
  for _, result in ipairs(results) do
    t.eq(result[1], true, tostring(result[2]))
  end
  t.eq(db:query(("SELECT n FROM %s WHERE id = 1"):format(name))[1].n, 4)
  local first, second = task.channel(1), task.channel(1)
  local function cross(a, b, mine, other)
    return db:transaction(function(tx)
      t.ok(tx:exec(("UPDATE %s SET n = 0 WHERE id = ?"):format(name), a))
      mine:send(true)
      other:recv()
      return tx:exec(("UPDATE %s SET n = 0 WHERE id = ?"):format(name), b)
    end)
  end
  local left = task.spawn(cross, 1, 2, first, second)
  local right = task.spawn(cross, 2, 1, second, first)
  local codes = { select(3, left:join()) or "fine", select(3, right:join()) or "fine" }
  table.sort(codes)
  t.eq(codes, { "SQL_CONFLICT", "fine" }) -- a deadlock has one loser
end)

t.test("a pool that is exhausted says so in time", function()
  local db <close> = open { max_connections = 1, wait = "100ms" }
  db:transaction(function(tx)
    local other = task.spawn(db.query, db, "SELECT 1")
    local result, message, code = other:join()
    t.eq({ result, code }, { nil, "SQL_POOL_TIMEOUT" })
    t.has(message, "max_connections")
    return tx:query "SELECT 1"
  end)
  t.eq(db:query("SELECT 1 AS n")[1].n, 1)
end)

t.test("rows are bounded, and what is too much is stopped", function()
  local db <close> = open { max_connections = 1, max_result = "1mb" }
  local _, message, code = db:query "SELECT repeat('x', 1000), generate_series(1, 100000000)"
  t.eq(code, "TOO_BIG")
  t.has(message, "max_result")
  t.eq(#t.ok(db:query "SELECT repeat('x', 1000) FROM generate_series(1, 500)"), 500)
  local parameter = ("x"):rep(900000)
  t.eq(db:query("SELECT length(?::text) AS n", parameter)[1].n, 900000)
end)

t.test("a statement may take no longer than it may", function()
  local db <close> = open { statement_timeout = "100ms" }
  local _, message, code = db:query "SELECT pg_sleep(60)"
  t.eq(code, "SQL_TIMEOUT")
  t.has(message, "statement_timeout")
  t.eq(db:query("SELECT 1 AS n")[1].n, 1)
end)

