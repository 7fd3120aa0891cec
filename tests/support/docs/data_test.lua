--- Pages of databases, read models and metrics.
local docs = require "docs"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

docs.block("event-sourcing", 1, function(b)
  local store, state, version = b:made({}, "store", "state", "version")
  t.eq({ state.owner, version }, { "Ada", 1 })
  t.eq(select(3, store:execute("account", "a-1", "open", { owner = "Bob" })), "ALREADY_OPEN")
  assert(store:execute("account", "a-1", "pay", { cents = 250 }))
  t.eq(store:load("account", "a-1").cents, 250)
end)

docs.block("metrics", 1, function(b)
  b:load()
end)

docs.block("outbox", 1, function(b)
  local Order = sipeat.event.define("order.created", { id = "string" }, { topic = "orders" })
  b:load { OrderCreated = Order }
  t.eq(t.request("POST", "/api/v1/orders", { json = { id = "o-1" } }).status, 202)
  t.eq(t.request("POST", "/api/v1/orders", { json = { id = 1 } }).status, 503)
  docs.done("sensors", "reading", { celsius = 4 })
  t.eq(#t.published "orders", 1)
  t.eq(#t.published "readings", 1)
end)

docs.block("postgres", 1, function(b)
  b:load()
end)

docs.block("projections", 1, function(b)
  b:load()
  local sold = { drink = "tea", cents = 250 }
  sipeat.publish("drink.sold", sold, { topic = "machine.ledger", key = "m-1" })
  t.advance "10s"
  local rows = t.request("GET", "/api/v1/sales").json
  t.eq({ rows[1].drink, rows[1].sold, rows[1].cents }, { "tea", 1, 250 })
end)

docs.block("relay", 1, function(b)
  b:load()
  t.advance "10s"
  t.eq(#t.published "invoices", 1)
  local db, pay = b:made({}, "db", "pay")
  assert(db:script "DROP TABLE invoices")
  t.ok(not pay "i-2")
end)

docs.block("sql", 1, function(b)
  b:load()
  t.eq(b.printed, { "o-1\tJane\t250" })
end)
