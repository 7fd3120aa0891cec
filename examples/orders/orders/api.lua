--- The API of the order service: orders, their states, and what an operator may do.
local decisions = require "orders.decisions"
local env = require "sipeat.env"
local event = require "sipeat.event"
local events = require "orders.events"
local http = require "sipeat.http"
local json = require "sipeat.json"
local log = require("sipeat.log").new "orders"
local machine = require "orders.states"
local operators = require "orders.operators"
local publish = require "orders.publish"
local resource = require "sipeat.resource"
local settings = require "orders.settings"
local store = require "orders.store"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local STATUS = {
  NOT_FOUND = 404, KEY_REUSED = 409, ILLEGAL_TRANSITION = 409, FINAL_STATE = 409,
  GUARD_REFUSED = 403, UNKNOWN_STATE = 422, NOT_PAID = 409,
}

local function order_json(order)
  local function decimal(amount)
    return events.decimal(amount, order.currency)
  end
  return {
    orderId = order.id, userId = order.user_id, restaurantId = order.restaurant_id,
    state = order.state, allowed = machine:allowed(order.state), currency = order.currency,
    totalPrice = decimal(order.total), paid = decimal(order.paid),
    refunded = decimal(order.refunded), reason = order.reason, shipperId = order.shipper_id,
    risk = order.risk, sequence = order.sequence,
  }
end

local function unavailable(problem)
  return http.problem(503, problem.message, {
    code = problem.code, headers_needed = { ["retry-after"] = "5" },
  })
end

-- Takes a decision for a request, and sends its events: the result, or nil and the answer.
local function decide(id, req, decision, options)
  local found, problem = store.decide {
    id = id, cause = "http:" .. req.id, decide = decision, foods = options and options.foods,
  }
  if not found then
    return nil, unavailable(problem)
  elseif found.refused then
    log:info("refused: " .. found.refused, { order = id, code = found.code })
    local fields = { code = found.code }
    for name, value in pairs(found.details or {}) do
      fields[name] = value
    end
    return nil, http.problem(STATUS[found.code] or 400, found.refused, fields)
  end
  publish.send(found.events)
  return found
end

-- --- orders ---

local NEW = event.define("order", {
  userId = "text(100)", restaurantId = "text(100)", currency = "string?", totalPrice = "money?",
  paymentMethod = "text(100)?",
  orderDetails = event.list {
    foodId = "text(100)", foodName = "string(200)?", price = "money", quantity = "integer",
    discount = "money?",
  },
}, { currency = settings.currency() }):only({
  "userId", "restaurantId", "currency", "totalPrice", "paymentMethod", "orderDetails",
}, "New order")

local MAX_LINES, MAX_QUANTITY = 100, 1000

