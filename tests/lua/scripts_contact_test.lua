--- contact.created: which strategy a contact gets, and what each leaves at the receiving ends: the
--- mails, the notices to others, the CRM's row.
local contact = require "flows.contact"
local events = require "flows.events"
local mailer = require "flows.mailer"
local parts = require "flows.contact.parts"
local settings = require "flows.settings"
local store = require "flows.store"
local t = require "sipeat.luatest"

store.use(t.ok(require("flows.store.sqlite").open(":memory:")))

local mails, published, mail_answer

mailer.use(function(letter)
  mails[#mails + 1] = letter
  if mail_answer then
    return nil, table.unpack(mail_answer)
  end
  return true
end)

local function contact_event(id, changes)
  local data = {
    name = "John Doe", email = "john@acme.example", phone = "+1234567890",
    message = "Hello, please tell me more.",
  }
  for name, value in pairs(changes or {}) do
    data[name] = value
  end
  return t.ok(events.ContactCreated:new(data, { id = id }))
end

local function ctx_of(event, memory)
  return {
    id = event.id, key = event.id, memory = memory or {}, log = require("sipeat.log").new "test",
    final = false,
    publish = function(_, notice)
      published[#published + 1] = notice
      return true
    end,
  }
end

local function run(event, memory)
  mails, published = {}, {}
  return contact.handler(event, ctx_of(event, memory))
end

local function row(email)
  return t.ok(store.first("contacts", { email = email or "john@acme.example" }))
end

-- Receivers of the mails, sorted.
local function receivers()
  local list = {}
  for i, mail in ipairs(mails) do
    list[i] = mail.to
  end
  table.sort(list)
  return list
end

for _, case in ipairs {
  { "enterprise", "enterprise", subject = "account manager", team = "Enterprise contact",
    alarm = true },
  { "Partnership", "partnership", subject = "Thank you for your offer",
    team = "Partnership offer" },
  { "support", "support", subject = "We are looking into it", team = "Support request" },
  { "general", "default", subject = "Thank you for your message", team = "New contact" },
  { nil, "default", subject = "Thank you for your message", team = "New contact" },
} do
  local kind = case[1]
  t.test(("type %s takes the strategy %s"):format(tostring(kind), case[2]), function()
    local event = contact_event("s-" .. case[2], { type = kind })
    t.ok(run(event))
    t.eq(receivers(), { "john@acme.example", "sales@sipeat.example" })
    local customer, team = mails[1], mails[2]
    if customer.to ~= "john@acme.example" then
      customer, team = team, customer
    end
    t.has(customer.subject, case.subject)
    t.has(customer.text, "Hello John Doe")
    t.has(team.subject, case.team)
    t.has(team.text, "Score: ")
    t.eq(#published, case.alarm and 1 or 0)
    if case.alarm then
      t.eq({ published[1].data.channel, published[1].data.priority, published[1].topic },
        { "discord", "high", "notification" })
    end
    t.eq({ row().type, row().event_id }, { (kind or "general"):lower(), event.id })
  end)
end

for _, case in ipairs {
  { {}, "email" }, { { email = true, sms = true }, "email" },
  { { email = false, sms = true }, "sms" }, { { email = false, phone = true }, "phone" },
  { { email = false, phone = true, sms = true }, "sms" },
  { { email = false }, "silent" }, { { email = false, sms = false, phone = false }, "silent" },
  { { email = false, sms = true }, "silent", no_phone = true },
} do
  local preferences, expected = table.unpack(case)
  t.test(("%d: preferences lead to %s"):format(_, expected), function()
    local event = contact_event("p", { preferences = preferences })
    if case.no_phone then
      event.data.phone = nil
    end
    t.eq(parts.reach(event), expected)
    t.ok(run(event))
    local to_customer = 0
    for _, mail in ipairs(mails) do
      to_customer = to_customer + (mail.to == "john@acme.example" and 1 or 0)
    end
    t.eq(to_customer, expected == "email" and 1 or 0)
    if expected == "sms" then
      t.eq({ published[1].data.channel, published[1].data.to }, { "sms", "+1234567890" })
    elseif expected == "phone" then
      t.eq({ published[1].data.channel, published[1].data.to },
        { "email", settings.sales_email() })
      t.has(published[1].data.subject, "+1234567890")
    else
      t.eq(#published, 0)
    end
  end)
end

t.test("the row has score and reasons, and an event that comes again writes no second", function()
  local event = contact_event("score", {
    email = "Jane@Acme.example", companyName = "Acme", type = "enterprise",
  })
  t.ok(run(event))
  t.ok(run(event))
  local rows = t.ok(store.find("contacts", { email = "jane@acme.example" }))
  t.eq(#rows, 1)
  t.eq({ rows[1].score, rows[1].company_name, rows[1].reasons }, { 70, "Acme",
    "+30 enterprise: asks as an enterprise\n+15 company: names a company\n"
      .. "+15 business_email: writes from a company's address\n"
      .. "+10 phone: gives a telephone number" })
end)

t.test("a mail that fails holds nothing up, and is not sent again once it worked", function()
  local event, memory = contact_event("retry"), {}
  mail_answer = { "the server is busy", "SMTP_421" }
  local result, why = run(event, memory)
  mail_answer = nil
  t.eq(result, nil)
  t.has(why.message, "customer: the server is busy")
  t.eq(row().event_id, "retry", "the CRM has its row all the same")
  t.ok(run(event, memory))
  t.eq(#mails, 2, "customer and sales, which had failed")
  t.ok(run(event, memory))
  t.eq(#mails, 0, "all is done")
end)

t.test("the same mail of the same event has the same Message-ID", function()
  local event = contact_event "message-id"
  t.ok(run(event))
  local first = { mails[1].message_id, mails[2].message_id }
  t.ok(run(event))
  local second = { mails[1].message_id, mails[2].message_id }
  t.eq(second, first)
  t.ok(first[1] ~= first[2])
  t.ok(first[1]:find("^<%x+@sipeat>$"))
end)

t.test("what customers write cannot make headers or HTML", function()
  t.ok(run(contact_event("inject", {
    name = "Eve\r\nBcc: all@example.com", message = "<script>alert(1)</script> for you",
  })))
  for _, mail in ipairs(mails) do
    t.ok(not mail.subject:find("[\r\n]"))
    t.ok(not (mail.html or ""):find("<script", 1, true))
  end
end)
