--- sipeat.stripe against a server in this process that answers as it is told and keeps what it got.
local failure = require "sipeat.failure"
local http = require "sipeat.http"
local json = require "sipeat.json"
local money = require "sipeat.money"
local stripe = require "sipeat.stripe"
local t = require "sipeat.luatest"

local seen, answers = {}, {}

local function take(req)
  seen[#seen + 1] = {
    what = req.method .. " " .. req.path, body = req.body, key = req.headers["idempotency-key"],
    authorization = req.headers.authorization, type = req.headers["content-type"],
    query = req.query,
  }
  local answer = table.remove(answers, 1) or { 500, { error = { message = "no answer is left" } } }
  local headers = answer[3] or {}
  headers["content-type"] = "application/json"
  headers["request-id"] = "req_1"
  local body = type(answer[2]) == "string" and answer[2] or json.encode(answer[2])
  return { status = answer[1], headers = headers, body = body }
end

for _, route in ipairs {
  "POST /s/v1/payment_intents", "GET /s/v1/payment_intents/search",
  "GET /s/v1/payment_intents/:id", "POST /s/v1/payment_intents/:id/cancel", "POST /s/v1/refunds",
} do
  http.route(route, take)
end

local address = t.ok(http.listen "127.0.0.1:0").address
stripe.configure { url = "http://" .. address .. "/s/", key = "sk_test_secret" }

local function expect(...)
  seen, answers = {}, { ... }
end

local ARGS = { amount = money.new(250, "EUR"), payment_method = "pm_card_visa",
  description = "Cola & more", metadata = { order = "o-1" } }
local CTX = { key = "e1:chain:payment" }

local function intent(changes)
  local out = { id = "pi_1", amount = 250, currency = "eur", status = "succeeded",
    latest_charge = "ch_1" }
  for name, value in pairs(changes or {}) do
    out[name] = value
  end
  return out
end

local function refusal(status, fields, headers)
  fields.message = fields.message or "no"
  return { status, { error = fields }, headers }
end

