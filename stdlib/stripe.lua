--- Payments through Stripe's API, or one of its shape, as steps of a chain: capture, refund.
--
-- Every request carries an idempotency key made of ctx.key, so a repeated step charges once. Keys
-- live for 24 hours at the server; what comes later is found again by metadata (reconcile).
-- Codes: CARD_DECLINED, AUTHENTICATION_REQUIRED, NOT_CONFIGURED, UNAUTHORIZED, REJECTED,
-- IDEMPOTENCY_MISMATCH, ALREADY_REFUNDED (permanent); CONFLICT, RATE_LIMITED, SERVER_ERROR,
-- PROCESSING, BAD_ANSWER and those of the network (transient).
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local money = require "sipeat.money"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local KEY_LIMIT = 255 -- bytes of an Idempotency-Key
local VERSION = "2024-06-20" -- the answers that this module reads
local LIVE_FOR = "30s"

local CONFIGURE = opts.spec("sipeat.stripe.configure", {
  url = { "string" },
  key = { "secret" },
})

local CAPTURE = opts.spec("sipeat.stripe.capture", {
  amount = { "table", required = true },
  payment_method = { "string", required = true },
  description = { "string" },
  receipt_email = { "string" },
  metadata = { "table", default = {} },
})

local REFUND = opts.spec("sipeat.stripe.refund_payment", {
  payment = { "string", required = true },
  amount = { "table" },
  reason = { "string", enum = { "duplicate", "fraudulent", "requested_by_customer" } },
  metadata = { "table", default = {} },
})

local configured = {} -- of the process: it survives a reload of the script

