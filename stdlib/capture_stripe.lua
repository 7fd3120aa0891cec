--- A card network for `sipeat dev`, of Stripe's shape, at /capture/stripe: payments, cancels and
--- refunds with idempotency keys; the test cards decline as Stripe's do. Nothing is charged; the
--- capture page shows what would have been. Bounded: the oldest payments and keys are forgotten.
local capture = require "sipeat.capture"
local json = require "sipeat.json"
local sys = require "sipeat.core.sys"

local M = {}

local KEEP = 5000 -- payments, and answers by idempotency key

-- What the test cards answer: Stripe's documented test payment methods.
local DECLINES = {
  pm_card_chargeDeclined = "generic_decline",
  pm_card_chargeDeclinedInsufficientFunds = "insufficient_funds",
  pm_card_chargeDeclinedLostCard = "lost_card",
  pm_card_chargeDeclinedStolenCard = "stolen_card",
  pm_card_chargeDeclinedExpiredCard = "expired_card",
}

--- A table that forgets its oldest keys.
local function bounded(limit)
  local values, keys, head = {}, {}, 0
  local B = {}
  function B.get(key)
    return values[key]
  end
  function B.set(key, value)
    if values[key] == nil then
      local slot = head % limit + 1
      if keys[slot] then
        values[keys[slot]] = nil
      end
      keys[slot] = key
      head = head + 1
    end
    values[key] = value
  end
  function B.find(matches)
    for _, key in next, keys do
      if matches(values[key]) then
        return values[key]
      end
    end
  end
  return B
end

local intents, answers = bounded(KEEP), bounded(KEEP)

