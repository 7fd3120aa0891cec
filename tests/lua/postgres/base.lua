--- What the tests of sipeat.postgres share: one server for a test file, and tables of its own.
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local M = {}

M.url, M.port, M.certificate, M.control =
  t.server("postgres_server.py"):match "^(%S+) (%d+) (%S+) (%S+)$"

function M.open(options)
  options = options or {}
  options.wait = options.wait or "60s" -- the machine may have other things to do
  return t.ok(sql.open(M.url, options))
end

-- A table of its own for each test.
local count = 0
function M.fresh(db, columns)
  count = count + 1
  local name = "t" .. count
  t.ok(db:script(("CREATE TABLE %s (%s)"):format(name, columns)))
  return name
end

function M.spawn_all(n, f)
  local tasks, results = {}, {}
  for i = 1, n do
    tasks[i] = task.spawn(f, i)
  end
  for i = 1, n do
    results[i] = table.pack(tasks[i]:join())
  end
  return results
end

return M
