--- sipeat.chains on a journal of its own: runs are made by real chains, verbs change them, and the
--- same handler goes on from what is then in the journal.
local t = require "sipeat.luatest"
local chain = require "sipeat.chain"
local chains = require "sipeat.chains"
local core = require "sipeat.core.journal"
local failure = require "sipeat.failure"
local journal = require "sipeat.journal"
local json = require "sipeat.json"
local log = require "sipeat.log"
local object = require "sipeat.chain_object"
local observers = require "sipeat.observers"
local sys = require "sipeat.core.sys"

t.journal()

local offset = 0
local calls = {}

local function called(name)
  calls[name] = (calls[name] or 0) + 1
end

-- A chain whose dispense does what `world.dispense` says.
local world = {}
local drink = chain "drink" {
  { "inventory", effect = "local", run = function()
    called "inventory"
    return { slot = 3 }
  end, undo = function()
    called "inventory undone"
    return true
  end },
  { "payment", effect = "idempotent", args = function()
    return { amount = 150, card_token = "tok_secret" }
  end, run = function()
    called "payment"
    return { id = "pi_1" }
  end, undo = function()
    called "payment undone"
    if world.refund == "fails" then
      return nil, failure.permanent("account closed", "CLOSED")
    end
    return true
  end },
  { "dispense", effect = "at_most_once", run = function()
    called "dispense"
    if world.dispense == "silent" then
      return nil, "no answer", "ETIMEDOUT"
    elseif world.dispense == "refused" then
      return nil, failure.permanent("no such slot", "NO_SLOT")
    end
    return { vended = true }
  end, undo = world.undo_dispense },
  undo_retry = { attempts = 1 },
}

local function event_of(id)
  offset = offset + 1
  return {
    id = id or ("e-%d"):format(offset), type = "request.created", data = { slot = 3 },
  }
end

-- Handles an event as a flow does, and ends its run as its outcome says. Gives the run's id.
local function handle(handler, event, run, memory)
  run = run or journal.run {
    epoch = 1, flow = "sipeat-request", cluster = "c", script = "hash", event = event,
    record = {
      topic = "requests", partition = 0, offset = offset, key = "m-7", value = "{}", headers = {},
    },
  }
  local ctx = {
    id = event.id, key = event.id, memory = memory or {}, log = log.new "test", run = run,
    final = true, attempt = 1,
  }
  local result, why = handler(event, ctx)
  local state, text = journal.DONE, nil
  if result == nil then
    text = why.message
    state = why.code == "UNKNOWN_OUTCOME" and journal.PARKED or journal.DEAD
  end
  t.ok(run:finish(state, text))
  return ("%d"):format(run.id), result, why
end

-- What a process does when the run is taken up again.
local function go_on(handler, id, event)
  local memory, seq = journal.memory(math.tointeger(tonumber(id)))
  local run = journal.run {
    epoch = 1, flow = "sipeat-request", cluster = "c", script = "hash", event = event,
    record = { topic = "requests", partition = 0, offset = 0, headers = {} },
  }
  run.id, run.seq, run.added = math.tointeger(tonumber(id)), seq, true
  return handle(handler, event, run, memory)
end

local function said(verb, more)
  local o = { verb = verb, who = "ada", why = "looked at the board" }
  for key, value in pairs(more or {}) do
    o[key] = value
  end
  return o
end

local function parked()
  world.dispense, calls = "silent", {}
  local event = event_of()
  local id, _, why = handle(drink, event)
  t.eq(why.code, "UNKNOWN_OUTCOME")
  world.dispense = nil
  return id, event
end

