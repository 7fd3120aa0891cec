--- Taking and giving back money: through Stripe's API where STRIPE_SECRET_KEY is set (as it is in
--- `sipeat dev`), else simulated, where a payment method that names a decline is declined. Each
--- call has a key made of the order's id, so that calling again does nothing again.
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local money = require "sipeat.money"
local stripe = require "sipeat.stripe"

local M = {}

local METHOD = "pm_card_visa"

local function method_of(order)
  return order.payment_method or METHOD
end

local function is_simulated()
  return env.secret "STRIPE_SECRET_KEY" == nil
end

local function key_of(order)
  return { key = "order-payment:" .. order.id }
end

local function simulated(order)
  if method_of(order):find "Declined" then
    return { status = "declined", reason = "card_declined" }
  end
  return { status = "captured", id = "pay-" .. order.id }
end

--- { status = "captured", id } or { status = "declined", reason }; nil and a failure that may pass.
function M.capture(order)
  if is_simulated() or order.total == 0 then
    return simulated(order)
  end
  local paid, message, code = stripe.capture({
    amount = money.new(order.total, order.currency), payment_method = method_of(order),
    metadata = { order_id = order.id },
  }, key_of(order))
  if paid then
    return { status = "captured", id = paid.id }
  end
  local why = failure.of(message, code)
  if why.code == "CARD_DECLINED" or why.code == "AUTHENTICATION_REQUIRED" then
    return { status = "declined", reason = why.decline_code or why.code }
  end
  return nil, why
end

--- Gives back all that was paid: true; nil and a failure.
function M.refund(order)
  if is_simulated() or order.paid == 0 then
    return true
  end
  local given, message, code = stripe.refund({}, { id = order.payment_id }, key_of(order))
  if not given then
    return nil, failure.of(message, code)
  end
  return true
end

return M