t.test("a capture is one form with minor units, metadata and the step's key", function()
  expect { 200, intent() }
  local result = t.ok(stripe.capture(ARGS, CTX))
  t.eq(result, { id = "pi_1", status = "succeeded", amount_minor = 250, currency = "EUR",
    charge = "ch_1" })
  t.eq(#seen, 1)
  t.eq({ seen[1].what, seen[1].key, seen[1].authorization, seen[1].type }, {
    "POST /s/v1/payment_intents", "e1:chain:payment", "Bearer sk_test_secret",
    "application/x-www-form-urlencoded",
  })
  t.eq(seen[1].body, "amount=250&capture_method=automatic&confirm=true&currency=eur"
    .. "&description=Cola%20%26%20more&metadata%5Border%5D=o-1"
    .. "&metadata%5Bsipeat_key%5D=e1%3Achain%3Apayment&payment_method=pm_card_visa"
    .. "&payment_method_types%5B0%5D=card")
end)

t.test("a key longer than Stripe takes is replaced by its hash", function()
  expect { 200, intent() }
  t.ok(stripe.capture(ARGS, { key = ("k"):rep(300) }))
  t.eq(#seen[1].key, 64)
end)

for _, case in ipairs {
  { "CARD_DECLINED", "permanent",
    refusal(402, { type = "card_error", code = "card_declined", decline_code = "lost_card" }) },
  { "UNAUTHORIZED", "permanent", refusal(401, { type = "invalid_request_error" }) },
  { "RATE_LIMITED", "transient", refusal(429, { type = "invalid_request_error" }) },
  { "RATE_LIMITED", "transient",
    refusal(400, { type = "invalid_request_error", code = "rate_limit" }) },
  { "CONFLICT", "transient", refusal(409, { type = "idempotency_error" }) },
  { "IDEMPOTENCY_MISMATCH", "permanent", refusal(400, { type = "idempotency_error" }) },
  { "REJECTED", "permanent", refusal(400, { type = "invalid_request_error", param = "amount" }) },
  { "REJECTED", "transient",
    refusal(400, { type = "api_error" }, { ["Stripe-Should-Retry"] = "true" }) },
  { "CONFLICT", "permanent",
    refusal(409, { type = "api_error" }, { ["Stripe-Should-Retry"] = "false" }) },
  { "BAD_ANSWER", "transient", { 200, "<html>" } },
  { "REJECTED", "permanent", { 404, "nothing here" } },
} do
  local code, kind, answer = table.unpack(case)
  t.test(("status %d is %s, %s"):format(answer[1], code, kind), function()
    expect(answer)
    local result, why = stripe.capture(ARGS, CTX)
    t.eq({ result, why.code, why.kind, failure.is(why) }, { nil, code, kind, true })
    t.ok(not why.message:find("sk_test", 1, true))
  end)
end

t.test("a decline says why", function()
  expect(refusal(402, { type = "card_error", code = "card_declined",
    decline_code = "insufficient_funds" }))
  local _, why = stripe.capture(ARGS, CTX)
  t.eq({ why.message, why.decline_code },
    { "payment declined: insufficient_funds", "insufficient_funds" })
end)

t.test("after a 500 the payment is looked up, and counts when it was made", function()
  expect(refusal(500, { type = "api_error" }), { 200, { data = { intent() } } })
  t.eq(t.ok(stripe.capture(ARGS, CTX)).id, "pi_1")
  t.eq(seen[2].what, "GET /s/v1/payment_intents/search")
  t.eq(seen[2].query.query, "metadata['sipeat_key']:'e1:chain:payment'")
  expect(refusal(500, { type = "api_error" }), { 200, { data = json.array {} } })
  local _, why = stripe.capture(ARGS, CTX)
  t.eq({ why.code, why.kind }, { "SERVER_ERROR", "transient" })
end)

t.test("what the bank has not decided is asked again", function()
  expect({ 200, intent { status = "processing" } }, { 200, intent() })
  t.eq(t.ok(stripe.capture(ARGS, CTX)).status, "succeeded")
  t.eq(seen[2].what, "GET /s/v1/payment_intents/pi_1")
  expect({ 200, intent { status = "processing" } }, { 200, intent { status = "processing" } })
  t.eq(select(2, stripe.capture(ARGS, CTX)).code, "PROCESSING")
end)

t.test("a card that wants its owner is cancelled and declined", function()
  expect({ 200, intent { status = "requires_action" } }, { 200, intent { status = "canceled" } })
  local _, why = stripe.capture(ARGS, CTX)
  t.eq({ why.code, why.kind }, { "AUTHENTICATION_REQUIRED", "permanent" })
  t.eq({ seen[2].what, seen[2].key },
    { "POST /s/v1/payment_intents/pi_1/cancel", "e1:chain:payment:cancel" })
end)

t.test("an old answer is not believed: what was refunded since is not paid", function()
  local old = { ["Idempotent-Replayed"] = "true" }
  local charge = { id = "ch_1", refunded = true }
  expect({ 200, intent(), old }, { 200, intent { latest_charge = charge } })
  local _, why = stripe.capture(ARGS, CTX)
  t.eq({ why.code, why.kind }, { "ALREADY_REFUNDED", "permanent" })
  expect({ 200, intent(), old }, { 200, intent { latest_charge = { id = "ch_1" } } })
  t.eq(t.ok(stripe.capture(ARGS, CTX)).charge, "ch_1")
end)

t.test("a refund has a key of its own, the same from the step and from its undo", function()
  for _, key in ipairs { "e1:chain:payment", "e1:chain:payment:undo" } do
    expect { 200, { id = "re_1", status = "succeeded" } }
    t.eq(t.ok(stripe.refund(ARGS, { id = "pi_1" }, { key = key })),
      { id = "re_1", status = "succeeded", payment_intent = "pi_1" })
    t.eq({ seen[1].what, seen[1].key }, { "POST /s/v1/refunds", "e1:chain:payment:undo" })
    t.has(seen[1].body, "payment_intent=pi_1")
  end
end)

t.test("a refund without a result finds the payment, or that there is none", function()
  local ctx = { key = "e1:chain:payment:undo" }
  expect({ 200, { data = { intent() } } }, { 200, { id = "re_1", status = "pending" } })
  t.eq(t.ok(stripe.refund(ARGS, nil, ctx)).payment_intent, "pi_1")
  t.has(seen[1].query.query, "'e1:chain:payment'")
  expect { 200, { data = json.array {} } }
  t.eq(t.ok(stripe.refund(ARGS, nil, ctx)).status, "nothing_to_refund")
  t.eq(#seen, 1)
end)

t.test("what is refunded already is refunded; what fails is a failure", function()
  expect(refusal(400, { type = "invalid_request_error", code = "charge_already_refunded" }))
  t.eq(t.ok(stripe.refund(ARGS, { id = "pi_1" }, CTX)).status, "succeeded")
  expect { 200, { id = "re_1", status = "failed" } }
  t.eq(select(2, stripe.refund(ARGS, { id = "pi_1" }, CTX)).code, "REFUND_FAILED")
  expect(refusal(503, { type = "api_error" }))
  t.eq(select(2, stripe.refund(ARGS, { id = "pi_1" }, CTX)).kind, "transient")
end)

t.test("a refund of its own gives back a part, once for its key", function()
  expect { 200, { id = "re_1", status = "succeeded", amount = 100 } }
  local args = { payment = "pi_1", amount = money.new(100, "EUR"), reason = "duplicate",
    metadata = { order = "o-1" } }
  t.eq(t.ok(stripe.refund_payment(args, { key = "e2:refund" })),
    { id = "re_1", status = "succeeded", payment_intent = "pi_1", amount_minor = 100 })
  t.eq({ seen[1].what, seen[1].key }, { "POST /s/v1/refunds", "e2:refund" })
  t.eq(seen[1].body, "amount=100&metadata%5Border%5D=o-1&metadata%5Bsipeat_key%5D=e2%3Arefund&"
    .. "payment_intent=pi_1&reason=duplicate")
  expect(refusal(400, { type = "invalid_request_error", code = "charge_already_refunded" }))
  t.eq(select(2, stripe.refund_payment(args, CTX)).code, "REJECTED")
  expect(refusal(400, { type = "invalid_request_error", code = "charge_already_refunded" }))
  t.eq(t.ok(stripe.refund_payment({ payment = "pi_1" }, CTX)).status, "succeeded")
  t.fails(stripe.refund_payment, "payment is required", {}, CTX)
  t.fails(stripe.refund_payment, "one minor unit", { payment = "pi_1", amount = {} }, CTX)
  t.fails(stripe.refund_payment, "a ctx with a key", { payment = "pi_1" })
end)

t.test("reconcile asks by metadata", function()
  for _, case in ipairs {
    { "done", { data = { intent() } } }, { "not_done", { data = json.array {} } },
    { "not_done", { data = { intent { status = "canceled" } } } },
    { "unknown", { data = { intent { status = "processing" } } } },
  } do
    expect { 200, case[2] }
    t.eq(stripe.reconcile(ARGS, CTX), case[1])
  end
  expect(refusal(503, {}))
  local verdict, why = stripe.reconcile(ARGS, CTX)
  t.eq({ verdict, why.kind }, { nil, "transient" })
end)

t.test("a server that is not there is a transient failure", function()
  stripe.configure { url = "http://127.0.0.1:1", key = "sk_test_secret" }
  local _, why = stripe.capture(ARGS, CTX)
  t.eq({ why.code, why.kind }, { "ECONNREFUSED", "transient" })
end)

t.test("without a key the payment fails for good, with a hint", function()
  stripe.configure {}
  local _, why = stripe.capture(ARGS, CTX)
  t.eq({ why.code, why.kind }, { "NOT_CONFIGURED", "permanent" })
  t.has(why.message, "STRIPE_SECRET_KEY=sk_")
end)

t.test("a caller's mistakes throw", function()
  t.fails(function() stripe.capture({ amount = ARGS.amount }, CTX) end, "payment_method")
  t.fails(function()
    stripe.capture({ amount = { amount_minor = 0, currency = "EUR" }, payment_method = "x" }, CTX)
  end, "at least one minor unit")
  t.fails(function() stripe.capture(ARGS, {}) end, "a ctx with a key")
end)
