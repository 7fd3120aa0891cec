--- Pages of flows, events and patterns.
local docs = require "docs"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

docs.block("budgets", 1, function(b)
  b:load()
  docs.done("orders", "order.created", {})
end)

docs.block("events", 1, function(b)
  local handler, calls = docs.handler()
  b:load { sipeat = sipeat, handler = handler }
  t.settle()
  local written = t.published "sipeat.request.events"
  t.eq({ #written, written[1].key, #calls, calls[1][1].data.drinkName }, { 1, "M1", 1, "Cola" })
  local Request = b:made({ sipeat = sipeat, handler = handler }, "RequestCreated")
  local wrong = { customerName = "Jane", machineId = "M1", amount = "x" }
  local _, message = sipeat.publish(Request, wrong)
  t.has(message, require "texts".events)
end)

docs.block("events", 2, function(b)
  local Order = b:made({}, "OrderCreated")
  local handler, calls = docs.handler()
  docs.handles("orders", Order, handler)
  local old = { type = "order.created", version = "1.0", data = { totalPrice = 12.5 } }
  t.eq(t.deliver("orders", "k", old).status, "done")
  t.eq({ calls[1][1].data.total, calls[1][1].data.currency }, { 1250, "EUR" })
end)

docs.block("exactly-once", 1, function(b)
  b:load { sipeat = sipeat }
  local outcome = docs.done("orders", "order.created", { amount = 5 })
  t.eq(t.published("invoices")[1].json, { order = outcome.event.id, amount = 5 })
end)

docs.block("flows", 1, function(b)
  b:load()
  docs.done("orders", "order.created", { orderId = "o-1" })
end)

docs.block("flows", 2, function(b)
  local calls = 0
  b:load { sipeat = sipeat, call_the_provider = function()
    calls = calls + 1
    if calls < 3 then
      return nil, sipeat.transient "not now"
    end
    return true
  end }
  t.deliver("orders", "k", { type = "order.created", data = {} }, nil, { wait = false })
  t.settle()
  t.advance "1h"
  t.eq(calls, 3)
end)

docs.block("patterns", 1, function(b)
  local mail, crm, sales = docs.handler(), docs.handler(), docs.handler()
  local names = { sipeat = sipeat, send_mail = mail, upsert = crm, notify_sales = sales }
  docs.handles("contacts", "contact.created", b:made(names, "contact"))
  docs.done("contacts", "contact.created", {})
end)

docs.block("patterns", 2, function(b)
  local sales, sales_calls = docs.handler()
  local mail, mail_calls = docs.handler()
  local ticket = docs.handler()
  local names = { sipeat = sipeat, call_sales = sales, open_ticket = ticket, send_mail = mail }
  docs.handles("contacts", "contact.created", b:made(names, "notify"))
  docs.done("contacts", "contact.created", { type = "enterprise" })
  docs.done("contacts", "contact.created", { type = "other" })
  t.eq({ #sales_calls, #mail_calls }, { 1, 1 })
end)

docs.block("patterns", 3, function(b)
  local free, free_calls = docs.handler()
  local paid, paid_calls = docs.handler()
  local names = { sipeat = sipeat, free_drink = free, paid_drink = paid }
  docs.handles("requests", "request.created", b:made(names, "request"))
  docs.done("requests", "request.created", { prepaid = true })
  docs.done("requests", "request.created", {})
  t.eq({ #free_calls, #paid_calls }, { 1, 1 })
end)

docs.block("patterns", 4, function(b)
  local names = { sipeat = sipeat }
  for _, name in ipairs { "reserve", "capture", "mail", "ask_machine" } do
    names[name] = docs.handler()
  end
  local undone = {}
  for _, name in ipairs { "release", "refund" } do
    names[name] = function()
      undone[#undone + 1] = name
      return true
    end
  end
  for _, name in ipairs { "wanted", "price", "slot_of", "receipt" } do
    names[name] = docs.handler {}
  end
  names.vend = function()
    return nil, sipeat.permanent "nothing fell"
  end
  docs.handles("requests", "request.created", b:made(names, "drink"))
  t.eq(t.deliver("requests", "k", { type = "request.created", data = {} }).status, "dead")
  t.eq(undone, { "refund", "release" })
end)

docs.block("permissions", 1, function(b)
  b:load()
end)

docs.block("resilience", 1, function(b)
  local payments = t.payments()
  t.http.expect("GET", "https://geo.example/o-1", { json = {} })
  b:load()
  docs.done("orders", "order.created", { orderId = "o-1", amount = sipeat.money.new(250, "EUR"),
    card = "pm_card_visa" })
  t.eq(payments:captured(), 1)
end)

docs.block("states", 1, function(b)
  local Parcel = b:made({}, "Parcel")
  t.ok(not Parcel:check("held", "sent", { role = "viewer" }))
  t.ok(Parcel:check("held", "sent", { role = "operator" }))
  t.eq(b.printed[1], "true")
  t.has(b.printed[2], "nil")
  t.has(b.printed[2], "ILLEGAL_TRANSITION")
  t.has(b.printed[3], "stateDiagram-v2")
end)

docs.block("tables", 1, function(b)
  b:load()
  local order = { type = "order.created", data = { drink = "tea" } }
  t.deliver("orders", "k", order, nil, { wait = false })
  t.advance "10ms" -- it finds no price, and comes again
  assert(sipeat.kafka.producer():send { topic = "prices", key = "tea", value = '{"cents":250}' })
  t.settle()
  t.advance "1m"
  t.eq(t.published("priced")[1].value, "250")
  t.eq(t.request("GET", "/prices").json, { tea = 250 })
end)

docs.block("traces", 1, function(b)
  b:load()
  docs.done("orders", "order.created", { items = { 1, 2 } })
end)

docs.block("workers", 1, function(b)
  b:load { sipeat = sipeat }
end)

docs.block("README", 1, function(b)
  local discord = t.discord()
  b:load()
  docs.done("hello.events", "customer.hello", { name = "Ada", cups = 2 })
  t.eq(t.published("hello.greeted")[1].value, "Ada")
  local many = { type = "customer.hello", data = { name = "Bob", cups = 9 } }
  t.eq(t.deliver("hello.events", "k", many).status, "dead")
  t.advance "1m"
  t.ok(#discord:messages() > 0)
end)

docs.block("durable", 1, function(b)
  b:load { sipeat = sipeat }
  local outcome = docs.done("orders", "order.created", {})
  t.eq(t.published("reminders")[1].json, { order = outcome.event.id })
end)

docs.block("durable", 3, function(b)
  local options = b:fields {}
  options.topic, options.group, options.journal = "orders", "orders", true
  options.on = { ["order.created"] = docs.handler() }
  docs.flow(options)
  docs.done("orders", "order.created", {})
end)

t.test("each name of the reference is there", function()
  for _, name in ipairs(require "names") do
    t.ok(sipeat[name] ~= nil, name)
  end
end)
