--- The example, without Kafka, a network or a server: sipeat test examples/invoices
local t = require "sipeat.testing"

local mail

t.before(function()
  mail = t.mail()
  t.env { DATABASE_URL = ":memory:", MAIL_FROM = "invoices@example.com" }
  t.load "main.lua"
end)

local INVOICE = { customerId = "customer-1", amount = 150, status = "pending" }

local function create(body, key)
  return t.request("POST", "/api/invoices", {
    headers = { ["idempotency-key"] = key }, json = body or INVOICE,
  })
end

local function published()
  t.settle()
  t.advance "1s"
  t.settle()
  return t.published "invoices"
end

t.test("an invoice is answered at once, and its event follows", function()
  local made = create()
  t.eq(made.status, 201)
  t.eq(made.json.amount, 150)
  local events = published()
  t.eq(#events, 1)
  t.eq(events[1].key, made.json.id)
  t.eq(events[1].headers["event-type"], "created")
  t.eq(events[1].json.action, "created")
  t.eq(events[1].json.amount, 15000)
  t.eq(mail:count(), 1)
end)

t.test("created, updated and deleted come in this order, of the same key", function()
  local id = create().json.id
  local paid = { customerId = "customer-1", amount = 99.5, status = "paid" }
  t.eq(t.request("PUT", "/api/invoices/" .. id, { json = paid }).json.amount, 99.5)
  t.eq(t.request("DELETE", "/api/invoices/" .. id).status, 204)
  t.eq(t.request("GET", "/api/invoices/" .. id).status, 404)
  local actions = {}
  for i, event in ipairs(published()) do
    actions[i] = event.json.action
    t.eq(event.key, id)
  end
  t.eq(actions, { "created", "updated", "deleted" })
end)

t.test("the same key makes one invoice and one event", function()
  local first, second = create(nil, "order-7"), create(nil, "order-7")
  t.eq(second.json.id, first.json.id)
  t.eq(#published(), 1)
end)

t.test("what is wrong is said for each field, and publishes nothing", function()
  local refused = create { customerId = "customer-1", amount = "much", status = "lost" }
  t.eq(refused.status, 422)
  t.eq(#refused.json.errors, 2)
  t.eq(create({ customerId = "nobody", amount = 1, status = "paid" }).status, 422)
  t.eq(create({ customerId = "customer-1", amount = 0, status = "paid" }).status, 422)
  t.eq(t.request("PUT", "/api/invoices/none", { json = INVOICE }).status, 404)
  t.eq(#published(), 0)
end)

t.test("an event that comes twice is processed once", function()
  local event = { invoiceId = "INV-1", action = "created", customerId = "customer-2", amount = 1 }
  local headers = { ["event-id"] = "e-1", ["event-type"] = "created" }
  t.eq(t.deliver("invoices", "INV-1", event, headers).result, "created")
  t.eq(t.deliver("invoices", "INV-1", event, headers).result, "processed before")
  t.eq(mail:count(), 1)
end)

t.test("a mail server in trouble is tried again, and the customer has one mail", function()
  mail:next("temporary", "late answer")
  local outcome = t.deliver("invoices", "INV-2", {
    invoiceId = "INV-2", action = "updated", customerId = "customer-3", amount = 200,
  }, { ["event-id"] = "e-2" })
  t.eq(outcome.status, "done")
  t.eq(mail:count(), 1)
end)

t.test("what is no event of an invoice is a dead letter at once", function()
  local outcome = t.deliver("invoices", "INV-3", { invoiceId = "INV-3", action = "shredded" })
  t.eq({ outcome.status, outcome.attempts }, { "dead", 1 })
  t.eq(t.dead_letters()[1].reason, "UNKNOWN_ACTION")
end)

t.test("engineering is told of a dead letter", function()
  t.env { SLACK_WEBHOOK = "https://hooks.slack.com/services/T0/B0/x" }
  t.http.expect("POST", "https://hooks.slack.com/services/T0/B0/x", { body = "ok" })
  t.deliver("invoices", "INV-4", "not JSON")
  t.settle()
  t.advance "5s"
  t.has(t.http.calls()[1].body, "could not be processed")
end)

t.test("the forms work without JavaScript, and only from their own page", function()
  local page = t.request("GET", "/dashboard/invoices/create")
  t.eq(page.status, 200)
  local token = page.body:match 'name="csrf"[^>]*value="([^"]+)"'
    or page.body:match 'value="([^"]+)"[^>]*name="csrf"'
    or page.body:match '<input name="csrf" type="hidden" value="([^"]+)"'
  local cookie = page.headers["set-cookie"]:match "^[^;]+"
  local sent = { csrf = token, customerId = "customer-2", amount = "$ 12,50", status = "paid" }
  local function post(form)
    return t.request("POST", "/dashboard/invoices/create", {
      form = form, headers = { cookie = cookie },
    })
  end
  local done = post(sent)
  t.eq({ done.status, done.headers.location }, { 303, "/dashboard/invoices" })
  t.eq(post(sent).status, 303) -- sent twice: the same invoice
  t.eq(#t.request("GET", "/api/invoices").json.invoices, 1)
  t.has(t.request("GET", "/dashboard/invoices").body, "$12.50")
  sent.amount = "<b>"
  local again = post(sent)
  t.eq(again.status, 422)
  t.has(again.body, "such as 150.00")
  t.has(again.body, "&lt;b&gt;")
  sent.csrf = "other"
  t.eq(post(sent).status, 403)
end)

t.test("the guide's message is taken, and no other topic", function()
  local function produce(topic)
    return t.request("POST", "/api/kafka/produce", { json = { topic = topic, message = {
      invoiceId = "INV-001", action = "created", amount = 1500,
    } } })
  end
  t.eq(produce("invoices").json.success, true)
  t.eq(produce("payments").status, 403)
  t.eq(published()[1].key, "INV-001")
end)