t.test("a parked run is listed first, with its reason", function()
  local done = handle(drink, event_of())
  local id, event = parked()
  local list = t.ok(chains.list {})
  t.eq(#list.runs, 1)
  t.eq(list.counts, { parked = 1 })
  t.eq(list.runs[1].id, id)
  t.eq(list.runs[1].state, "parked")
  t.has(list.runs[1].why, "step dispense: outcome unknown")
  list = t.ok(chains.list { state = "all" })
  t.eq({ list.runs[1].id, list.runs[2].id }, { id, done })
  t.eq(list.counts, { parked = 1, done = 1 })
  t.eq(#t.ok(chains.list { state = "done" }).runs, 1)
  t.eq(#t.ok(chains.list { flow = "other" }).runs, 0)
  t.eq(#t.ok(chains.list { type = "request.created", key = "m-7" }).runs, 1)
  t.eq(#t.ok(chains.list { key = "m-8" }).runs, 0)
  t.eq(t.ok(chains.list { event = event.id }).runs[1].id, id)
  t.eq(#t.ok(chains.list { event = "none" }).runs, 0)
  t.eq(#t.ok(chains.list { since_ms = sys.now_ms() + 60000 }).runs, 0)
  t.eq(#t.ok(chains.list { before_ms = sys.now_ms() - 60000 }).runs, 0)
  list = t.ok(chains.list { state = "all", max = 1 })
  t.eq({ #list.runs, list.runs[1].id, list.more }, { 1, id, true })
  t.ok(chains.act(id, said "abandon"))
end)

t.test("show has each step, its outcome, and what can be said", function()
  local id, event = parked()
  local run = object.full(t.ok(chains.show(event.id)))
  t.eq(run.id, id)
  t.eq(run.key, "m-7")
  local names = {}
  for i, step in ipairs(run.steps) do
    names[i] = step.step .. " " .. step.status
  end
  t.eq(names, { "inventory done", "payment done", "dispense unknown" })
  t.eq(run.steps[2].result, { id = "pi_1" })
  t.eq(run.timeline[1].phase, "intent")
  t.eq({ run.timeline[2].status, run.timeline[2].step }, { "done", "inventory" })
  t.ok(run.timeline[2].duration_ms >= 0)
  t.has(run.timeline[#run.timeline].message, "outcome unknown")
  local verbs = {}
  for i, what in ipairs(run.next) do
    verbs[i] = what.verb .. (what.step and " " .. what.step or "")
  end
  t.eq(verbs, { "retry", "skip dispense", "undo", "complete", "abandon" })
  t.ok(json.encode(run))
  t.ok(chains.act(id, said "abandon"))
end)

t.test("unknown ids are named", function()
  for _, id in ipairs { "77", "no-such-event", "99999999999999999999" } do
    local run, message, code = chains.show(id)
    t.eq(run, nil)
    t.eq(code, "NOT_FOUND")
    t.has(message, id)
  end
end)

t.test("skip with a result goes on behind the step", function()
  local id, event = parked()
  local dry = t.ok(chains.act(id, said("skip", {
    step = "dispense", result = '{"vended":1}', dry_run = true,
  })))
  t.has(dry.changes[1], 'step dispense is done, with the result {"vended":1}')
  t.eq(t.ok(chains.show(id)).state, "parked", "a dry run writes nothing")
  t.eq(#t.ok(chains.show(id)).audit, 0)
  local answer = t.ok(chains.act(id, said("skip", { step = "dispense", result = '{"vended":1}' })))
  t.eq({ answer.before, answer.state, answer.goes_on }, { "parked", "sleeping", true })
  local _, result = go_on(drink, id, event)
  t.eq(result.dispense, { vended = 1 })
  t.eq(calls.dispense, 1, "never commanded again")
  local run = t.ok(chains.show(id))
  t.eq(run.state, "done")
  t.eq(run.audit[1].verb, "skip dispense")
  t.eq({ run.audit[1].who, run.audit[1].why }, { "ada", "looked at the board" })
end)

t.test("skip --not-done runs the step again", function()
  local id, event = parked()
  t.ok(chains.act(id, said("skip", { step = "drink/dispense", not_done = true })))
  local _, result = go_on(drink, id, event)
  t.eq(result.dispense, { vended = true })
  t.eq({ calls.dispense, calls.payment }, { 2, 1 })
end)

t.test("retry without a reconcile parks again and repeats nothing", function()
  local id, event = parked()
  t.ok(chains.act(id, said "retry"))
  local _, _, why = go_on(drink, id, event)
  t.eq(why.code, "UNKNOWN_OUTCOME")
  t.eq(calls.dispense, 1)
  t.eq(t.ok(chains.show(id)).state, "parked")
  t.ok(chains.act(id, said "abandon"))
end)

t.test("undo undoes in reverse, and does not command what is in doubt", function()
  local id, event = parked()
  t.ok(chains.act(id, said "undo"))
  local _, _, why = go_on(drink, id, event)
  t.eq(why.code, "UNDONE")
  t.has(why.message, "undone by ada: looked at the board")
  t.has(why.message, "outcome unknown: dispense")
  t.eq({ calls["payment undone"], calls["inventory undone"], calls.dispense }, { 1, 1, 1 })
end)

t.test("undo of what has ended well goes past the point of no return", function()
  calls = {}
  local event = event_of()
  local id = handle(drink, event)
  t.ok(chains.act(id, said "undo"))
  go_on(drink, id, event)
  t.eq({ calls["payment undone"], calls["inventory undone"] }, { 1, 1 })
end)

t.test("undo reaches a chain within observers that have ended", function()
  calls = {}
  local both = observers { sale = drink, notice = function()
    return true
  end }
  local event = event_of()
  local id = handle(both, event)
  t.eq(t.ok(chains.show(id)).steps.steps[1].path, "sale/drink/inventory")
  t.ok(chains.act(id, said "undo"))
  go_on(both, id, event)
  t.eq(calls["payment undone"], 1)
end)

t.test("an undo that failed can be skipped", function()
  world.dispense, world.refund, calls = "refused", "fails", {}
  local event = event_of()
  local id = handle(drink, event)
  t.ok(core.write { "run_state", math.tointeger(tonumber(id)), 1, journal.PARKED, 0, 1, "undo",
    n = 7 })
  local verbs = t.ok(chains.show(id)).next
  t.eq({ verbs[2].verb, verbs[2].step }, { "skip", "payment" })
  local none, message, code = chains.act(id, said("skip", { step = "payment", result = "1" }))
  t.eq({ none, code }, { nil, "REFUSED" })
  t.has(message, "has no result")
  t.ok(chains.act(id, said("skip", { step = "payment" })))
  calls = {}
  local _, _, why = go_on(drink, id, event)
  t.eq(calls["payment undone"], nil)
  t.has(why.message, "undone: payment, inventory")
  world.dispense, world.refund = nil, nil
end)

t.test("complete and abandon end a run, and retry opens it again", function()
  local id = parked()
  t.ok(core.write { "wait_add", "paid", "k", math.tointeger(tonumber(id)), "s", n = 5 })
  t.eq(t.ok(chains.act(id, said "complete")).state, "completed")
  t.eq(t.ok(core.write { "waits_for", "paid", "k", n = 3 }), {})
  t.has(t.ok(chains.show(id)).why, "declared done by ada")
  t.eq(t.ok(chains.act(id, said "retry")).before, "completed")
  t.ok(t.ok(chains.show(id)).due_ms <= sys.now_ms(), "due at once")
  t.eq(t.ok(chains.act(id, said "abandon")).state, "abandoned")
  t.eq(#t.ok(chains.show(id)).audit, 3)
end)

t.test("what makes no sense is refused with the reason", function()
  local done = handle(drink, event_of())
  local id = parked()
  local cases = {
    { done, said "retry", "is done and cannot be retried: it has ended well" },
    { done, said "complete", "cannot be completed" },
    { done, said("skip", { step = "payment" }), "cannot be skipped" },
    { id, said("skip", { step = "payment" }), "step payment is done already" },
    { id, said("skip", { step = "paymnt" }), "there are: inventory, payment, dispense" },
    { id, said "skip", "name the step" },
    { id, said("skip", { step = "dispense", result = "{" }), "--result is JSON" },
    { id, said("skip", { step = "dispense", result = "1", not_done = true }), "not both" },
  }
  for _, case in ipairs(cases) do
    local ok, message, code = chains.act(case[1], case[2])
    t.eq({ ok, code }, { nil, "REFUSED" }, case[3])
    t.has(message, case[3])
  end
  t.ok(chains.act(id, said "abandon"))
  local ok, message = chains.act(id, said "abandon")
  t.eq(ok, nil)
  t.has(message, "is abandoned")
end)

t.test("a run that is being handled is left alone, and so is one that has changed", function()
  local id = parked()
  local number = math.tointeger(tonumber(id))
  t.ok(core.write { "run_state", number, 1, journal.ACTIVE, 0, 1, nil, n = 7 })
  local ok, message, code = chains.act(id, said "abandon")
  t.eq({ ok, code }, { nil, "BUSY" })
  t.has(message, "in the hands of the running process")
  t.eq(t.ok(chains.show(id)).next, {})
  -- Whoever was faster: nothing of the verb is written.
  local seized, record, audit, taken = core.write(
    { "run_seize", number, 1, journal.PARKED, n = 4 },
    { "record_add", number, 0, 99, 1, 8, "x", "1", n = 8 },
    { "audit_add", number, 0, 1, "eve", "retry", "w", n = 7 }, { "run_take", number, 0, 1, n = 4 })
  t.eq({ seized, record, audit, taken }, { 0, 0, 0, 0 })
  t.eq(#t.ok(chains.show(id)).audit, 0)
end)
