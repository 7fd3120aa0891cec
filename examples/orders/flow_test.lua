--- All three services on a broker in memory: redelivery, versions, sequences and figures.
local json = require "sipeat.json"
local t = require "sipeat.testing"

local TOPIC = "order-events"

t.before(function()
  t.env {
    ORDERS_DB = ":memory:", NOTICES_DB = ":memory:", FIGURES_DB = ":memory:", ORDERS_HTTP = "off",
    SIPEAT_ACCESS = ":memory:", ORDERS_AUTOPILOT = "on",
  }
  t.load "main.lua"
end)

local DATA = {
  ["1.0"] = {
    restaurantId = "restaurant-789", totalPrice = 25.50, createdAt = "2024-01-01T12:00:00Z",
    orderDetails = { { foodId = "food-001", foodName = "Pizza Margherita", price = 12.50,
      quantity = 2, discount = 0 } },
  },
  ["1.1"] = {
    restaurantId = "restaurant-789", totalPrice = 25.50, currency = "EUR",
    orderDetails = { { foodId = "food-001", price = 12.50, quantity = 2 } },
  },
  ["2.0"] = {
    restaurantId = "restaurant-789", totalMinor = 2550, currency = "EUR",
    items = { { foodId = "food-001", unitMinor = 1250, quantity = 2, discountMinor = 0 } },
  },
}

local function created(id, version, changes)
  local event = {
    id = "550e8400-" .. id, type = "order.created", orderId = id, userId = "user-" .. id,
    data = DATA[version], occurredAt = "2024-01-01T12:00:00Z", version = version,
  }
  for name, value in pairs(changes or {}) do
    event[name] = value
  end
  return json.encode(event) -- as any producer writes it
end

local function figures()
  return t.request("GET", "/api/v1/figures").json
end

local function state_of(id)
  return t.request("GET", "/api/v1/orders/" .. id).json.state
end

t.test("an order of every version is lifted, paid and delivered", function()
  for version in pairs(DATA) do
    t.deliver(TOPIC, "order-" .. version, created("order-" .. version, version))
  end
  t.settle()
  for version in pairs(DATA) do
    t.eq(state_of("order-" .. version), "delivered", version)
  end
  local got = figures()
  t.eq(got.revenue_minor, {
    { currency = "EUR", captured = 7650, refunded = 0, revenue = 7650 },
  })
  t.eq({ got.orders, got.missing_events, got.counts["order.delivered"] }, { 3, 0, 3 })
  t.eq(#t.dead_letters(), 0)
end)

t.test("a version that nobody can read is a dead letter of each service, at once", function()
  t.deliver(TOPIC, "o1", created("o1", "1.0", { version = "0.9" }))
  t.deliver(TOPIC, "o2", created("o2", "1.0", { version = "3.0" }))
  t.settle()
  local reasons = {}
  for _, letter in ipairs(t.dead_letters()) do
    reasons[letter.reason] = (reasons[letter.reason] or 0) + 1
    t.eq(letter.kind, "permanent")
  end
  t.eq(reasons, { NO_UPCASTER = 3, NEWER_VERSION = 3 })
end)

t.test("an amount that has no exact cents is refused, not rounded", function()
  local data = { restaurantId = "r", totalPrice = 25.505, orderDetails = {} }
  t.deliver(TOPIC, "o1", created("o1", "1.0", { data = data }))
  t.settle()
  t.eq(t.dead_letters()[1].reason, "UPCAST_FAILED")
  t.has(t.dead_letters()[1].message, "totalPrice")
end)

t.test("events that come again change nothing", function()
  t.deliver(TOPIC, "o1", created("o1", "1.0"))
  t.settle()
  local before, notices = figures(), t.request("GET", "/api/v1/notices/o1").json.notices
  local records = t.published(TOPIC)
  for _, record in ipairs(records) do
    t.deliver(TOPIC, record.key, record.value)
  end
  t.settle()
  t.eq(state_of "o1", "delivered")
  local after = figures()
  t.eq(after.revenue_minor, before.revenue_minor)
  t.eq(after.counts["order.created"], 1)
  t.eq(after.missing_events, 0)
  t.eq(#t.request("GET", "/api/v1/notices/o1").json.notices, #notices)
  local sequences = {}
  for _, event in ipairs(t.request("GET", "/api/v1/orders/o1/events").json.events) do
    sequences[#sequences + 1] = event.data.sequence
  end
  t.eq(sequences, { 2, 3, 4, 5, 6 }) -- the first one came from elsewhere
end)

t.test("each service takes what it is for, and lets the rest pass", function()
  t.deliver(TOPIC, "o1", created("o1", "1.0"))
  t.settle()
  local kinds = {}
  for _, notice in ipairs(t.request("GET", "/api/v1/notices/o1").json.notices) do
    kinds[notice.kind] = (kinds[notice.kind] or 0) + 1
  end
  t.eq(kinds, {
    ["order.created"] = 1, ["order.payment_processed"] = 1, ["order.state_changed"] = 2,
  })
  local outcome = t.deliver(TOPIC, "o1", { type = "order.rated", data = { stars = 5 } }, nil,
    { group = "notification-service" })
  t.eq(outcome.status, "done")
end)

-- What an operator's program sends along.
local function operator()
  require("sipeat.access").serve { file = ":memory:" }
  local who = { name = "test", role = "admin", via = "cli" }
  local users = require "sipeat.access_users"
  local secret = t.ok(users.add_token(who, "program", "operator", 60000))
  return { authorization = "Bearer " .. secret }
end

t.test("users are told by every way that they want, once each", function()
  t.env {
    MAIL_FROM = "orders@example.org", SMS_FROM = "+4930123", SMS_ACCOUNT = "AC1",
    SMS_TOKEN = "secret",
    PUSH_URL = "https://push.example/send", PUSH_TOKEN = "secret",
  }
  local mail, texts, pushed = t.mail(), {}, {}
  t.http.on("POST", "https://api.twilio.com/*", function(request)
    texts[#texts + 1] = request.form.Body
    return { status = 201, json = { sid = "SM1", status = "queued" } }
  end)
  t.http.on("POST", "https://push.example/send", function(request)
    pushed[#pushed + 1] = request.json.message.notification.body
    return { status = 404, json = { error = { status = "NOT_FOUND" } } } -- the app is gone
  end)
  mail:next("late answer", "temporary")
  local contact = { email = "jane@example.org", phone = "+491701234567", pushToken = "device" }
  local answer = t.request("PUT", "/api/v1/users/user-o1/contact", {
    json = contact, headers = operator(),
  })
  t.eq(answer.status, 200, answer.body)
  t.eq(t.request("PUT", "/api/v1/users/user-o1/contact", { json = contact }).status, 401)
  t.deliver(TOPIC, "o1", created("o1", "1.0"))
  t.settle()
  t.eq(mail:count(), 4)
  t.has(mail.messages[1].to[1], "jane@example.org")
  t.eq({ #texts, texts[1], #pushed }, { 4, "We have your order of 1 dish.", 4 })
  t.eq(t.request("GET", "/api/v1/notices/o1").json.notices[1].channels, "email phone")
  t.eq(#t.dead_letters(), 0)
end)

t.test("many orders of one user in a short time are held", function()
  for i = 1, 8 do
    t.deliver(TOPIC, "o" .. i, created("o" .. i, "1.0", { userId = "hasty" }))
  end
  t.settle()
  local held = 0
  for i = 1, 8 do
    held = held + (state_of("o" .. i) == "on_hold" and 1 or 0)
  end
  t.ok(held >= 2, "held: " .. held)
end)
