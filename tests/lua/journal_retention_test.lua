--- sipeat.journal_retention: what has ended long ago goes, page by page; what is open stays.
local t = require "sipeat.luatest"
local core = require "sipeat.core.journal"
local retention = require "sipeat.journal_retention"
local sys = require "sipeat.core.sys"

t.journal()

local EPOCH_2020_MS = 1577836800000
local DAY_MS = 24 * 3600 * 1000
local NOW = sys.now_ms()
local offset = 0

-- A run of that state that began, and changed for the last time, so many days ago.
local function add(state, began_days, changed_days)
  offset = offset + 1
  local at, changed = NOW - began_days * DAY_MS, NOW - (changed_days or began_days) * DAY_MS
  local id = (at - EPOCH_2020_MS) << 22 | offset
  t.eq(core.write({ "run_add", id, 1, 1, 0, at, "f", "c", "t", 0, offset, "e" .. offset, "x", nil,
    core.blob "hash", core.blob "r", n = 16 },
    { "record_add", id, 1, 1, at, 1, "chain:a/state/steps/b", "{}", n = 8 },
    { "audit_add", id, 1, at, "ada", "retry", "why", n = 7 },
    { "run_state", id, 1, state, 0, changed, nil, n = 7 }), 1)
  return id
end

local function is_there(id)
  local runs, records, audit = core.write({ "run_get", id, n = 2 }, { "records", id, n = 2 },
    { "audit", id, n = 2 })
  t.eq(#records, #runs, "records go with their run")
  t.eq(#audit, #runs, "so does what people said")
  return #runs == 1
end

t.test("what has ended before the time goes; what is open, or ended since, stays", function()
  t.eq(retention.keep_ms, 7 * DAY_MS)
  local old_done, old_dead = add(10, 9), add(11, 8)
  local open = { add(1, 30), add(2, 30), add(3, 30), add(4, 30), add(5, 30) }
  local young, late = add(10, 1), add(10, 30, 2)
  t.eq(retention.purge_all(), 2)
  t.eq({ is_there(old_done), is_there(old_dead) }, { false, false })
  for i, id in ipairs(open) do
    t.ok(is_there(id), "open run " .. i)
  end
  t.ok(is_there(young))
  t.ok(is_there(late), "began long ago, ended yesterday")
end)

t.test("many go in pages, and open ones between them cost no batch more than once", function()
  for _ = 1, 450 do
    add(10, 20)
  end
  local batches = 0
  t.eq(retention.purge_all(function()
    batches = batches + 1
  end), 450)
  t.ok(batches >= 2, batches)
  t.eq(retention.purge_all(), 0)
end)

t.test("signals and scripts that nobody needs go too", function()
  local long_ago, now = NOW - 8 * DAY_MS, NOW
  core.write({ "script_add", core.blob "hash", long_ago, core.blob "used", n = 4 },
    { "script_add", core.blob "unused", long_ago, core.blob "old", n = 4 },
    { "script_add", core.blob "new", now, core.blob "new", n = 4 },
    { "signal_add", "paid", "k", "1", long_ago, nil, n = 6 },
    { "signal_add", "paid", "k", "2", now, nil, n = 6 })
  t.ok(retention.purge_all())
  local used, unused, new, signals = core.write({ "script_get", core.blob "hash", n = 2 },
    { "script_get", core.blob "unused", n = 2 }, { "script_get", core.blob "new", n = 2 },
    { "signals_for", "paid", "k", n = 3 })
  t.eq({ #used, #unused, #new, #signals }, { 1, 0, 1, 1 })
  t.eq(signals[1][1], "2")
end)

t.test("the time comes from a text, and a wrong one is named", function()
  t.ok(retention.set_keep "12h")
  t.eq(retention.keep_ms, DAY_MS // 2)
  local ok, message = retention.set_keep "a week"
  t.eq(ok, nil)
  t.has(message, "SIPEAT_JOURNAL_KEEP")
end)