local function unescape(text)
  return (text:gsub("%+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- Fields of a form, by their name as it is written: form["metadata[order]"].
local function parse_form(body)
  local form = {}
  for name, value in body:gmatch("([^&=]+)=([^&]*)") do
    form[unescape(name)] = unescape(value)
  end
  return form
end

local function new_id(prefix)
  return prefix .. sys.uuid():gsub("%-", ""):sub(1, 24)
end

-- Raised inside of an endpoint to answer with an error.
local Refusal = {}

local function refuse(status, kind, fields)
  fields.type = kind
  error(setmetatable({ status = status, body = { error = fields } }, Refusal), 0)
end

local function invalid(param, message)
  refuse(400, "invalid_request_error", { param = param, message = message })
end

local function required(form, name)
  local value = form[name]
  if not value or value == "" then
    refuse(400, "invalid_request_error", {
      code = "parameter_missing",
      param = name,
      message = "Missing required param: " .. name .. ".",
    })
  end
  return value
end

local function metadata_of(form)
  local metadata = {}
  for name, value in next, form do
    local key = name:match("^metadata%[(.-)%]$")
    if key then
      metadata[key] = value
    end
  end
  return metadata
end

local function amount_of(form, name)
  local amount = math.tointeger(tonumber(form[name]))
  if not amount or amount < 1 or amount > 99999999 then
    local code = "parameter_invalid_integer"
    local why = "Invalid positive integer"
    refuse(400, "invalid_request_error", { code = code, param = name, message = why })
  end
  return amount
end

local function show(intent, what, extra)
  local entry = {
    what = what,
    id = intent.id,
    amount_minor = intent.amount,
    currency = intent.currency:upper(),
    status = intent.status,
    payment_method = intent.payment_method,
    description = intent.description,
    receipt_email = intent.receipt_email,
    metadata = intent.metadata,
  }
  for key, value in next, extra or {} do
    entry[key] = value
  end
  capture.record("payment", entry, intent.metadata.event_id or "")
end

local function decline(intent, reason)
  intent.status = "requires_payment_method"
  show(intent, "payment", { declined = reason })
  refuse(402, "card_error", {
    code = reason == "expired_card" and reason or "card_declined",
    decline_code = reason,
    message = "Your card was declined.",
    payment_intent = intent,
  })
end

local function create(form)
  required(form, "amount")
  local currency = required(form, "currency"):lower()
  if not currency:find("^%l%l%l$") then
    invalid("currency", "Invalid currency: " .. currency)
  end
  local intent = {
    object = "payment_intent",
    id = new_id "pi_",
    amount = amount_of(form, "amount"),
    currency = currency,
    status = "requires_confirmation",
    payment_method = form.payment_method,
    description = form.description,
    receipt_email = form.receipt_email,
    metadata = metadata_of(form),
    created = sys.now_ms() // 1000,
    livemode = false,
    latest_charge = json.null,
  }
  intents.set(intent.id, intent)
  if form.confirm ~= "true" then
    show(intent, "payment")
    return intent
  end
  local card = required(form, "payment_method")
  if DECLINES[card] then
    decline(intent, DECLINES[card])
  elseif card:find("^pm_card_authenticationRequired") then
    intent.status = "requires_action"
  else
    intent.status = "succeeded"
    intent.latest_charge = { object = "charge", id = new_id "ch_", refunded = false }
  end
  show(intent, "payment")
  return intent
end

local function existing(id)
  local intent = intents.get(id)
  if not intent then
    refuse(404, "invalid_request_error", {
      code = "resource_missing",
      param = "intent",
      message = "No such payment_intent: '" .. id .. "'",
    })
  end
  return intent
end

local function cancel(_, req)
  local intent = existing(req.params.id)
  if intent.status == "succeeded" or intent.status == "canceled" then
    refuse(400, "invalid_request_error", {
      code = "payment_intent_unexpected_state",
      message = "You cannot cancel this PaymentIntent because it has a status of " .. intent.status,
    })
  end
  intent.status = "canceled"
  show(intent, "cancel")
  return intent
end

local function refund(form)
  local intent = existing(required(form, "payment_intent"))
  local charge = intent.latest_charge
  if charge == json.null then
    invalid("payment_intent", "This PaymentIntent does not have a successful charge to refund.")
  end
  local left = intent.amount - (charge.amount_refunded or 0)
  if left == 0 then
    refuse(400, "invalid_request_error", {
      code = "charge_already_refunded",
      message = "Charge " .. charge.id .. " has already been refunded.",
    })
  end
  local amount = form.amount and amount_of(form, "amount") or left
  if amount > left then
    invalid("amount", "Refund amount is greater than unrefunded amount on charge")
  end
  charge.amount_refunded = (charge.amount_refunded or 0) + amount
  charge.refunded = charge.amount_refunded == intent.amount
  local made = {
    object = "refund",
    id = new_id "re_",
    amount = amount,
    currency = intent.currency,
    payment_intent = intent.id,
    charge = charge.id,
    reason = form.reason,
    status = "succeeded",
    metadata = metadata_of(form),
  }
  show(intent, "refund", { refund = made.id, amount_minor = amount, status = "succeeded" })
  return made
end

local function search(_, req)
  local name, value = (req.query.query or ""):match("^metadata%['(.-)'%]:'(.*)'$")
  if not name then
    invalid("query", "only metadata['name']:'value' is understood here")
  end
  value = value:gsub("\\(.)", "%1")
  local found = intents.find(function(intent)
    return intent.metadata[name] == value
  end)
  return { object = "search_result", data = json.array { found }, has_more = false }
end

-- --- the frame around every endpoint ---

local function respond(status, body, headers)
  headers = headers or {}
  headers["content-type"] = "application/json"
  headers["request-id"] = new_id "req_"
  return { status = status, headers = headers, body = body }
end

local function authorised(req)
  local given = req.headers.authorization or ""
  return given:find("^Bearer sk_test_%w") ~= nil or given:find("^Basic ") ~= nil
end

--- status and body of the endpoint's answer.
local function run(endpoint, form, req)
  local ok, result = xpcall(endpoint, function(raised)
    return getmetatable(raised) == Refusal and raised or debug.traceback(tostring(raised))
  end, form, req)
  if ok then
    return 200, json.encode(result)
  elseif getmetatable(result) == Refusal then
    return result.status, json.encode(result.body)
  end
  error(result, 0)
end

local function endpoint(inner)
  return function(req)
    if not authorised(req) then
      local why = "You did not provide a test key (sk_test_…) as bearer token."
      local kind = "invalid_request_error"
      return respond(401, json.encode { error = { type = kind, message = why } })
    end
    local body = req.body or ""
    local key = req.method == "POST" and req.headers["idempotency-key"] or nil
    local before = key and answers.get(key)
    if before and before.request ~= req.path .. "\n" .. body then
      local why = "Keys for idempotent requests can only be used with the same parameters they "
        .. "were first used with."
      return respond(400, json.encode { error = { type = "idempotency_error", message = why } })
    elseif before then
      return respond(before.status, before.body, { ["idempotent-replayed"] = "true" })
    end
    local status, text = run(inner, parse_form(body), req)
    if key and status ~= 400 and status ~= 404 then -- what failed validation is not stored
      answers.set(key, { request = req.path .. "\n" .. body, status = status, body = text })
    end
    return respond(status, text)
  end
end

--- Registers the endpoints with the HTTP server.
---@param http {route: function}
function M.routes(http)
  local base, builtin = "/capture/stripe/v1/", { builtin = true }
  http.route("POST " .. base .. "payment_intents", endpoint(create), builtin)
  http.route("GET " .. base .. "payment_intents/search", endpoint(search), builtin)
  http.route("POST " .. base .. "payment_intents/:id/cancel", endpoint(cancel), builtin)
  http.route("POST " .. base .. "refunds", endpoint(refund), builtin)
  local retrieve = endpoint(function(_, req)
    return existing(req.params.id)
  end)
  http.route("GET " .. base .. "payment_intents/:id", retrieve, builtin)
end

return M