--- Sets the address and the key for this process; what is not given comes from STRIPE_API_URL
--- (default https://api.stripe.com) and STRIPE_SECRET_KEY.
function M.configure(options)
  configured = CONFIGURE(options)
end

-- "a b&c" as it stands in a form.
local function escape(text)
  return (tostring(text):gsub("[^%w%-._~]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end

local function add_fields(pairs_out, prefix, value)
  if type(value) ~= "table" then
    pairs_out[#pairs_out + 1] = escape(prefix) .. "=" .. escape(value)
    return
  end
  for _, name in ipairs(opts.names(value)) do
    local item = value[name]
    if item == nil then
      name = tonumber(name)
      item = value[name]
      name = name - 1 -- arrays count from 0 on the wire
    end
    add_fields(pairs_out, ("%s[%s]"):format(prefix, name), item)
  end
end

--- A form in Stripe's way: nested[key]=value, list[0]=value; fields in a fixed order, so that a
--- repeated request is the same to the byte.
function M.encode_form(params)
  local out = {}
  for _, name in ipairs(opts.names(params)) do
    add_fields(out, name, params[name])
  end
  return table.concat(out, "&")
end

-- The key of a step's payment; the ctx of its undo has the same one with an ending.
local function idempotency_key(ctx, suffix)
  if type(ctx) ~= "table" or type(ctx.key) ~= "string" then
    error("stripe: a ctx with a key is needed: it makes a repeated request the same one", 3)
  end
  local key = ctx.key:gsub(":undo$", "") .. suffix
  return #key <= KEY_LIMIT and key or sys.sha256(key)
end

local function secret_key()
  local secret = configured.key or env.secret "STRIPE_SECRET_KEY"
  if not secret then
    return nil, failure.permanent(
      "payment: STRIPE_SECRET_KEY is not set (put STRIPE_SECRET_KEY=sk_… into .env.local; "
        .. "`sipeat dev` needs none)",
      "NOT_CONFIGURED"
    )
  end
  return env.reveal(secret)
end

-- What a refusal means. `request_id` is what Stripe's support asks for.
local function classify(what, response)
  local decoded = json.decode(response.body or "")
  local err = type(decoded) == "table" and type(decoded.error) == "table" and decoded.error or {}
  local text = ("stripe %s: %s (status %d%s%s)"):format(
    what,
    err.message or "refused without a message",
    response.status,
    err.code and ", " .. err.code or "",
    response.headers["request-id"] and ", request " .. response.headers["request-id"] or ""
  )
  local retry = response.headers["stripe-should-retry"]
  local status = response.status
  local result
  if err.type == "card_error" or status == 402 then
    local reason = err.decline_code or err.code or "declined"
    result = failure.permanent(("payment declined: %s"):format(reason), "CARD_DECLINED")
    result.decline_code = reason
  elseif status == 401 or status == 403 then
    result = failure.permanent(text .. " (is STRIPE_SECRET_KEY right?)", "UNAUTHORIZED")
  elseif status == 429 or err.code == "rate_limit" then
    result = failure.transient(text, "RATE_LIMITED")
  elseif err.type == "idempotency_error" and status ~= 409 then
    result = failure.permanent(text, "IDEMPOTENCY_MISMATCH")
  elseif status == 409 then
    result = failure.transient(text, "CONFLICT")
  elseif status >= 500 then
    result = failure.transient(text, "SERVER_ERROR")
  else
    result = failure.permanent(text, "REJECTED")
  end
  if retry == "true" and result.code ~= "CARD_DECLINED" then
    result.kind = "transient"
  elseif retry == "false" and status < 500 then
    result.kind = "permanent"
  end
  result.status, result.error_code = status, err.code
  return result
end

-- The decoded answer, nil and whether the server has said it before; or nil and a failure.
local function call(what, method, path, params, key)
  local secret, missing = secret_key()
  if not secret then
    return nil, missing
  end
  local base = configured.url or env.get("STRIPE_API_URL", "https://api.stripe.com")
  local url = base:gsub("/+$", "") .. path
  local form = params and M.encode_form(params)
  local response, message, code = require("sipeat.http").request {
    method = method,
    url = method == "GET" and form and url .. "?" .. form or url,
    body = method ~= "GET" and form or nil,
    headers = {
      ["Authorization"] = "Bearer " .. secret,
      ["Stripe-Version"] = VERSION,
      ["Idempotency-Key"] = key,
      ["Content-Type"] = method ~= "GET" and "application/x-www-form-urlencoded" or nil,
    },
    timeout = LIVE_FOR,
  }
  if not response then
    return nil, failure.new(("stripe %s: %s"):format(what, message), code)
  elseif response.status < 200 or response.status > 299 then
    return nil, classify(what, response)
  end
  local body, why = json.decode(response.body)
  if type(body) ~= "table" then
    local text = ("stripe %s: the answer is no JSON object: %s"):format(what, why or "a scalar")
    return nil, failure.transient(text, "BAD_ANSWER")
  end
  return body, nil, response.headers["idempotent-replayed"] == "true"
end

-- The payment that was made under this key, false when there is none, or nil and a failure.
local function lookup(key)
  local query = ("metadata['sipeat_key']:'%s'"):format(key:gsub("[\\']", "\\%0"))
  local found, problem = call("search", "GET", "/v1/payment_intents/search", { query = query })
  if not found then
    return nil, problem
  end
  return type(found.data) == "table" and found.data[1] or false
end

local function result_of(intent)
  local charge = intent.latest_charge ~= json.null and intent.latest_charge or nil
  return {
    id = intent.id,
    status = intent.status,
    amount_minor = intent.amount,
    currency = tostring(intent.currency or ""):upper(),
    charge = type(charge) == "table" and charge.id or charge,
  }
end

-- What the state of a payment means for the step. An answer for a key is repeated for ever, so when
-- it is an old one, or not final, this asks for the state of now.
local function settle(intent, key, is_old)
  if is_old or intent.status == "processing" then
    local problem
    local path = "/v1/payment_intents/" .. escape(intent.id)
    intent, problem = call("payment", "GET", path, { expand = { "latest_charge" } })
    if not intent then
      return nil, problem
    end
  end
  if type(intent.latest_charge) == "table" and intent.latest_charge.refunded == true then
    return nil, failure.permanent(
      ("payment %s was made and given back before (to charge again, publish a new event)"):format(
        intent.id
      ),
      "ALREADY_REFUNDED"
    )
  end
  if intent.status == "succeeded" then
    return result_of(intent)
  elseif intent.status == "processing" then
    return nil, failure.transient("payment: the bank has not answered yet", "PROCESSING")
  elseif intent.status == "requires_action" then
    local path = ("/v1/payment_intents/%s/cancel"):format(escape(intent.id))
    local canceled, problem = call("cancel", "POST", path, nil, key .. ":cancel")
    if not canceled and problem.kind ~= "permanent" then
      return nil, problem
    end
    return nil, failure.permanent(
      "payment declined: the card asks for its owner's confirmation, which a machine cannot give",
      "AUTHENTICATION_REQUIRED"
    )
  end
  local text = ("payment declined: it ended as %s"):format(tostring(intent.status))
  return nil, failure.permanent(text, "CARD_DECLINED")
end

local function with_key(metadata, key)
  local out = {}
  for name, value in pairs(metadata) do
    out[name] = value
  end
  out.sipeat_key = key
  return out
end

--- Charges args.amount (money) to args.payment_method at once. The result has the payment's `id`.
function M.capture(args, ctx)
  local o = CAPTURE(args)
  if not money.is(o.amount) or o.amount.amount_minor <= 0 then
    error("sipeat.stripe.capture: amount is money of at least one minor unit", 2)
  end
  local key = idempotency_key(ctx, "")
  local intent, problem, is_old = call("payment", "POST", "/v1/payment_intents", {
    amount = o.amount.amount_minor,
    currency = o.amount.currency:lower(),
    payment_method = o.payment_method,
    payment_method_types = { "card" },
    capture_method = "automatic",
    confirm = true,
    description = o.description,
    receipt_email = o.receipt_email,
    metadata = with_key(o.metadata, key),
  }, key)
  if not intent and problem.code == "SERVER_ERROR" then
    intent = lookup(key) -- the server repeats its 500 for this key, also when it did charge
  end
  if not intent then
    return nil, problem
  end
  return settle(intent, key, is_old)
end

--- Did the payment of this step happen: "done" and its result, "not_done" or "unknown"; nil and a
--- failure when Stripe does not say. Its search can be a minute behind: ask later than that.
function M.reconcile(_, ctx)
  local intent, problem = lookup(idempotency_key(ctx, ""))
  if intent == nil then
    return nil, problem
  elseif intent and intent.status == "succeeded" then
    return "done", result_of(intent)
  elseif intent and intent.status == "processing" then
    return "unknown"
  end
  return "not_done"
end

-- One refund of the payment `id`; no amount: all that is left of it.
local function refund(id, o, key)
  local made, problem = call("refund", "POST", "/v1/refunds", {
    payment_intent = id,
    amount = o.amount and o.amount.amount_minor,
    reason = o.reason,
    metadata = with_key(o.metadata or {}, key),
  }, key)
  if not made and problem.error_code == "charge_already_refunded" and not o.amount then
    return { status = "succeeded", payment_intent = id }
  elseif not made then
    return nil, problem
  elseif made.status == "failed" or made.status == "canceled" then
    local text = ("refund %s of %s: it ended as %s"):format(made.id, id, made.status)
    return nil, failure.permanent(text, "REFUND_FAILED")
  end
  return { id = made.id, status = made.status, payment_intent = id, amount_minor = made.amount }
end

--- Gives back what capture took, once; also when its answer was lost (no result).
function M.refund(_, result, ctx)
  local id = result and result.id
  if not id then
    local intent, problem = lookup(idempotency_key(ctx, ""))
    if intent == nil then
      return nil, problem
    elseif not intent or intent.status ~= "succeeded" then
      return { status = "nothing_to_refund" }
    end
    id = intent.id
  end
  return refund(id, { reason = "requested_by_customer" }, idempotency_key(ctx, ":undo"))
end

--- Gives back args.amount (money) of args.payment, or all that is left of it, as a step of its own.
function M.refund_payment(args, ctx)
  local o = REFUND(args)
  if o.amount and (not money.is(o.amount) or o.amount.amount_minor <= 0) then
    error("sipeat.stripe.refund_payment: amount is money of at least one minor unit", 2)
  end
  return refund(o.payment, o, idempotency_key(ctx, ""))
end

return M
