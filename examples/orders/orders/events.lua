--- The events of an order: { id, type, orderId, userId, data, occurredAt, version }.
--
-- They are written as version 1.0, with decimals. They are read as version 2.0, with integer minor
-- units: upcasters lift what is older, so that whoever reads is ahead of whoever writes. All of one
-- order's events carry data.sequence, 1, 2, 3 … in the order in which they happened.
local event = require "sipeat.event"
local money = require "sipeat.money"
local settings = require "orders.settings"
local sys = require "sipeat.core.sys"

local M = {}

M.CREATED = "order.created"
M.STATE_CHANGED = "order.state_changed"
M.PAYMENT_PROCESSED = "order.payment_processed"
M.SHIPPER_ASSIGNED = "order.shipper_assigned"
M.CANCELLED = "order.cancelled"
M.DELIVERED = "order.delivered"

--- What is written today.
M.VERSION = "1.0"

-- A decimal of the wire in minor units, exactly, or an error that names the field.
local function minor(amount, currency, field)
  local exact, why = money.of(amount, currency)
  if not exact then
    error(("%s: %s"):format(field, why), 0)
  end
  return exact.amount_minor
end

-- 1.1 says in which currency amounts are.
local function with_currency(data)
  data.currency = data.currency or settings.currency()
  return data
end

-- 2.0 has amounts in minor units, and items in the place of orderDetails.
local function created_2_0(data)
  local currency, items = data.currency, {}
  for i, line in ipairs(data.orderDetails or {}) do
    local where = ("orderDetails[%d]."):format(i)
    items[i] = {
      foodId = line.foodId, name = line.foodName, quantity = line.quantity,
      unitMinor = minor(line.price, currency, where .. "price"),
      discountMinor = minor(line.discount or 0, currency, where .. "discount"),
    }
  end
  data.items, data.orderDetails = items, nil
  data.totalMinor, data.totalPrice = minor(data.totalPrice, currency, "totalPrice"), nil
  return data
end

local function payment_2_0(data)
  data.amountMinor, data.amount = minor(data.amount, data.currency, "amount"), nil
  return data
end

local function as_it_is(data)
  return data
end

-- A type as it is read; `lift` makes 2.0 of 1.1.
local function reader(type_name, fields, lift)
  fields.sequence = "integer?"
  return event.define(type_name, fields, {
    version = "2.0", upcast = { ["1.0"] = with_currency, ["1.1"] = lift or as_it_is },
  })
end

M.Created = reader(M.CREATED, {
  restaurantId = "text(100)", totalMinor = "integer", currency = "string", createdAt = "time?",
  paymentMethod = "string?",
  items = event.list {
    foodId = "text(100)", name = "string?", unitMinor = "integer", quantity = "integer",
    discountMinor = "integer",
  },
}, created_2_0)

M.StateChanged = reader(M.STATE_CHANGED, { from = "string", to = "string", reason = "string?" })

M.PaymentProcessed = reader(M.PAYMENT_PROCESSED, {
  status = { "captured", "declined", "refunded" }, amountMinor = "integer", currency = "string",
  paymentId = "string?", reason = "string?",
}, payment_2_0)

M.ShipperAssigned = reader(M.SHIPPER_ASSIGNED, { shipperId = "text(100)" })
M.Cancelled = reader(M.CANCELLED, { reason = "string?" })
M.Delivered = reader(M.DELIVERED, {})

--- A new event as it is written.
function M.new(type_name, order, data, now_ms)
  data.sequence = order.sequence
  return {
    id = sys.uuid(), type = type_name, orderId = order.id, userId = order.user_id, data = data,
    occurredAt = sys.iso_time(now_ms), version = M.VERSION,
  }
end

--- The order that an event is about: its field orderId, or the record's key.
function M.order_id(ev)
  return ev.attributes.orderId or ev.key
end

--- Minor units as the wire has them.
function M.decimal(amount_minor, currency)
  return money.to_number(money.new(amount_minor, currency))
end

return M