-- Lines in minor units with their sum, or nil and what is wrong with them.
local function lines_of(body)
  local items, total, problems = json.array {}, settings.fee().amount_minor, {}
  local function wrong(field, message)
    problems[#problems + 1] = { field = field, message = message, code = "range" }
  end
  if #body.orderDetails < 1 or #body.orderDetails > MAX_LINES then
    wrong("orderDetails", ("an order has 1 to %d lines"):format(MAX_LINES))
  end
  for i, line in ipairs(body.orderDetails) do
    local where, discount = ("orderDetails[%d]."):format(i), line.discount
    local unit, off = line.price.amount_minor, discount and discount.amount_minor or 0
    if line.quantity < 1 or line.quantity > MAX_QUANTITY then
      wrong(where .. "quantity", ("is 1 to %d"):format(MAX_QUANTITY))
    elseif unit < 0 or unit > 10000000 then
      wrong(where .. "price", "is not negative, and at most 100000.00")
    elseif off < 0 or off > unit * line.quantity then
      wrong(where .. "discount", "is not negative, and at most the price of its line")
    end
    items[i] = {
      foodId = line.foodId, name = line.foodName, unitMinor = unit, quantity = line.quantity,
      discountMinor = off,
    }
    total = total + unit * line.quantity - off
  end
  if body.totalPrice and body.totalPrice.amount_minor ~= total then
    wrong("totalPrice", ("is %s with the fee"):format(
      tostring(events.decimal(total, settings.currency()))))
  end
  return #problems == 0 and items or nil, #problems == 0 and total or problems
end

local function create(req, body)
  local id, refusal = resource.event_id(req, events.CREATED)
  if not id then
    return refusal
  end
  local items, total = lines_of(body)
  if not items then
    return resource.refuse(total)
  elseif body.currency and body.currency ~= settings.currency() then
    return resource.refuse { {
      field = "currency", message = "is " .. settings.currency(), code = "not_listed",
    } }
  end
  local now_ms = task.now_ms()
  local found, answer = decide("order-" .. id, req, decisions.create {
    id = "order-" .. id, user_id = body.userId, restaurant_id = body.restaurantId,
    currency = settings.currency(), total = total, items = items,
    payment_method = body.paymentMethod, created_ms = now_ms, created_at = sys.iso_time(now_ms),
  })
  if not found then
    return answer
  end
  return {
    status = found.value == "again" and 200 or 201, json = order_json(found.order),
    headers = { location = "/api/v1/orders/" .. found.order.id },
  }
end

-- The order of a request; nil and the answer.
local function order_of(req)
  local order, message, code = store.find(req.params.id)
  if order == nil then
    return nil, unavailable { message = message, code = code }
  elseif not order then
    return nil, http.problem(404, "there is no order " .. req.params.id, { code = "NOT_FOUND" })
  end
  return order
end

local function show(req)
  local order, answer = order_of(req)
  return order and { json = order_json(order) } or answer
end

local function list_events(req)
  local order, answer = order_of(req)
  if not order then
    return answer
  end
  local rows, message, code = store.events(order.id)
  if not rows then
    return unavailable { message = message, code = code }
  end
  local list = json.array {}
  for i, row in ipairs(rows) do
    list[i] = json.decode(row.body)
  end
  return { json = { orderId = order.id, events = list } }
end

-- --- states ---

local function move(req, to, more)
  local found, answer = decide(req.params.id, req, decisions.move(req.params.id, to, more))
  return found and { json = order_json(found.order) } or answer
end

local CHANGE = { state = "text(50)", reason = "string(500)?", shipperId = "text(100)?" }

local function change(req, body)
  if body.state == "shipping" and not body.shipperId then
    return resource.refuse { {
      field = "shipperId", message = "says who brings it", code = "missing",
    } }
  end
  return move(req, body.state, { reason = body.reason, shipper_id = body.shipperId })
end

local function refund(req)
  local found, answer = decide(req.params.id, req, function(order)
    if not order then
      return nil, "there is no order " .. req.params.id, "NOT_FOUND"
    elseif order.state ~= "delivered" or order.paid == 0 then
      return nil, "only what was delivered and paid is refunded here; cancel it instead", "NOT_PAID"
    end
    return true
  end)
  if not found then
    return answer
  end
  local ok, problem = require("orders.payments").refund(found.order)
  if not ok then
    return unavailable(problem)
  end
  found, answer = decide(found.order.id, req, decisions.refunded "complaint")
  return found and { json = order_json(found.order) } or answer
end

local function diagram(req)
  if req.args.format == "dot" then
    return { body = machine:dot(), headers = { ["content-type"] = "text/vnd.graphviz" } }
  end
  return { text = machine:mermaid() }
end

local function held()
  local rows, message, code = store.in_state("on_hold", 100)
  if not rows then
    return unavailable { message = message, code = code }
  end
  local list = json.array {}
  for i, row in ipairs(rows) do
    list[i] = {
      orderId = row.id, userId = row.user_id, risk = json.decode(row.risk or "{}"),
      totalPrice = events.decimal(row.total, row.currency),
    }
  end
  return { json = { orders = list } }
end

local function stock(req, body)
  local ok, message, code = store.set_stock(req.params.food, body.available)
  if not ok then
    return unavailable { message = message, code = code }
  end
  return { json = { foodId = req.params.food, available = body.available } }
end

-- A server of its own, at the port that the example's readers expect.
local function listen()
  local address = env.get("ORDERS_HTTP", "127.0.0.1:8080")
  if address == "off" then
    return
  end
  local server, message, code = http.listen(address)
  if server then
    log:info("orders are taken on " .. server.url)
  elseif code ~= "EADDRINUSE" then
    error("ORDERS_HTTP: " .. message, 0)
  else
    log:info(address .. " is taken: orders are taken there, and on this program's own address")
  end
end

--- Adds the routes.
function M.start()
  local route = resource.route
  route("POST /api/v1/orders", { summary = "Takes an order", body = NEW, answers = {
    [201] = "Taken", [409] = "The key was that of another order" } }, create)
  route("GET /api/v1/orders/:id", { summary = "An order" }, show)
  route("GET /api/v1/orders/:id/events", { summary = "All events of an order" }, list_events)
  route("POST /api/v1/orders/:id/state", { summary = "Changes the state of an order", body = CHANGE,
    answers = { [200] = "Changed", [409] = "Not from the state that it is in" } }, change)
  route("POST /api/v1/orders/:id/cancel", { summary = "Cancels an order",
    body = { reason = "string(500)?" } }, function(req, body)
      return move(req, "cancelled", { reason = body.reason or "cancelled by the customer" })
    end)
  local function only(summary, body)
    return { summary = summary, role = "operator", guard = operators, body = body }
  end
  route("POST /api/v1/orders/:id/release", only "Lets a held order go on", function(req)
    return move(req, "confirmed", { operator = true, reason = "released" })
  end)
  route("POST /api/v1/orders/:id/reject", only "Cancels a held order", function(req)
    return move(req, "cancelled", { operator = true, reason = "rejected by an operator" })
  end)
  route("POST /api/v1/orders/:id/refund", only "Gives the money of a delivered order back", refund)
  route("GET /api/v1/held-orders", only "Orders that wait for an operator", held)
  route("PUT /api/v1/stock/:food", only("How many of a food there are", {
    available = "integer" }), stock)
  route("GET /api/v1/order-states", { summary = "The states of an order, as a diagram",
    query = { ["format?"] = { "mermaid", "dot" } } }, diagram)
  require("sipeat.openapi").serve { title = "Orders" }
  listen()
end

return M
