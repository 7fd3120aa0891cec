--- The order service with a producer and a broker that are fakes, as the mock of a unit test: what
--- is published for what was asked. Run it with: sipeat test examples/orders
local t = require "sipeat.testing"

local TOPIC = "order-events"

t.before(function()
  t.env {
    ORDERS_DB = ":memory:", NOTICES_DB = ":memory:", FIGURES_DB = ":memory:", ORDERS_HTTP = "off",
    SIPEAT_ACCESS = ":memory:",
  }
  t.load "order-service.lua"
end)

local PIZZA = { foodId = "food-001", foodName = "Pizza Margherita", price = 12.5, quantity = 2,
  discount = 0 }

local function create(changes, headers)
  local body = { userId = "user-123", restaurantId = "rest-456", orderDetails = { PIZZA } }
  for name, value in pairs(changes or {}) do
    body[name] = value
  end
  return t.request("POST", "/api/v1/orders", { json = body, headers = headers })
end

local function change(id, state, more)
  local body = { state = state, shipperId = more }
  return t.request("POST", ("/api/v1/orders/%s/state"):format(id), { json = body })
end

local function show(id)
  return t.request("GET", "/api/v1/orders/" .. id).json
end

-- Types of what was published about an order, each with its place among them.
local function published(id)
  local list = {}
  for _, record in ipairs(t.published(TOPIC)) do
    if record.key == id then
      list[#list + 1] = ("%d %s"):format(record.json.data.sequence, record.json.type)
    end
  end
  return list
end

t.test("an order that is created is published as the document says", function()
  local answer = create()
  t.eq(answer.status, 201)
  local id = answer.json.orderId
  t.eq(answer.headers.location, "/api/v1/orders/" .. id)
  t.settle()
  local record = t.published(TOPIC)[1]
  t.eq(record.key, id)
  local event = record.json
  t.eq({ event.type, event.orderId, event.userId, event.version },
    { "order.created", id, "user-123", "1.0" })
  t.ok(event.id and event.occurredAt)
  local names = {}
  for name in pairs(event) do
    names[#names + 1] = name
  end
  table.sort(names)
  t.eq(names, { "data", "id", "occurredAt", "orderId", "type", "userId", "version" })
  t.eq(event.data.totalPrice, 25.5)
  t.eq(event.data.restaurantId, "rest-456")
  t.eq(event.data.orderDetails, { PIZZA })
  t.ok(event.data.createdAt)
end)

t.test("an order is paid, confirmed, cooked, brought and delivered, one event each", function()
  local id = create().json.orderId
  t.settle()
  t.eq(show(id).state, "confirmed")
  for _, state in ipairs { "preparing", "shipping", "delivered" } do
    local answer = change(id, state, state == "shipping" and "shipper-7" or nil)
    t.eq({ answer.status, answer.json.state }, { 200, state })
    t.settle()
  end
  t.eq(published(id), {
    "1 order.created", "2 order.payment_processed", "3 order.state_changed",
    "4 order.state_changed", "5 order.shipper_assigned", "6 order.delivered",
  })
  t.eq(show(id).shipperId, "shipper-7")
  t.eq(show(id).allowed, {})
end)

t.test("a state that may not follow is refused with those that may", function()
  local id = create().json.orderId
  t.settle()
  local answer = change(id, "delivered")
  t.eq(answer.status, 409)
  t.eq({ answer.json.code, answer.json.from, answer.json.to, answer.json.allowed },
    { "ILLEGAL_TRANSITION", "confirmed", "delivered", { "preparing", "cancelled" } })
  t.eq(change(id, "cooked").status, 422)
  t.eq(change(id, "shipping").status, 422) -- without a shipper
  t.eq(change("order-x", "preparing").status, 404)
  t.eq(#published(id), 3)
end)

t.test("what is wrong with an order is said for each field, and nothing is published", function()
  local answer = create { orderDetails = { { foodId = "f", price = 1.005, quantity = 0 } } }
  t.eq(answer.status, 422)
  t.has(answer.body, "orderDetails[1].price")
  answer = create { orderDetails = { { foodId = "f", price = 1, quantity = 1, discount = 2 } } }
  t.has(answer.body, "orderDetails[1].discount")
  t.has(create({ orderDetails = {} }).body, "1 to 100 lines")
  t.has(create({ totalPrice = 25 }).body, "25.5")
  t.eq(create({ totalPrice = 25.5 }).status, 201)
  t.settle()
  t.eq(#t.published(TOPIC), 3) -- of the last one
end)

t.test("a request that is sent again under its key is one order", function()
  local key = { ["idempotency-key"] = "abc" }
  local first = create(nil, key)
  local again = create(nil, key)
  t.eq({ first.status, again.status, again.json.orderId }, { 201, 200, first.json.orderId })
  t.eq(create({ userId = "user-9" }, key).status, 409)
  t.settle()
  t.eq(#published(first.json.orderId), 3)
end)

t.test("a card that is declined cancels the order, and nothing is paid", function()
  local id = create({ paymentMethod = "pm_card_chargeDeclined" }).json.orderId
  t.settle()
  t.eq({ show(id).state, show(id).paid, show(id).reason }, { "cancelled", 0, "payment declined" })
  t.eq(published(id), {
    "1 order.created", "2 order.payment_processed", "3 order.cancelled",
  })
end)

t.test("a paid order that is cancelled is refunded, once", function()
  local id = create().json.orderId
  t.settle()
  local answer = t.request("POST", ("/api/v1/orders/%s/cancel"):format(id), { json = {} })
  t.eq(answer.json.state, "cancelled")
  t.settle()
  t.eq({ show(id).paid, show(id).refunded }, { 25.5, 25.5 })
  t.eq(published(id)[5], "5 order.payment_processed")
  t.eq(#published(id), 5)
end)

t.test("payments go through Stripe's API where it is set up", function()
  local payments = t.payments()
  local id = create().json.orderId
  t.settle()
  t.eq(payments.captured(), 1)
  t.eq(payments.entries()[1].amount_minor, 2550)
  t.request("POST", ("/api/v1/orders/%s/cancel"):format(id), { json = {} })
  t.settle()
  t.eq({ payments.captured(), payments.refunded(), show(id).refunded }, { 1, 1, 25.5 })
end)

t.test("a payment whose answer is lost is not made twice", function()
  local payments = t.payments()
  payments:next("late answer", "error after", "rate limited")
  local id = create().json.orderId
  t.settle()
  t.eq({ payments.captured(), show(id).state, #published(id) }, { 1, "confirmed", 3 })
end)

t.test("what is sold out costs nothing, and an order that is cancelled frees it", function()
  t.env { ORDERS_STOCK = "food-001=3, food-002=7" }
  local first = create().json.orderId -- two portions
  t.settle()
  local second = create().json.orderId
  t.settle()
  t.eq(show(first).state, "confirmed")
  t.eq({ show(second).state, show(second).paid, show(second).reason },
    { "cancelled", 0, "out of stock" })
  t.request("POST", ("/api/v1/orders/%s/cancel"):format(first), { json = {} })
  t.settle()
  local third = create().json.orderId
  t.settle()
  t.eq(show(third).state, "confirmed")
end)

t.test("a risky order is held, and only an operator lets it go on", function()
  local banquet = { { foodId = "banquet", price = 800, quantity = 1 } }
  local id = create({ orderDetails = banquet }).json.orderId
  t.settle()
  local order = show(id)
  t.eq(order.state, "on_hold")
  t.has(order.risk.rules[1], "large_amount")
  local answer = change(id, "confirmed")
  t.eq({ answer.status, answer.json.code }, { 403, "GUARD_REFUSED" })
  t.eq(t.request("POST", ("/api/v1/orders/%s/release"):format(id)).status, 401)
end)

t.test("the states are shown as a diagram", function()
  t.has(t.request("GET", "/api/v1/order-states").body, "on_hold --> confirmed: release")
  t.has(t.request("GET", "/api/v1/order-states?format=dot").body, 'digraph "order"')
end)
