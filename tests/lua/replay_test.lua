--- sipeat.replay: runs that were recorded in a journal are handled again, by the same handlers and
--- by changed ones; nothing that a step does is called.
local t = require "sipeat.luatest"
local chain = require "sipeat.chain"
local chains = require "sipeat.chains"
local export = require "sipeat.chain_export"
local failure = require "sipeat.failure"
local flow_run = require "sipeat.flow_run"
local journal = require "sipeat.journal"
local json = require "sipeat.json"
local log = require "sipeat.log"
local observers = require "sipeat.observers"
local replay = require "sipeat.replay"

t.journal()

local offset, called = 0, 0

local function step(name, effect, run, more)
  local out = { name, effect = effect, run = function(...)
    called = called + 1
    return run(...)
  end }
  for key, value in pairs(more or {}) do
    out[key] = value
  end
  return out
end

local function yes()
  return { ok = true }
end

local function flow_of(handler)
  return { group = "sales", routes = { ["request.created"] = { handler = handler } } }
end

-- Handles an event and gives its export, read again.
local function record(handler, attempts, data)
  offset = offset + 1
  local value = json.encode(data or { amount = 150 })
  local made = {
    topic = "requests", partition = 0, offset = offset, key = "m-7", value = value,
    headers = { { "ce_specversion", "1.0" }, { "ce_id", "e" .. offset }, { "ce_source", "/test" },
      { "ce_type", "request.created" } },
  }
  local event = t.ok(require("sipeat.event").from_record(made))
  local run = journal.run {
    epoch = 1, flow = "sales", cluster = "c", script = "hash", event = event, record = made,
  }
  local memory, result, why = {}, nil, nil
  for n = 1, attempts or 1 do
    local ctx = {
      id = event.id, key = event.id, memory = memory, log = log.new "test", run = run,
      final = n == (attempts or 1), attempt = n,
    }
    result, why = flow_run.handle(flow_of(handler), event, ctx)
    if result ~= nil or why.kind == "permanent" then
      break
    end
  end
  local state = result ~= nil and journal.DONE
    or why.code == "UNKNOWN_OUTCOME" and journal.PARKED or journal.DEAD
  t.ok(run:finish(state, why and why.message))
  local lines = t.ok(export.lines(("%d"):format(run.id)))
  return t.ok(export.read(table.concat(lines, "\n") .. "\n")), run, event
end

-- The report of a replay, in which no step was called.
local function again(recorded, handler)
  called = 0
  local report = t.ok(replay.run(recorded, flow_of(handler), {}))
  t.eq(called, 0, "a step was called")
  return report
end

