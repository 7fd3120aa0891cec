--- Versions of the script in the journal: written before the first run of each, and read again when
--- a run goes on under one that does not run any more.
local core = require "sipeat.core.journal"
local flow = require "sipeat.flow"
local journal = require "sipeat.journal"
local kept = require "sipeat.versions_kept"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local versions = require "sipeat.versions"

local scripts = {} -- hash -> files, as the journal has them
local log = {}
local fails

core.blob = function(bytes)
  return bytes
end

journal.write = function(...)
  local results, names = {}, {}
  for i, statement in ipairs { ... } do
    local name = statement[1]
    names[i], results[i] = name, 1
    if name == "script_add" then
      task.sleep "2ms"
      scripts[statement[2]] = statement[4]
    elseif name == "script_get" then
      results[i] = scripts[statement[2]] and { { scripts[statement[2]], n = 1 } } or {}
    elseif name == "run_of_event" then
      results[i] = {}
    end
  end
  log[#log + 1] = table.concat(names, " ")
  if fails then
    return nil, "the disk is full", "JOURNAL_FULL"
  end
  return table.unpack(results)
end

-- The flow "f" of the version of this file.
local function running_flow()
  versions.begin()
  versions.declare(flow.define({
    topic = "t", group = "f", on = { a = function() return "running" end },
  }, 1))
  versions.commit()
  return versions.handlers((versions.current())).f
end

local function new_run(script, n)
  return journal.run {
    epoch = 1, flow = "f", cluster = "c", script = script, event = { id = "e" .. n },
    record = { topic = "t", partition = 0, offset = n, headers = {} },
  }
end

local ours = running_flow()

t.test("the files are durable before the first record of a version's runs, and once", function()
  local hash = kept.of(ours)
  t.eq(#hash, 32)
  local begun = {}
  for i = 1, 5 do
    begun[i] = function() return t.ok(new_run(hash, i):keep("intent", "a", 1)) end
  end
  t.ok(task.gather(begun))
  t.eq(log[1], "script_add")
  t.eq(#log, 6)
  t.eq(log[6], "run_of_event run_add record_add")
  t.eq(sys.sha256(scripts[hash]), (versions.of(ours)))
  t.ok(new_run(hash, 6):keep("intent", "a", 1))
  t.eq(log[7], "run_of_event run_add record_add")
end)

t.test("they are written again after a while, so that they are not purged", function()
  local before = kept.RENEWED_MS
  kept.RENEWED_MS, log = 0, {}
  t.ok(new_run(kept.of(ours), 7):keep("intent", "a", 1))
  kept.RENEWED_MS = before
  t.eq(log, { "script_add", "run_of_event run_add record_add" })
end)

t.test("a run does not begin when they cannot be written", function()
  local before = kept.RENEWED_MS
  kept.RENEWED_MS, log, fails = 0, {}, true
  local ok, why = new_run(kept.of(ours), 8):keep("intent", "a", 1)
  kept.RENEWED_MS, fails = before, nil
  t.eq(ok, nil)
  t.has(why.message, "the disk is full")
  t.eq(log, { "script_add" })
end)

t.test("a run of no script has nothing to keep", function()
  log = {}
  t.eq(kept.of {}, "")
  t.ok(new_run("", 9):keep("intent", "a", 1))
  t.eq(log, { "run_of_event run_add record_add" })
end)

local function runs_of(id)
  local hex = id:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  for _, one in ipairs(versions.used()) do
    if one.hash == hex then
      return one.runs
    end
  end
end

t.test("a run goes on under the version that it began with, also after two others", function()
  local hash = kept.of(ours)
  log = {}
  t.ok(rawequal(kept.flow(hash, "f", "t"), ours), "it is the one that runs")
  t.eq(log, {})
  kept.release(hash)
  local source = [[require "sipeat".flow {
    topic = "t", group = "f", on = { a = function() return %d end },
  }]]
  for i = 1, 2 do
    local text = source:format(i)
    local head = ("sipeat script 1\n" .. (">s4s4I4s4s4"):pack("0.0.9", "m.lua", 1, "m.lua", text))
    local id = sys.sha256(head):gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end)
    scripts[id] = head
    local older = t.ok(kept.flow(id, "f", "t"))
    t.eq(older.routes.a.handler(), i)
    t.eq(kept.of(older), id)
    t.eq(select(3, kept.flow(id, "g", "t")), "VERSION_WITHOUT_FLOW")
    t.eq(runs_of(id), 1)
    kept.release(id)
    t.eq(runs_of(id), 0)
    scripts[id] = nil
    t.eq(kept.flow(id, "f", "t"), older)
    kept.release(id)
    for n = 1, versions.IDLE do -- others have been needed since
      kept.flow(("\0"):rep(31) .. string.char(i * 100 + n), "f", "t")
    end
    local gone, message, code = kept.flow(id, "f", "t")
    t.eq({ gone, code }, { nil, "VERSION_UNKNOWN" })
    t.has(message, "the journal does not have it")
  end
end)
