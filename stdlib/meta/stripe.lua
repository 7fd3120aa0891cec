---@meta sipeat.stripe
error("type stubs: require \"sipeat.stripe\" in a script instead")

--- Payments through Stripe's API, or one of its shape, as steps of a chain.
local M = {}

---@class sipeat.stripe.ConfigureOptions
---@field url? string default: STRIPE_API_URL, else https://api.stripe.com
---@field key? sipeat.Secret|string default: STRIPE_SECRET_KEY

---@class sipeat.stripe.CaptureOptions
---@field amount sipeat.Money at least one minor unit
---@field payment_method string such as "pm_card_visa"
---@field description? string
---@field receipt_email? string
---@field metadata? table<string, string|number> default {}: none

---@class sipeat.stripe.Payment
---@field id string
---@field status string
---@field amount_minor integer
---@field currency string
---@field charge? string

---@class sipeat.stripe.Refund
---@field status string "nothing_to_refund" when no payment was made
---@field id? string
---@field payment_intent? string

--- Sets the address and the key for this process.
---@param options sipeat.stripe.ConfigureOptions?
function M.configure(options) end

--- Charges at once, and once for a key.
---@param args sipeat.stripe.CaptureOptions
---@param ctx { key: string }
---@return sipeat.stripe.Payment? payment
---@return sipeat.Failure? failure
function M.capture(args, ctx) end

--- Gives back what capture took, once; also when its answer was lost (no result).
---@param args sipeat.stripe.CaptureOptions
---@param result sipeat.stripe.Payment?
---@param ctx { key: string }
---@return sipeat.stripe.Refund? refund
---@return sipeat.Failure? failure
function M.refund(args, result, ctx) end

---@class sipeat.stripe.RefundPaymentOptions
---@field payment string its id, pi_…
---@field amount? sipeat.Money without it all that is left of the payment
---@field reason? "duplicate"|"fraudulent"|"requested_by_customer"
---@field metadata? table default {}

--- Gives back a payment or a part of it, once for a key: a step of its own.
---@param args sipeat.stripe.RefundPaymentOptions
---@param ctx { key: string }
---@return sipeat.stripe.Refund? refund
---@return sipeat.Failure? failure
function M.refund_payment(args, ctx) end

--- Did the payment of this step happen?
---@param args sipeat.stripe.CaptureOptions
---@param ctx { key: string }
---@return "done"|"not_done"|"unknown"? verdict
---@return sipeat.stripe.Payment|sipeat.Failure? result the payment when done; else a failure
function M.reconcile(args, ctx) end

--- A form in Stripe's way: nested[key]=value, list[0]=value, in a fixed order.
---@param params table
---@return string
function M.encode_form(params) end

return M
