--- What becomes of an order: functions for store.decide, which look at the order and change it, and
--- do nothing else. Each is made for one event or request and may be called again for it.
local events = require "orders.events"
local json = require "sipeat.json"
local machine = require "orders.states"
local risk = require "orders.risk"

local M = {}

local function new_order(fields)
  return {
    id = fields.id, user_id = fields.user_id, restaurant_id = fields.restaurant_id,
    state = machine.initial, currency = fields.currency, total = fields.total, paid = 0,
    refunded = 0, declined = 0, payment_method = fields.payment_method, items = fields.items,
    reserved = 0, sequence = 0, handled = 0, created_ms = fields.created_ms,
  }
end

local function no_order(id)
  return nil, ("there is no order %s"):format(tostring(id)), "NOT_FOUND"
end

-- --- stock ---

local function counts_of(order)
  local counts = {}
  for _, item in ipairs(order.items) do
    counts[item.foodId] = (counts[item.foodId] or 0) + item.quantity
  end
  return counts
end

local function reserve(order, view)
  local counts = counts_of(order)
  for food, count in pairs(counts) do
    local available = view.available(food)
    if available and available < count then
      return
    end
  end
  for food, count in pairs(counts) do
    if view.available(food) then
      view.take(food, count)
    end
  end
  order.reserved = 1
end

local function release(order, view)
  if order.reserved == 1 then
    for food, count in pairs(counts_of(order)) do
      if view.available(food) then
        view.take(food, -count)
      end
    end
    order.reserved = 0
  end
end

-- --- states ---

-- What is said of a change: the type of event, and its data.
local function told(order, from, to, more)
  if to == "shipping" then
    return events.SHIPPER_ASSIGNED, { shipperId = order.shipper_id }
  elseif to == "delivered" then
    return events.DELIVERED, {}
  elseif to == "cancelled" then
    return events.CANCELLED, { reason = order.reason, from = from }
  end
  return events.STATE_CHANGED, { from = from, to = to, reason = more.reason, risk = more.risk }
end

local function change(order, view, to, more)
  local from = order.state
  local ok, message, code, details = machine:check(from, to, more)
  if not ok then
    return nil, message, code, details
  end
  order.state = to
  if to == "shipping" then
    order.shipper_id = more.shipper_id
  elseif to == "cancelled" then
    order.reason = more.reason
    release(order, view)
  end
  view.emit(order, told(order, from, to, more))
  return true
end

--- A request for a state: { operator?, reason?, shipper_id? }.
function M.move(id, to, more)
  return function(order, view)
    if not order then
      return no_order(id)
    end
    return change(order, view, to, more)
  end
end

-- --- creating ---

local function created_data(fields)
  local lines = json.array {}
  for i, item in ipairs(fields.items) do
    lines[i] = {
      foodId = item.foodId, foodName = item.name, quantity = item.quantity,
      price = events.decimal(item.unitMinor, fields.currency),
      discount = events.decimal(item.discountMinor, fields.currency),
    }
  end
  return {
    restaurantId = fields.restaurant_id, orderDetails = lines, createdAt = fields.created_at,
    totalPrice = events.decimal(fields.total, fields.currency), currency = fields.currency,
    paymentMethod = fields.payment_method,
  }
end

-- Whether an order is the one that is asked for again under its key.
local function is_same(order, fields)
  local same = order.user_id == fields.user_id and order.restaurant_id == fields.restaurant_id
    and order.payment_method == fields.payment_method and #order.items == #fields.items
  for i, item in ipairs(same and order.items or {}) do
    local other = fields.items[i]
    same = same and item.foodId == other.foodId and item.quantity == other.quantity
      and item.unitMinor == other.unitMinor and item.discountMinor == other.discountMinor
  end
  return same
end

--- A request for a new order.
function M.create(fields)
  return function(order, view)
    if order and not is_same(order, fields) then
      return nil, "this Idempotency-Key was that of another order", "KEY_REUSED"
    elseif order then
      return "again"
    end
    view.created = new_order(fields)
    view.emit(view.created, events.CREATED, created_data(fields))
    return true
  end
end

--- order.created: an order of another producer is taken in, and its foods are reserved. Stays open
--- until `settle`.
function M.register(fields)
  return function(order, view)
    if not order then
      order = new_order(fields)
      order.sequence, view.created = fields.sequence, order
    end
    if order.reserved == 0 and order.state == machine.initial then
      reserve(order, view)
    end
    view.keep_open = true
    return true
  end
end

local function payment_event(order, view, status, amount, more)
  view.emit(order, events.PAYMENT_PROCESSED, {
    status = status, amount = events.decimal(amount, order.currency), currency = order.currency,
    paymentId = order.payment_id, reason = more and more.reason,
  })
end

--- What came of the payment: { status = "captured", id }, { status = "declined", reason }, or nil:
--- nothing was reserved, so nothing was charged.
function M.settle(payment)
  return function(order, view)
    if not payment then
      return order.state == "cancelled"
        or change(order, view, "cancelled", { reason = "out of stock" })
    elseif payment.status == "declined" then
      order.declined = order.declined + 1
      payment_event(order, view, "declined", order.total, payment)
      return order.state == "cancelled"
        or change(order, view, "cancelled", { reason = "payment declined" })
    end
    order.paid, order.payment_id = order.total, payment.id
    if machine:check(order.state, "paid") then
      order.state = "paid"
    end -- else it was cancelled meanwhile: its event leads to the refund
    payment_event(order, view, "captured", order.total)
    return true
  end
end

--- order.payment_processed: a paid order is confirmed, or held for an operator.
function M.assess(status)
  return function(order, view)
    if not order then
      return no_order()
    elseif status ~= "captured" or order.state ~= "paid" then
      return true
    end
    local found = risk.assess(order, view.history)
    order.risk = found.score > 0 and found or nil
    if found.hold then
      return change(order, view, "on_hold", { reason = "risk", risk = found })
    end
    return change(order, view, "confirmed", {})
  end
end

--- order.cancelled: what was paid is owed. "refund" leaves it open until `refunded`.
function M.owed()
  return function(order, view)
    if order and order.paid > order.refunded then
      view.keep_open = true
      return "refund"
    end
    return true
  end
end

--- What was paid has been given back.
function M.refunded(reason)
  return function(order, view)
    local amount = order.paid - order.refunded
    if amount > 0 then
      order.refunded = order.paid
      payment_event(order, view, "refunded", amount, { reason = reason })
    end
    return true
  end
end

local NEXT = { confirmed = "preparing", preparing = "shipping", shipping = "delivered" }

--- The next step of an order that goes on by itself; nothing when there is none.
function M.advance()
  return function(order, view)
    local to = order and NEXT[order.state]
    return not to or change(order, view, to, { shipper_id = "shipper-" .. order.id:sub(-2) })
  end
end

return M
