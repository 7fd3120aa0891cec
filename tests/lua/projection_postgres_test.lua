--- Projections into PostgreSQL: a unit's statements go down one connection's pipeline.
local background = require "sipeat.background"
local base = require "postgres.base"
local kafka = require "sipeat.kafka"
local projection = require "sipeat.projection"
local rebuild = require "sipeat.projection_rebuild"
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

t.broker()

local function list(count, statement)
  local out = {}
  for i = 1, count do
    out[i] = table.pack(statement(i))
  end
  return out
end

t.test("a batch runs in its order, with every kind of value", function()
  local db <close> = base.open()
  local name = base.fresh(db, "n bigserial PRIMARY KEY, i bigint, s text, b bytea, none text")
  local tx = t.ok(db.handle:begin "BEGIN")
  t.ok(tx:run("batch", list(700, function(i)
    return ("INSERT INTO %s (i, s, b, none) VALUES (?, ?, ?, ?)"):format(name), i, "t" .. i,
      sql.blob "\0\xff", nil
  end)))
  t.ok(tx:commit())
  local rows = t.ok(db:query("SELECT n, i, s, b, none FROM " .. name .. " ORDER BY n"))
  t.eq(#rows, 700)
  for i, row in ipairs(rows) do
    t.eq(row, { n = i, i = i, s = "t" .. i, b = "\0\xff" })
  end
end)

t.test("the first statement that fails is what a batch says, and nothing of it stays", function()
  local db <close> = base.open()
  local name = base.fresh(db, "n bigint PRIMARY KEY")
  local tx = t.ok(db.handle:begin "BEGIN")
  local ok, message, code = tx:run("batch", list(100, function(i)
    return ("INSERT INTO %s VALUES (?)"):format(name), i == 51 and 50 or i
  end))
  t.eq({ ok, code }, { nil, "SQL_UNIQUE" })
  t.has(message, "23505") -- and not 25P02, of those behind it
  tx:close()
  t.eq(db:query("SELECT count(*) AS n FROM " .. name)[1].n, 0)
  tx = t.ok(db.handle:begin "BEGIN")
  ok, message, code = tx:run("batch", { table.pack("SELECT ?::text", "a\0b") })
  t.eq({ ok, code }, { nil, "BAD_DATA" })
  t.has(message, "NUL byte")
  t.fails(tx.run, "statements", tx, "batch", {})
  tx:close()
end)

t.test("a task that is killed leaves its batch, and the connection is of use again", function()
  local db <close> = base.open { max_connections = 1 }
  local name = base.fresh(db, "n bigint PRIMARY KEY")
  local worker = task.spawn(function()
    local tx <close> = setmetatable({}, { __close = function(box) box.tx:close() end })
    tx.tx = t.ok(db.handle:begin "BEGIN")
    return tx.tx:run("batch", list(50, function(i)
      if i == 25 then
        return "SELECT pg_sleep(61)"
      end
      return "INSERT INTO " .. name .. " VALUES (?)", i
    end))
  end)
  local admin <close> = base.open()
  while #t.ok(admin:query("SELECT 1 AS n FROM pg_stat_activity WHERE query = ?"
      .. " AND state = 'active'", "SELECT pg_sleep(61)")) == 0 do
    task.sleep "10ms"
  end
  worker:kill()
  local _, _, code = worker:join()
  t.eq(code, "ECANCELED")
  t.eq(t.ok(db:query("SELECT count(*) AS n FROM " .. name))[1].n, 0)
end)

local function send(topic, from, to)
  local records = {}
  for n = from, to do
    records[#records + 1] = {
      topic = topic, key = "k" .. n % 10, value = ('{"type":"counted","data":{"n":%d}}'):format(n),
    }
  end
  for _, report in ipairs(t.ok(kafka.producer():send_many(records))) do
    t.ok(report.offset, report.message)
  end
end

t.test("a rebuild writes all rows once, and leaves out what PostgreSQL cannot take", function()
  send("pg-sums", 1, 3000)
  background.begin()
  local def = projection {
    name = "pg_sums", topic = "pg-sums", db = base.url, batch = 500, on_error = "skip",
    tables = { sums = "bucket TEXT PRIMARY KEY, n BIGINT NOT NULL, total INTEGER NOT NULL" },
    on = { counted = function(event, rows)
      return rows:exec([[INSERT INTO {sums} AS s VALUES (?, 1, ?) ON CONFLICT (bucket)
        DO UPDATE SET n = s.n + 1, total = s.total + excluded.total]], event.key,
        event.data.n == 1234 and "no number" or event.data.n)
    end },
  }
  background.rollback() -- nobody follows it
  local db = t.ok(def:connect()).follow
  t.eq(t.ok(rebuild.run(def.def, db, {})).events, 3000)
  local row = t.ok(def:query "SELECT sum(n)::int AS n, sum(total) AS total FROM sums")[1]
  t.eq({ row.n, row.total }, { 2999, 3000 * 3001 // 2 - 1234 })
end)
