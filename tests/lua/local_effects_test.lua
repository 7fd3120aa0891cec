--- Steps of kind "local": their statements and their record in one transaction, with a stand-in for
--- the store.
local chain = require "sipeat.chain"
local journal = require "sipeat.journal"
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local function new_ctx()
  local run = journal.run {
    epoch = 1, flow = "f", cluster = "c", script = "s", event = { id = "e1" },
    record = { topic = "t", partition = 0, offset = 7, headers = {} },
  }
  run.added = true -- the event is the journal's
  return { run = run, memory = {}, final = true, id = "e1", log = require "sipeat.log".new "test" }
end

-- Runs f while `transact` answers for groups; what they were.
local function with_store(transact, f)
  local real, groups = journal.write, {}
  journal.write = function(...)
    local results = table.pack(...)
    for i = 1, results.n do
      local group = results[i].group
      groups[#groups + 1] = group
      results[i] = group and transact(group, #groups) or 1
    end
    return table.unpack(results, 1, results.n)
  end
  local ok, why = pcall(f)
  journal.write = real
  t.ok(ok, why)
  return groups
end

local TAKE = { "UPDATE stock SET n = n - ? WHERE name = ?", 1, "cola", expect = 1 }

local function reserve(options)
  options = options or {}
  return chain "order" {
    {
      "reserve", effect = "local", timeout = options.timeout,
      run = function(_, ctx)
        return ctx:transact { TAKE, { "SELECT ?", sql.blob "x" }, result = { left = 4 } }
      end,
      undo = options.undo,
    },
    { "pay", effect = "idempotent", run = options.pay or function() return true end },
  }
end

t.test("statements and the record of the step are one group, and its result is in it", function()
  local results
  local groups = with_store(function() return { 1, {}, 1 } end, function()
    results = t.ok(reserve() ({ id = "e1", data = {} }, new_ctx()))
  end)
  t.eq(#groups, 1)
  local take, _, record = table.unpack(groups[1])
  t.eq({ take.sql, take[1], take[2], take.expect }, { TAKE[1], 1, "cola", 1 })
  t.eq({ record[1], record.expect, record[6] }, { "record_add", 1, 2 })
  t.ok(record[8]:find('"status":"done"', 1, true), record[8])
  t.eq(results.reserve, { left = 4 })
end)

t.test("what the database refuses fails the step for good, and says which statement", function()
  local ok, why
  with_store(function()
    return { failed = 1, code = "SQL_EXPECTED", message = "journal: 1 rows expected, 0 found" }
  end, function()
    ok, why = reserve() ({ id = "e1", data = {} }, new_ctx())
  end)
  t.eq(ok, nil)
  t.eq({ why.code, why.kind }, { "SQL_EXPECTED", "permanent" })
end)

t.test("a transaction that outlasts the step's time counts when it ends", function()
  local results
  local groups = with_store(function()
    task.sleep "60ms"
    return { 1, {}, 1 }
  end, function()
    results = t.ok(reserve { timeout = "10ms" } ({ id = "e1", data = {} }, new_ctx()))
  end)
  t.eq({ #groups, results.reserve }, { 1, { left = 4 } })
end)

t.test("an undo has a transaction of its own", function()
  local undone, why
  local groups = with_store(function(group) return #group == 3 and { 1, {}, 1 } or { 1, 1 } end,
    function()
      undone, why = reserve {
        pay = function() return nil, require "sipeat.failure".permanent "declined" end,
        undo = function(_, _, ctx)
          return ctx:transact { { "UPDATE stock SET n = n + 1", expect = 1 } }
        end,
      } ({ id = "e1", data = {} }, new_ctx())
    end)
  t.eq(undone, nil)
  t.eq(why.undone, { "reserve" })
  t.eq(groups[2][2][6], 4)
  t.ok(groups[2][2][8]:find('"status":"undone"', 1, true), groups[2][2][8])
end)

t.test("without a journal, twice, or with nonsense it is refused", function()
  local function run_step(run, ctx)
    return chain "order" { { "a", effect = "local", run = run } } (
      { id = "e1", data = {} }, ctx or new_ctx()
    )
  end
  local plain = new_ctx()
  plain.run = nil
  with_store(function() return { 1, 1 } end, function()
    local function refused(run, ctx, part)
      local ok, why = run_step(run, ctx)
      t.eq(ok, nil)
      t.ok(why.message:find(part, 1, true), why.message)
    end
    refused(function(_, ctx) return ctx:transact { TAKE } end, plain, "there is no journal")
    refused(function(_, ctx) return ctx:transact { "SELECT 1" } end, nil, "statement 1")
    refused(function(_, ctx) return ctx:transact {} end, nil, "list of statements")
    local again, why
    t.ok(run_step(function(_, ctx)
      ctx:transact { TAKE }
      again, why = pcall(ctx.transact, ctx, { TAKE })
    end))
    t.eq(again, false)
    t.ok(tostring(why):find("once in a step", 1, true), why)
  end)
end)
