--- sipeat.postgres on its bad days: connections killed, logins refused, a server that restarts or
--- freezes.
local base = require "postgres.base"
local env = require "sipeat.env"
local http = require "sipeat.http"
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local URL, PORT, CERTIFICATE, CONTROL = base.url, base.port, base.certificate, base.control
local open, fresh, spawn_all = base.open, base.fresh, base.spawn_all

local function tcp(user, rest)
  return ("postgres://%s@localhost:%s/postgres%s"):format(user, PORT, rest or "")
end

local function control(action)
  t.eq(t.ok(http.post(CONTROL .. "/" .. action, {})).status, 204)
end

t.test("a connection that is killed fails what it ran, and no more", function()
  local db <close> = open { max_connections = 2 }
  local admin <close> = open()
  local function terminate(text)
    return admin:query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE ?"
      .. " AND pid <> pg_backend_pid()", text .. "%")
  end
  local victim = task.spawn(db.query, db, "SELECT pg_sleep(61)")
  while #t.ok(terminate "SELECT pg_sleep(61)") == 0 do
    task.sleep "10ms"
  end
  local result, message, code = victim:join()
  t.eq({ result, code }, { nil, "SQL_LOST" })
  t.ok(message)
  t.eq(db:query("SELECT 1 AS n")[1].n, 1)
  local name = fresh(db, "n int")
  result, message, code = db:transaction(function(tx)
    t.ok(tx:exec(("INSERT INTO %s VALUES (1)"):format(name)))
    t.eq(#t.ok(terminate("INSERT INTO " .. name)), 1)
    while tx:query "SELECT 1" do
      task.sleep "10ms"
    end
    return tx:query "SELECT 1"
  end)
  t.eq({ result, code }, { nil, "SQL_LOST" }, message)
  t.eq(db:query("SELECT count(*) AS n FROM " .. name)[1].n, 0)
  t.eq(db:transaction(function(tx) return tx:query("SELECT 1 AS n")[1].n end), 1)
end)

t.test("who may not come in is told why, and at once", function()
  local function refused(url, code, part)
    local db, message, name = sql.open(url, { wait = "100s" })
    t.eq({ db, name }, { nil, code }, message)
    t.has(message, part)
    t.ok(not message:find("s3cret", 1, true), message)
  end
  t.ok(sql.open(URL)):script "CREATE ROLE secret LOGIN PASSWORD 's3cret'; CREATE ROLE private LOGIN"
  refused(tcp "secret:wrong", "SQL_AUTH", "password")
  refused(tcp "secret", "SQL_AUTH", "no password")
  refused(tcp "nobody", "SQL_AUTH", "pg_hba.conf")
  refused(tcp("private", "?sslmode=disable"), "SQL_AUTH", "no encryption")
  refused(tcp("secret:s3cret", "?sslmode=verify-full"), "SQL_TLS", "sslrootcert")
  refused((tcp("secret:s3cret", "?sslmode=verify-full&sslrootcert=" .. CERTIFICATE)
    :gsub("localhost", "127.0.0.1")), "SQL_TLS", "127.0.0.1")
  refused((URL:gsub("/postgres%?", "/missing?")), "SQL_CANNOT_OPEN", "missing")
  refused("postgres://a:s3cret@c/x?nonsense=1", "CONFIG", "does not parse")
  local checked = "?sslmode=verify-full&sslrootcert=" .. CERTIFICATE
  local db <close> = t.ok(sql.open(env.conceal(tcp("secret:s3cret", checked))))
  t.eq(db:query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")[1].ssl, true)
end)

t.test("a host that nobody knows, a server that is not there", function()
  local _, message, code = sql.open("postgres://a@nowhere.invalid/x", { wait = "50ms" })
  t.eq(code, "SQL_CANNOT_OPEN")
  t.has(message, "nowhere.invalid")
  _, message, code = sql.open("postgres://a@/x?host=/nowhere", { wait = "50ms" })
  t.eq(code, "SQL_CANNOT_OPEN")
  t.has(message, "/nowhere")
  local db
  db, message, code = sql.open("postgres://a@127.0.0.1:1/x", { wait = "50ms" })
  t.eq({ db, code }, { nil, "SQL_CANNOT_OPEN" })
  t.has(message, "is the server running")
end)

t.test("more clients than the server takes: they make do with what they have", function()
  local db <close> = open { max_connections = 40, wait = "60s" }
  local results = spawn_all(60, function(i)
    return db:query("SELECT ?::int AS n, pg_sleep(0.02)", i)
  end)
  for i, result in ipairs(results) do
    t.eq(result[1] and result[1][1].n, i, tostring(result[2]))
  end
  t.ok(db:status().connections < 20)
end)

t.test("a server that restarts is found again", function()
  local db <close> = open { max_connections = 2, wait = "60s" }
  local name = fresh(db, "n int")
  control "crash"
  local early = task.spawn(db.exec, db, ("INSERT INTO %s VALUES (1)"):format(name))
  task.sleep "50ms"
  control "start"
  local changed, message = early:join()
  t.eq(changed, 1, message) -- it waited for the server
  t.eq(db:transaction(function(tx)
    return tx:query("SELECT count(*) AS n FROM " .. name)[1].n
  end), 1)
  local under_way = task.spawn(db.query, db, "SELECT pg_sleep(62)")
  task.sleep "50ms"
  control "crash"
  local result, why, code = under_way:join()
  t.eq({ result, code }, { nil, "SQL_LOST" }, why)
  control "start"
  t.eq(db:query("SELECT count(*) AS n FROM " .. name)[1].n, 1)
end)

t.test("a server that is frozen is given up, and found again", function()
  local db <close> = open { max_connections = 1, wait = "60s", statement_timeout = "100ms" }
  t.ok(db:query "SELECT 1")
  control "freeze"
  local under_way = task.spawn(db.query, db, "SELECT 1")
  local result, message, code = under_way:join()
  t.eq({ result, code }, { nil, "SQL_LOST" })
  t.has(message, "no answer")
  control "thaw"
  t.eq(db:query("SELECT 1 AS n")[1].n, 1)
end)

t.test("closing ends what waits", function()
  local db = open { max_connections = 1 }
  local running = task.spawn(db.query, db, "SELECT pg_sleep(63)")
  local waiting = task.spawn(db.transaction, db, function(tx) return tx:query "SELECT 1" end)
  task.sleep "20ms"
  db:close()
  t.eq(select(3, running:join()), "ECANCELED")
  t.eq(select(3, waiting:join()), "ECANCELED")
end)
