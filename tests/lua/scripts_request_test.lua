--- request.created: which steps the factory gives a request, and what is left at the receiving ends
--- (stock, reservation, payment, machine, mails) when it works, when it fails, and when it comes
--- again.
local capture = require "sipeat.capture"
local events = require "flows.events"
local factory = require "flows.request.factory"
local fleet = require "flows.fleet"
local http = require "sipeat.http"
local mailer = require "flows.mailer"
local plan = require "flows.request.plan"
local request = require "flows.request"
local sim = require "sipeat.vending_sim"
local store = require "flows.store"
local stripe = require "sipeat.stripe"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local vending = require "sipeat.vending"

store.use(t.ok(require("flows.store.sqlite").open(":memory:")))
capture.enable() -- with it comes a card network of Stripe's shape
require("web.confirmation").routes()
local base = "http://" .. t.ok(http.listen "127.0.0.1:0").address
stripe.configure { url = base .. "/capture/stripe", key = "sk_test_1" }

local mails, published = {}, {}
mailer.use(function(letter)
  mails[#mails + 1] = letter
  return true
end)

local DRINKS = { { "Cola", 5, 250 }, { "Water", 5, 0 }, { "Juice", 0, 300 }, { "Cola", 5, 200 } }
local made = 0

-- A machine of its own for each test.
local function machine(proof, status)
  made = made + 1
  local id = "R" .. made
  local slots = {}
  for slot, drink in ipairs(DRINKS) do
    slots[slot] = {
      machine_id = id, slot = slot, drink = drink[1], stock = drink[2], capacity = 9,
      price_minor = drink[3], currency = "EUR", event_id = "e",
    }
  end
  t.ok(store.replace("inventory", { machine_id = id }, slots))
  t.ok(store.put("machines", {
    machine_id = id, name = "Lobby", type = "standard", status = status or "active",
    address = "Here 1", driver = "simulated", proof = proof or "sensor", event_id = "e",
  }))
  t.ok(fleet.attach(t.ok(store.first("machines", { machine_id = id }))))
  return id
end

local function wish(machine_id, changes)
  made = made + 1
  local data = { customerName = "Jane", email = "jane@b.example", drinkName = "Cola",
    machineId = machine_id }
  for name, value in pairs(changes or {}) do
    data[name] = value ~= "none" and value or nil
  end
  return t.ok(events.RequestCreated:new(data, { id = "req-" .. made }))
end

local function ctx_of(event, memory, final)
  return {
    id = event.id, key = event.id, memory = memory or {}, final = final ~= false,
    log = require("sipeat.log").new "test",
    publish = function(_, notice)
      published[#published + 1] = notice
      return true
    end,
  }
end

local function run(event, memory, final)
  mails, published = {}, {}
  return request.handler(event, ctx_of(event, memory, final))
end

local function stock(machine_id, slot)
  return t.ok(store.first("inventory", { machine_id = machine_id, slot = slot or 1 })).stock
end

local function state(event)
  local row = store.first("reservations", { event_id = event.id })
  return row and row.state
end

local function fallen(machine_id, slot)
  return vending.status(machine_id).slots[slot or 1].fallen
end

-- Payments and refunds of an event at the card network.
local function payments(event)
  local paid, refunded = 0, 0
  for _, one in ipairs(capture.entries "payment") do
    local entry = one.entry
    if entry.metadata and entry.metadata.event_id == event.id then
      paid = paid + (entry.what == "payment" and entry.status == "succeeded" and 1 or 0)
      refunded = refunded + (entry.what == "refund" and 1 or 0)
    end
  end
  return { paid, refunded }
end

-- --- the factory ---

local function steps_of(changes, proof)
  local event = wish(machine(proof), changes)
  local names = {}
  for i, step in ipairs(factory.steps(event, t.ok(plan.make(event)))) do
    names[i] = step[1]
  end
  return table.concat(names, " ")
end

for _, case in ipairs {
  { "a card payment", {}, "inventory payment dispense record customer" },
  { "a prepaid drink", { payment = "prepaid" }, "inventory dispense record customer" },
  { "a free drink", { payment = "free" }, "inventory dispense record customer" },
  { "an amount of nothing", { amount = 0 }, "inventory dispense record customer" },
  { "a price of nothing", { drinkName = "Water" }, "inventory dispense record customer" },
  { "a customer without address", { email = "none" }, "inventory payment dispense record" },
  { "a machine that counts", {}, "inventory payment dispense record customer", "counter" },
  { "a machine without proof", {},
    "inventory payment dispense record confirmation customer", "none" },
  { "a prepaid drink at a machine without proof", { payment = "Prepaid" },
    "inventory dispense record confirmation customer", "none" },
} do
  t.test("the chain for " .. case[1], function()
    t.eq(steps_of(case[2], case[4]), case[3])
  end)
end

for _, case in ipairs {
  { "the slot that it names", { slot = 4 }, 4, 200 },
  { "the first slot with the drink", {}, 1, 250 },
  { "the price that was quoted", { amount = 1.5 }, 1, 150 },
  { "the drink in any spelling", { drinkName = "cOLA" }, 1, 250 },
} do
  t.test("a request takes " .. case[1], function()
    local found = t.ok(plan.make(wish(machine(), case[2])))
    t.eq({ found.slot, found.price.amount_minor }, { case[3], case[4] })
  end)
end

t.test("an empty slot is passed over for another one with the same drink", function()
  local id = machine()
  t.eq(store.change("inventory", { machine_id = id, slot = 1 }, { stock = 0 }), 1)
  t.eq(t.ok(plan.make(wish(id))).slot, 4)
end)

for _, case in ipairs {
  { "UNKNOWN_DRINK", "permanent", { drinkName = "Beer" } },
  { "UNKNOWN_DRINK", "permanent", { slot = 9 } },
  { "WRONG_DRINK", "permanent", { slot = 2 } },
  { "UNKNOWN_PAYMENT", "permanent", { payment = "shells" } },
  { "INVALID_AMOUNT", "permanent", { amount = -1 } },
  { "UNKNOWN_MACHINE", "transient", { machineId = "nowhere" } },
} do
  t.test(("a request gets %s, %s"):format(case[1], case[2]), function()
    local event = wish(machine(), case[3])
    local result, why = run(event)
    t.eq({ result, why.code, why.kind, state(event) }, { nil, case[1], case[2], false })
  end)
end

t.test("a machine that is still being set up is waited for", function()
  local _, why = run(wish(machine("sensor", "setting_up")))
  t.eq({ why.code, why.kind }, { "MACHINE_NOT_READY", "transient" })
end)

-- --- the chain ---

t.test("a paid drink: stock, payment, machine and receipt agree", function()
  local id = machine()
  local event = wish(id)
  local results = t.ok(run(event))
  t.eq({ stock(id), state(event), fallen(id), payments(event) }, { 4, "dispensed", 1, { 1, 0 } })
  t.eq({ results.payment.amount_minor, results.dispense.proof }, { 250, "sensor" })
  t.eq({ #mails, mails[1].to }, { 1, "jane@b.example" })
  t.has(mails[1].text, "your Cola has fallen at machine " .. id .. " (slot 1). You paid 2.50 EUR")
end)

t.test("a free drink: nothing is charged", function()
  local id = machine()
  local event = wish(id, { drinkName = "Water" })
  t.ok(run(event))
  t.eq({ stock(id, 2), fallen(id, 2), payments(event) }, { 4, 1, { 0, 0 } })
  t.has(mails[1].text, "It was on us")
end)

t.test("a declined card releases the inventory, and nothing moves", function()
  local id = machine()
  local event = wish(id, { paymentMethod = "pm_card_chargeDeclined" })
  local _, why = run(event)
  t.eq({ why.code, why.kind, why.step }, { "CARD_DECLINED", "permanent", "payment" })
  t.eq(why.undone, { "inventory" })
  t.eq({ stock(id), state(event), fallen(id), payments(event) }, { 5, "released", 0, { 0, 0 } })
end)

t.test("without a key for payments the inventory is released, with a hint", function()
  local id = machine()
  local event = wish(id)
  stripe.configure {}
  local _, why = run(event)
  stripe.configure { url = base .. "/capture/stripe", key = "sk_test_1" }
  t.eq({ why.code, why.kind, stock(id) }, { "NOT_CONFIGURED", "permanent", 5 })
  t.has(why.message, "STRIPE_SECRET_KEY")
end)

t.test("a jam gives the money back and puts the drink back", function()
  local id = machine()
  local event = wish(id)
  sim.fault(id, { kind = "jam" })
  local _, why = run(event)
  t.eq({ why.code, why.undone }, { "JAMMED", { "payment", "inventory" } })
  t.eq({ stock(id), state(event), fallen(id), payments(event) }, { 5, "released", 0, { 1, 1 } })
end)

t.test("a slot that is sold out charges nothing", function()
  local event = wish(machine(), { drinkName = "Juice" })
  local _, why = run(event)
  t.eq({ why.code, why.kind, payments(event) }, { "SOLD_OUT", "permanent", { 0, 0 } })
end)

t.test("a machine that is offline is asked again, and the drink is charged once", function()
  local id = machine()
  local event, memory = wish(id), {}
  t.ok(vending.attach { machine = id, settings = {
    slots = { 5, 5, 0, 5 }, dispense_time = "2ms", recovery_time = "10ms",
  } })
  sim.fault(id, { kind = "offline" })
  local _, why = run(event, memory, false)
  t.eq({ why.code, why.kind, state(event) }, { "NOT_SENT", "transient", "held" })
  task.sleep "15ms"
  t.ok(run(event, memory, false))
  t.eq({ stock(id), state(event), fallen(id), payments(event) }, { 4, "dispensed", 1, { 1, 0 } })
end)

for _, case in ipairs {
  { "die_after", "dispensed", 1, { 1, 0 }, 4 },
  { "die_before", "released", 0, { 1, 1 }, 5 },
} do
  t.test("a death in the middle (" .. case[1] .. ") is settled by the counter", function()
    local id = machine "counter"
    local event, memory = wish(id), {}
    t.ok(vending.attach { machine = id, settings = {
      proof = "counter", slots = { 5, 5, 0, 5 }, dispense_time = "2ms", recovery_time = "10ms",
    } })
    sim.fault(id, { kind = case[1] })
    t.eq(select(2, run(event, memory, false)).kind ~= "permanent", true)
    t.eq({ state(event), payments(event) }, { "dispensing", { 1, 0 } })
    task.sleep "15ms"
    run(event, memory, false)
    t.eq({ state(event), fallen(id), payments(event), stock(id) },
      { case[2], case[3], case[4], case[5] })
  end)
end

t.test("an event that comes again reserves, charges and dispenses nothing twice", function()
  local id = machine()
  local event = wish(id)
  t.ok(run(event))
  t.ok(run(event))
  t.eq({ stock(id), state(event), fallen(id), payments(event) }, { 4, "dispensed", 1, { 1, 0 } })
end)

t.test("an interrupted command of another process is parked, not repeated", function()
  local id = machine()
  local event = wish(id)
  t.ok(store.reserve(event.id, id, 1))
  t.eq(store.change("reservations", { event_id = event.id }, { state = "dispensing" }), 1)
  local _, why = run(event)
  t.eq({ why.code, why.kind, why.undone }, { "UNKNOWN_OUTCOME", "permanent", {} })
  t.eq({ state(event), fallen(id), payments(event) }, { "dispensing", 0, { 1, 0 } })
end)

t.test("requests at the same time never sell more than there is", function()
  local id = machine()
  local sold, refused, jobs = 0, 0, {}
  t.eq(store.change("inventory", { machine_id = id, slot = 4 }, { stock = 0 }), 1)
  for i = 1, 12 do
    jobs[i] = function()
      local event = wish(id, { slot = 1, payment = "prepaid" })
      local done, why = request.handler(event, ctx_of(event))
      if done then
        sold = sold + 1
      else
        t.eq(why.code, "SOLD_OUT")
        refused = refused + 1
      end
      return true
    end
  end
  t.ok(task.gather(jobs))
  t.eq({ sold, refused, stock(id), fallen(id) }, { 5, 7, 0, 5 })
end)

-- --- confirmation ---

local function question_of(event)
  return t.ok(store.first("confirmations", { event_id = event.id }))
end

local function answer(row, word, token)
  return t.ok(http.post(("%s/requests/%s/confirmation"):format(base, row.event_id), {
    form = { token = token or row.token, fell = word },
  }))
end

t.test("without proof the customer is asked, with a link that works", function()
  local event = wish(machine "none")
  local results = t.ok(run(event))
  t.eq({ results.dispense.proof, results.confirmation.asked }, { "none", "customer" })
  t.has(mails[1].text, "the motor for your Cola has turned")
  local row = question_of(event)
  t.eq({ row.state, row.customer, row.email }, { "open", "Jane", "jane@b.example" })
  t.eq({ #published, published[1].data.channel, published[1].data.to },
    { 1, "email", "jane@b.example" })
  local path = published[1].data.text:match("(/requests/%S+)")
  local page = t.ok(http.get(base .. path))
  t.eq(page.status, 200)
  t.has(page.body, "did your Cola fall?")
  t.has(page.headers["content-security-policy"], "style-src 'self';")
  t.ok(not page.body:find("<style", 1, true), "nothing inline")
  t.eq(t.ok(http.get(base .. path .. "x")).status, 404)
end)

t.test("without an address the support team is asked", function()
  local event = wish(machine "none", { email = "none" })
  t.eq(t.ok(run(event)).confirmation.asked, "support")
  t.eq(published[1].data.to, "sales@sipeat.example")
end)

t.test("yes closes the question, and nothing is refunded", function()
  local event = wish(machine "none")
  t.ok(run(event))
  t.eq(answer(question_of(event), "yes").status, 200)
  t.eq(answer(question_of(event), "no").status, 200)
  t.eq({ question_of(event).state, payments(event) }, { "confirmed", { 1, 0 } })
end)

t.test("no gives the money back, once", function()
  local event = wish(machine "none")
  t.ok(run(event))
  t.eq(answer(question_of(event), "maybe").status, 400)
  t.eq(answer(question_of(event), "no", "guessed").status, 404)
  t.eq(question_of(event).state, "open")
  for _ = 1, 2 do
    local page = answer(question_of(event), "no")
    t.eq(page.status, 200)
    t.has(page.body, "money back")
  end
  t.eq({ question_of(event).state, payments(event) }, { "settled", { 1, 1 } })
end)

t.test("a refund that fails is tried again with the next answer", function()
  local event = wish(machine "none")
  t.ok(run(event))
  stripe.configure { url = "http://127.0.0.1:1", key = "sk_test_1" }
  t.eq(answer(question_of(event), "no").status, 503)
  stripe.configure { url = base .. "/capture/stripe", key = "sk_test_1" }
  t.eq(question_of(event).state, "denied")
  t.eq(answer(question_of(event), "no").status, 200)
  t.eq({ question_of(event).state, payments(event) }, { "settled", { 1, 1 } })
end)

t.test("a doubt at a machine without proof becomes the same question", function()
  local id = machine "none"
  local event = wish(id)
  sim.fault(id, { kind = "die_before" })
  local results = t.ok(run(event))
  t.eq({ results.dispense.in_doubt, question_of(event).state }, { true, "open" })
end)

t.test("the same event asks the same question", function()
  local event = wish(machine "none")
  t.ok(run(event))
  local token = question_of(event).token
  t.ok(run(event))
  t.eq(question_of(event).token, token)
end)
