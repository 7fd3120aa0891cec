--- Pages of services: who takes what the block sends is a fake.
local docs = require "docs"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

docs.block("analytics", 1, function(b)
  t.env { ANALYTICS_WRITE_KEY = "key" }
  t.http.expect("POST", "https://api.segment.io/*", { json = { success = true } })
  b:load()
  docs.done("orders", "order.created", { customerId = "c-1", total = 12 })
  t.advance "1m"
  local call = t.http.calls()[1].json.batch[1]
  t.eq({ call.event, call.userId, call.properties }, { "Order Created", "c-1", { total = 12 } })
end)

docs.block("batch", 1, function(b)
  t.http.expect("POST", "http://127.0.0.1:9/stats", {})
  b:load()
  docs.done("orders", "order.created", { amount = 5 })
  t.advance "1m"
  t.eq(t.http.calls()[1].json[1].amount, 5)
end)

docs.block("cloudevents", 1, function(b)
  t.http.expect("POST", "http://127.0.0.1:9/events", {})
  b:load()
  docs.done("orders", "order.created", { amount = 5 })
  local sent = t.http.calls()[1]
  t.has(sent.headers["content-type"], "application/cloudevents+json")
  t.eq(t.request("POST", "/events", { headers = sent.headers, body = sent.body }).status, 202)
  t.eq(t.request("POST", "/events", { body = "nothing" }).status, 400)
end)

docs.block("crm", 1, function(b)
  t.env { NEXT_PUBLIC_SUPABASE_URL = "https://crm.example", NEXT_PUBLIC_SUPABASE_ANON_KEY = "key" }
  t.http.expect("*", "https://crm.example/rest/v1/*", { json = {} }, { times = 5 })
  b:load()
  local methods = {}
  for i, call in ipairs(t.http.calls()) do
    methods[i] = call.method .. " " .. call.path
  end
  t.eq(methods, { "GET /rest/v1/contacts", "POST /rest/v1/contacts", "PATCH /rest/v1/machines",
    "DELETE /rest/v1/maintenance", "POST /rest/v1/rpc/reserve_drink" })
end)

docs.block("discord", 1, function(b)
  local discord = t.discord()
  b:load { handler = docs.handler() }
  docs.done("sipeat.contact.events", "contact.created", { name = "Ada" })
  t.advance "1m"
  t.ok(#discord:messages() > 0)
end)

docs.block("discord", 2, function(b)
  local discord = t.discord()
  b:load { discord = sipeat.discord }
  t.advance "1m"
  t.has(sipeat.json.encode(discord:messages()[1]), "Stock is low")
end)

docs.block("discord", 3, function(b)
  local discord = t.discord()
  b:load { discord = sipeat.discord }
  docs.handles("orders", "order.paid", sipeat.discord.notified(docs.handler()))
  docs.done("orders", "order.paid", { orderId = "o-1", sum = 7 })
  t.advance "1m"
  local all = sipeat.json.encode(discord:messages())
  t.has(all, "💶")
  t.has(all, "Total")
end)

docs.block("errors", 1, function(b)
  t.env { SENTRY_DSN = "https://key@sentry.example/1" }
  t.http.expect("POST", "https://sentry.example/*", {})
  b:load()
  docs.done("invoice-events", "invoice.created", { id = "i-1" })
  t.advance "1m"
  local report = t.http.calls()[1].body
  t.has(report, "an invoice without a total")
  t.has(report, '"event_type":"invoice.created"')
end)

docs.block("mail", 1, function(b)
  local mail = t.mail()
  t.env { MAIL_FROM = "SipEat <shop@example.com>" }
  b:load()
  t.eq(mail:count(), 1)
end)

docs.block("mail", 2, function(b)
  local mail = t.mail()
  t.env { MAIL_FROM = "SipEat <shop@example.com>" }
  local send = b:made({}, "send_invoice")
  assert(send({ id = "i-1", email = "ada@example.com" }, "%PDF-1.4", "\137PNG"))
  t.has(mail.messages[1].mime, "Content-ID: <logo>")
end)

docs.block("mail", 3, function(b)
  local mail = t.mail()
  t.env { MAIL_FROM = "SipEat <shop@example.com>" }
  local tell = b:made({}, "tell")
  assert(tell { id = "r-1", email = "ada@example.com", drink = "tea", name = "Ada", slot = 4 })
  t.eq(mail:count(), 1)
end)

docs.block("messages", 1, function(b)
  t.env { SMS_ACCOUNT = "AC1", SMS_TOKEN = "token", SMS_FROM = "SipEat" }
  t.http.expect("POST", "https://api.twilio.com/*",
    { status = 201, json = { sid = "SM1", status = "queued", num_segments = "1" } })
  assert(b:made({}, "tell") { phone = "+491701234567", slot = 4 })
  t.has(t.http.calls()[1].form.Body, "slot 4")
end)

docs.block("messages", 2, function(b)
  t.env { PUSH_URL = "https://push.example/v1/projects/x/messages:send", PUSH_TOKEN = "token" }
  t.http.expect("POST", "https://push.example/*", { { json = { name = "m-1" } },
    { status = 404, json = { error = { status = "NOT_FOUND",
      details = { { errorCode = "UNREGISTERED" } } } } } }, { times = 2 })
  local tell = b:made({}, "tell")
  assert(tell { id = "r-1", device = "d-1", slot = 4 })
  t.eq(tell { id = "r-2", device = "d-1", slot = 4 }, { forget = "d-1" })
end)

docs.block("payments", 1, function(b)
  local payments = t.payments()
  local steps = b:fields { stripe = sipeat.stripe }
  docs.handles("orders", "order.created", sipeat.chain "sale"(steps))
  local amount = sipeat.money.new(250, "EUR")
  docs.done("orders", "order.created", { amount = amount, paymentMethod = "pm_card_visa" })
  t.eq(payments:captured(), 1)
end)

docs.block("slack", 1, function(b)
  t.env { SLACK_WEBHOOK = "https://slack.example/hook" }
  t.http.expect("POST", "https://slack.example/hook", { body = "ok" })
  b:load()
  docs.done("orders", "order.created", { note = "soon", customerName = "Ada", total = 12 })
  t.advance "1m"
  t.has(t.http.calls()[1].body, "New order")
end)

docs.block("webhooks", 1, function(b)
  t.env { STRIPE_WEBHOOK_SECRET = "whsec_test" }
  b:load()
  local function deliver(id, charge, secret)
    local body = '{"id":"%s","type":"charge.refunded","data":{"object":{"id":%s}}}'
    body = body:format(id, charge)
    local now = t.now_ms() // 1000
    local signature = require("sipeat.core.sys").hmac_sha256(secret, now .. "." .. body)
    local headers = { ["stripe-signature"] = ("t=%d,v1=%s"):format(now, signature) }
    return t.request("POST", "/webhooks/stripe", { body = body, headers = headers }).status
  end
  t.eq(deliver("evt_1", '"ch_1"', "another"), 400)
  t.eq(deliver("evt_1", '"ch_1"', "whsec_test"), 200)
  t.eq(deliver("evt_2", "7", "whsec_test"), 500)
  t.eq(t.published("payments")[1].json.charge, "ch_1")
end)
