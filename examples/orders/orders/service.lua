--- The order service as a consumer: stock and payment of new orders, risk of paid ones, refunds of
--- cancelled ones.
local decisions = require "orders.decisions"
local events = require "orders.events"
local payments = require "orders.payments"
local settings = require "orders.settings"
local sipeat = require "sipeat"
local store = require "orders.store"
local sys = require "sipeat.core.sys"
local publish = require "orders.publish"

local M = {}

local function emit(ctx, found)
  for _, event in ipairs(found) do
    local ok, message, code = ctx:emit(settings.topic(), event.order_id, event.body)
    if not ok then
      return nil, message, code
    end
  end
  return true
end

-- The place of an event among those of its order; one of another producer that does not say it is
-- taken for the first one, when it creates the order.
local function sequence_of(event)
  local sequence = event.data.sequence
  if not sequence and event.type == events.CREATED then
    sequence = 1
  end
  return sequence
end

-- A handler that takes decisions, in turn, until one is not open; `run(event, step)`.
local function handler(run)
  return function(event, ctx)
    local id, sequence = events.order_id(event), sequence_of(event)
    if type(id) ~= "string" or id == "" then
      return nil, sipeat.permanent("the event has neither orderId nor key", "INVALID_EVENT")
    elseif not sequence then
      return "of another producer: not ours to act on"
    end
    return run(event, function(decide, options)
      local found, problem = store.decide {
        id = id, sequence = sequence, cause = event.id, decide = decide,
        risk = options and options.risk, foods = options and options.foods,
      }
      if not found then
        return nil, problem
      elseif found.refused then
        return nil, sipeat.failure.of(found.refused, found.code)
      end
      local ok, message, code = emit(ctx, found.events)
      if not ok then
        return nil, message, code
      end
      return found
    end)
  end
end

local function fields_of(event)
  local data = event.data
  return {
    id = events.order_id(event), sequence = sequence_of(event),
    user_id = event.attributes.userId or "", restaurant_id = data.restaurantId,
    currency = data.currency, total = data.totalMinor, items = data.items,
    payment_method = data.paymentMethod,
    created_ms = sys.parse_time(data.createdAt or event.time) or sipeat.task.now_ms(),
  }
end

local created = handler(function(event, step)
  local foods = {}
  for i, item in ipairs(event.data.items) do
    foods[i] = item.foodId
  end
  local found, problem = step(decisions.register(fields_of(event)), { foods = foods })
  if not found or found.again then
    return found and "handled before", problem
  end
  local payment
  if found.order.reserved == 1 then
    payment, problem = payments.capture(found.order)
    if not payment then
      return nil, problem
    end
  end
  found, problem = step(decisions.settle(payment))
  return found and found.order.state, problem
end)

local paid = handler(function(event, step)
  local found, problem = step(decisions.assess(event.data.status), { risk = true })
  return found and found.order.state, problem
end)

local cancelled = handler(function(_, step)
  local found, problem = step(decisions.owed())
  if not found or found.value ~= "refund" then
    return found and "nothing is owed", problem
  end
  local ok
  ok, problem = payments.refund(found.order)
  if not ok then
    return nil, problem
  end
  found, problem = step(decisions.refunded "cancelled")
  return found and "refunded", problem
end)

-- Of all other events: that it was seen, and the next step where orders go on by themselves.
local changed = handler(function(_, step)
  local advance = settings.autopilot() and decisions.advance()
  local found, problem = step(advance or function() return true end)
  return found and found.order and found.order.state, problem
end)

--- Declares the flow. `alone`: the group may be named by the environment.
function M.start(alone)
  sipeat.flow {
    topic = settings.topic(), group = settings.group("order-service", alone),
    concurrency = 256, timeout = "30s",
    on = {
      [events.Created] = created,
      [events.PaymentProcessed] = paid,
      [events.Cancelled] = cancelled,
      [events.StateChanged] = changed,
      [events.ShipperAssigned] = changed,
      [events.Delivered] = changed,
    },
  }
  sipeat.every(math.max(1, settings.unsent_after() // 3) .. "ms", publish.send_rest)
end

return M