local function kinds(report)
  local out = {}
  for _, one in ipairs(report.steps) do
    for _, part in ipairs(one.parts) do
      out[#out + 1] = one.step .. " " .. part.kind
    end
  end
  for _, part in ipairs(report.parts) do
    out[#out + 1] = part.kind
  end
  return out
end

local function same(recorded, handler)
  local report = again(recorded, handler)
  t.eq(kinds(report), {})
  t.ok(report.same, report.outcome.message)
  return report
end

local function sale(o)
  o = o or {}
  local list = {
    step("inventory", "local", yes, { undo = yes }),
    step("payment", "idempotent", o.pay or yes, { undo = o.refund or yes, args = o.args,
      retry = o.retry, key = o.key }),
    step("dispense", "at_most_once", o.dispense or yes, { reconcile = o.reconcile }),
    step("notice", "repeatable", o.notice or yes, { required = false }),
    undo_retry = { attempts = 1 },
  }
  for _, change in ipairs(o.changes or {}) do
    change(list)
  end
  return chain "sale" (list)
end

local function silent()
  return nil, "no answer", "ETIMEDOUT"
end

t.test("what went well goes well again, with the results of then", function()
  local seen
  local function notice_args(_, ctx)
    seen = ctx.results.payment
    return seen
  end
  local made = { changes = { function(list)
    list[4].args = notice_args
  end }, pay = function()
    return { id = "pi_7" }
  end }
  local recorded = record(sale(made))
  seen, made.pay = nil, silent
  local report = same(recorded, sale(made))
  t.eq(seen, { id = "pi_7" })
  t.eq(report.outcome, { recorded = "done", now = "done" })
end)

t.test("failures, retries, undos and doubts are as they were", function()
  local tries = 0
  local function flaky()
    tries = tries + 1
    if tries < 3 then
      return nil, "busy", "EBUSY"
    end
    return yes()
  end
  same(record(sale { pay = flaky, retry = { attempts = 5, backoff = { "1ms", "2ms" } } }),
    sale { retry = { attempts = 5, backoff = { "1h", "2h" } } })
  tries = 0
  same(record(sale { pay = flaky }, 3), sale())
  t.eq(same(record(sale { dispense = silent }), sale()).outcome.now, "parked")
  t.eq(same(record(sale { dispense = function()
    return nil, failure.permanent("no such slot", "NO_SLOT")
  end }), sale()).outcome.now, "dead")
  same(record(sale { dispense = silent, reconcile = function()
    return "not_done"
  end }), sale { reconcile = silent })
  same(record(sale { notice = function()
    return nil, failure.permanent "no such address"
  end }), sale())
  local function no_refund()
    return nil, failure.permanent("account closed", "CLOSED")
  end
  same(record(sale { dispense = function()
    return nil, failure.permanent("no such slot", "NO_SLOT")
  end, refund = no_refund }), sale())
  same(record(sale { pay = function()
    return require("sipeat.steps").handled { free = true }
  end }), sale())
end)

t.test("a person's word counts as what was recorded", function()
  local handler = sale { dispense = silent }
  local _, run, event = record(handler)
  local id = ("%d"):format(run.id)
  t.ok(chains.act(id, { verb = "skip", step = "dispense", who = "ada", why = "w" }))
  local ctx = { id = event.id, key = event.id, log = log.new "test", run = run }
  ctx.memory, run.seq = journal.memory(run.id)
  t.ok(flow_run.handle(flow_of(handler), event, ctx))
  t.ok(run:finish(journal.DONE))
  local recorded = t.ok(export.read(table.concat(t.ok(export.lines(id)), "\n")))
  same(recorded, sale())
  t.ok(chains.act(id, { verb = "undo", who = "ada", why = "w" }))
  ctx.memory, run.seq = journal.memory(run.id)
  t.eq((flow_run.handle(flow_of(handler), event, ctx)), nil)
  t.ok(run:finish(journal.DEAD, "undone"))
  recorded = t.ok(export.read(table.concat(t.ok(export.lines(id)), "\n")))
  t.eq(same(recorded, sale()).outcome.now, "dead")
end)

t.test("observers are answered as a whole, or by their chains", function()
  local told = 0
  local function both(first)
    return observers { sale = first, notice = function()
      told = told + 1
      return true
    end }
  end
  local recorded = record(both(sale()))
  t.eq(told, 1)
  same(recorded, both(sale()))
  t.eq(told, 1, "the observer was not called again")
  t.eq(kinds(again(recorded, both(sale { args = function()
    return { amount = 1 }
  end }))), { "payment arguments" })
end)

t.test("each way to part is named", function()
  local recorded = record(sale())
  t.eq(kinds(again(recorded, sale { args = function(event)
    return { amount = event.data.amount * 2 }
  end })), { "payment arguments" })
  t.eq(kinds(again(recorded, sale { key = function()
    return "another"
  end })), { "payment key" })
  t.eq(kinds(again(recorded, sale { changes = { function(list)
    table.remove(list, 1)
  end } })), { "inventory missing" })
  t.eq(kinds(again(recorded, sale { changes = { function(list)
    table.insert(list, step("receipt", "repeatable", yes))
  end } })), { "receipt new" })
  t.eq(kinds(again(recorded, sale { changes = { function(list)
    list[1], list[2] = list[2], list[1]
  end } })), { "order" })
  local report = again(record(sale { dispense = silent }), sale { changes = { function(list)
    list[3].required = false
  end } })
  t.ok(not report.same)
  t.eq(t.ok(again(recorded, function()
    return nil, failure.permanent "not today"
  end)).outcome, { recorded = "done", now = "dead", message = "not today" })
end)

t.test("what a handler emits is listed, and not sent", function()
  local function emitting(event, ctx)
    ctx:emit("bills", "k", "v")
    ctx:on_end(t.fails)
    return sale()(event, ctx)
  end
  local recorded = record(sale())
  local outputs = {}
  t.ok(t.ok(replay.run(recorded, flow_of(emitting), outputs)).same)
  t.eq(outputs, { { kind = "emit", topic = "bills", key = "k", value = "v" } })
end)

t.test("what is no export is refused with its line", function()
  local lines = t.ok(export.lines(("%d"):format(select(2, record(sale())).id)))
  local cases = {
    { "", "the file is empty" }, { "no JSON", "line 1: no JSON object" },
    { "[1]", "no file of sipeat chains export" },
    { '{"sipeat_export":2,"run":{}}', "use a newer sipeat" },
    { table.concat(lines, "\n", 1, #lines - 1), "the file is not whole" },
    { lines[1] .. "\n" .. lines[#lines], "the file is not whole" },
    { lines[1] .. '\n{"record":{"seq":"x"}}', "line 2: a record lacks" },
    { lines[1]:gsub('"record_base64":"[^"]*"', '"record_base64":"?"') .. '\n{"lines":2}',
      "the event is missing, or no Base64" },
  }
  for _, case in ipairs(cases) do
    local value, message, code = export.read(case[1])
    t.eq({ value, code }, { nil, "BAD_DATA" })
    t.has(message, case[2])
  end
end)
