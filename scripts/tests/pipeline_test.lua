--- The SipEat pipeline, from an event in a topic to what it leads to outside: contacts, machines,
--- and requests that are paid and vended, or given back. Run it with: sipeat test scripts
local t = require "sipeat.testing"

local CONTACT = "sipeat.contact.events"
local MACHINE = "sipeat.machine.events"
local REQUEST = "sipeat.request.events"

local discord, mail, payments

t.before(function()
  t.env { SIPEAT_DB = ":memory:", SALES_EMAIL = "sales@sipeat.example" }
  discord, mail, payments = t.discord(), t.mail(), t.payments()
  t.load "pipeline.lua"
end)

local function set_up_machine(changes)
  local data = {
    machineId = "M1", machineName = "Lobby", location = "1 Market Street",
    slots = { { slot = 1, drink = "Cola", stock = 2, price = 2.5 } },
  }
  for name, value in pairs(changes or {}) do
    data[name] = value
  end
  return t.deliver(MACHINE, nil, { type = "machine.created", data = data })
end

local function wish(changes)
  local data = {
    customerName = "Jane", email = "jane@b.example", drinkName = "Cola", machineId = "M1",
  }
  for name, value in pairs(changes or {}) do
    data[name] = value
  end
  return t.deliver(REQUEST, nil, { type = "request.created", data = data })
end

local function subjects()
  local list = {}
  for i, message in ipairs(mail.messages) do
    list[i] = message.to[1] .. ": " .. message.subject
  end
  table.sort(list)
  return list
end

t.test("a contact is answered, and the sales team is told", function()
  local outcome = t.deliver(CONTACT, nil, {
    type = "contact.created",
    data = { name = "Ada", email = "ada@b.example", message = "Hello" },
  })
  t.eq(outcome.status, "done")
  t.eq(outcome.attempts, 1)
  local told = subjects()
  t.eq(#told, 2)
  t.has(told[1], "ada@b.example")
  t.has(told[2], "sales@sipeat.example")
end)

t.test("a contact without an address is a dead letter at once", function()
  local outcome = t.deliver(CONTACT, "k", {
    type = "contact.created", data = { name = "Ada", message = "Hello" },
  })
  t.eq(outcome.status, "dead")
  t.eq(outcome.attempts, 1)
  t.eq(outcome.failure.code, "INVALID_EVENT")
  local letter = outcome:dead_letter()
  t.eq(letter.topic, CONTACT .. "-dlt")
  t.eq(letter.record.key, "k")
  t.has(letter.message, "email")
  t.eq(mail:count(), 0)
end)

t.test("a mail server that is away for a moment costs a retry, and no second mail", function()
  mail:next("connection refused", "late answer")
  local outcome = t.deliver(CONTACT, nil, {
    type = "contact.created",
    data = { name = "Ada", email = "ada@b.example", message = "Hello" },
  })
  t.eq(outcome.status, "done")
  t.ok(outcome.attempts > 1)
  t.eq(mail:count(), 2, "different messages")
end)

t.test("a machine is set up, and Discord hears of it", function()
  t.eq(set_up_machine().status, "done")
  t.settle()
  t.advance "1m"
  local message = t.ok(discord.messages()[1])
  t.has(message.embeds[1].title, "machine.created event processed")
end)

t.test("a drink is paid once, falls once, and the customer gets a receipt", function()
  set_up_machine()
  local outcome = wish()
  t.eq(outcome.status, "done", outcome.failure)
  t.eq(payments.captured(), 1)
  t.eq(payments.refunded(), 0)
  t.eq(payments.entries()[1].amount_minor, 250)
  t.eq(subjects(), { "jane@b.example: SipEat: your Cola" })
end)

t.test("a card that is declined costs nothing, and the drink goes back into the stock", function()
  set_up_machine { slots = { { slot = 1, drink = "Cola", stock = 1, price = 2.5 } } }
  local outcome = wish { paymentMethod = "pm_card_chargeDeclined" }
  t.eq(outcome.status, "dead")
  t.eq(outcome.failure.code, "CARD_DECLINED")
  t.eq(payments.captured(), 0)
  t.has(subjects()[1], "jane@b.example")
  t.eq(wish().status, "done", "the last cola is still there")
end)

t.test("an answer that is lost does not charge twice", function()
  set_up_machine()
  payments:next("late answer", "no answer", "half an answer", "conflict")
  local outcome = wish()
  t.eq(outcome.status, "done", outcome.failure)
  t.eq(payments.captured(), 1)
  t.eq(payments.refunded(), 0)
end)

t.test("a 500 after the money has moved is found again", function()
  set_up_machine()
  payments:next "error after"
  local outcome = wish()
  t.eq(outcome.status, "done", outcome.failure)
  t.eq(payments.captured(), 1)
end)

t.test("a jammed motor gives the money back, once", function()
  set_up_machine()
  t.eq(wish().status, "done")
  t.ok(require("sipeat.vending_sim").fault("M1", { kind = "jam" }))
  local outcome = wish()
  t.eq(outcome.status, "dead")
  t.eq(payments.captured(), 2)
  t.eq(payments.refunded(), 1)
end)

t.test("a machine that is not known yet is waited for", function()
  local late = t.deliver(REQUEST, nil, {
    type = "request.created",
    data = { customerName = "Jane", drinkName = "Cola", machineId = "M1" },
  }, nil, { wait = false })
  t.ok(late.offset)
  set_up_machine()
  t.settle()
  t.eq(payments.captured(), 1)
  t.eq(t.dead_letters(), {})
end)

-- The path and the token of the question in the customer's mail.
local function question()
  for _, message in ipairs(mail.messages) do
    local path, token = message.text:match "http://localhost:3000(/requests/%S+)%?token=(%S+)"
    if path then
      return path, token
    end
  end
end

t.test("where no sensor sees the drink, the customer is asked, and gets the money back", function()
  set_up_machine { driver = { proof = "none" } }
  t.eq(wish().status, "done")
  t.settle()
  t.eq(payments.refunded(), 0)
  local path, token = question()
  t.has(t.request("GET", path .. "?token=" .. token).body, "did your Cola fall?")
  t.eq(t.request("GET", path .. "?token=guessed").status, 404)
  for _ = 1, 2 do -- the form is sent twice
    local answer = t.request("POST", path, { form = { token = token, fell = "no" } })
    t.has(answer.body, "You get your money back")
    t.eq(payments.refunded(), 1)
  end
end)
