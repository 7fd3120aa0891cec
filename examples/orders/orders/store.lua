--- Orders, their events and the stock, in one database. Every change is a decision: a function that
--- looks at an order and says what becomes of it, and does nothing else. Decisions that come at the
--- same time are read, taken and written together, in one transaction.
local events = require "orders.events"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local rows = require "orders.rows"
local schema = require "orders.schema"
local settings = require "orders.settings"
local sql = require "sipeat.sql"
local task = require "sipeat.task"
local together = require "orders.together"

local M = {}

local LIMIT = 256 -- decisions in one transaction

local db
local decisions, acknowledged

local function database()
  if not db then
    local opened, message = sql.open(settings.database("ORDERS_DB", "orders.db"), {
      busy_timeout = "30s",
    })
    local ok, why
    if opened then
      ok, why = opened:script(schema)
    end
    if ok then
      ok, why = rows.first_stock(opened, settings.stock())
    end
    if not ok then
      error("orders: " .. (why or message), 0)
    end
    db = opened
  end
  return db
end

M.database = database

-- What a decision may ask of and change: the orders, the stock, and what is to be written.
local function world_of(tx, items)
  local ids, foods, risky = {}, {}, {}
  for _, item in ipairs(items) do
    ids[item.id] = true
    risky[item.id] = item.risk or risky[item.id]
    for _, food in ipairs(item.foods or {}) do
      foods[food] = true
    end
  end
  local orders, message, code = rows.orders(tx, opts.names(ids))
  if not orders then
    return nil, message, code
  end
  rows.foods_of(orders, foods)
  local stock, history
  stock, message, code = rows.stock(tx, opts.names(foods))
  if stock then
    history, message, code = rows.history(tx, opts.names(risky))
  end
  if not history then
    return nil, message, code
  end
  return {
    orders = orders, stock = stock, history = history, now_ms = task.now_ms(),
    touched = {}, touched_stock = {}, events = {}, unsent = {},
  }
end

-- Adds the next event of an order to what is written.
local function add_event(world, order, item, type_name, data)
  order.sequence = order.sequence + 1
  local event = events.new(type_name, order, data, world.now_ms)
  local entry = {
    order_id = order.id, sequence = order.sequence, cause = item.cause, body = json.encode(event),
  }
  world.events[#world.events + 1] = entry
  if not item.sequence then
    world.unsent[#world.unsent + 1] = {
      order_id = order.id, sequence = order.sequence, at_ms = world.now_ms,
    }
  end
  return entry
end

-- Which events of the order that were written before are to be sent with these, so that the topic
-- has them in their sequence: before what an event leads to, those of requests that are not known
-- to be in Kafka; before what a request leads to, all that have not been seen to come from there.
local function earlier(item, order, mine)
  local after = item.sequence or order.handled
  if not mine[1] or mine[1].sequence <= after + 1 then
    return nil
  end
  return {
    id = order.id, after = after, before = mine[1].sequence,
    kind = item.sequence and "unsent" or "all",
  }
end

-- An event that comes again changes nothing. What it led to is sent again, unless that has come.
local function again(item, order)
  return { order = order, again = true, events = {}, more = {
    id = order.id, after = order.handled, before = math.maxinteger, kind = "cause",
    cause = item.cause,
  } }
end

-- One decision.
local function decide(world, item)
  local order, mine = world.orders[item.id], {}
  if order and item.sequence and item.sequence <= order.handled then
    return again(item, order)
  end
  local view = {
    now_ms = world.now_ms, history = world.history[item.id],
    available = function(food) return world.stock[food] end,
    take = function(food, count)
      world.stock[food] = world.stock[food] - count
      world.touched_stock[food] = true
    end,
    emit = function(subject, type_name, data)
      mine[#mine + 1] = add_event(world, subject, item, type_name, data)
    end,
  }
  local value, why, code, details = item.decide(order, view)
  if value == nil then
    return { refused = why, code = code, details = details, order = order, events = {} }
  end
  order = order or view.created
  if order then
    world.orders[item.id], world.touched[item.id] = order, order
    if item.sequence and not view.keep_open then
      order.handled = math.max(order.handled, item.sequence)
    end
  end
  local more = order and earlier(item, order, mine)
  return { value = value, order = order, events = mine, more = more }
end

local function run_decisions(items)
  return database():transaction(function(tx)
    local world, message, code = world_of(tx, items)
    if not world then
      return nil, message, code
    end
    local results = {}
    for i, item in ipairs(items) do
      results[i] = decide(world, item)
    end
    local ok
    ok, message, code = rows.write(tx, world)
    if ok then
      ok, message, code = rows.add_earlier(tx, results)
    end
    if not ok then
      return nil, message, code
    end
    return results
  end)
end

decisions = together.new(run_decisions, LIMIT)

acknowledged = together.new(function(items)
  return database():transaction(function(tx)
    local ok, message, code = rows.forget_unsent(tx, items)
    if not ok then
      return nil, message, code
    end
    return items
  end)
end, LIMIT)

--- Takes a decision on an order: { id, decide = function(order, view) …, sequence?, cause, foods?,
--- risk? }. `decide` gets the order (nil: there is none) and a view of the rest, may change them,
--- and answers true, or nil, message, code, details. With a `sequence` (of the event that asked) it
--- is called until it has answered without view.keep_open, and then never again for that event.
--- { order, value, events, again?, refused?, code?, details? }: `events` are to be sent, in this
--- order. nil and a failure of the database.
function M.decide(item)
  return decisions:add(item)
end

--- Notes that Kafka has an order's events up to a sequence.
function M.sent(order_id, sequence)
  return acknowledged:add { order_id = order_id, sequence = sequence }
end

--- Events of requests that Kafka may not have, older than `age_ms`: { order_id, sequence, body }.
function M.unsent(age_ms, limit)
  return rows.unsent(database(), task.now_ms() - age_ms, limit)
end

--- An order, false when there is none; nil, message, code.
function M.find(id)
  local found, message, code = rows.orders(database(), { id })
  if not found then
    return nil, message, code
  end
  return found[id] or false
end

--- All events of an order, as they were written.
function M.events(id)
  return database():query(
    "SELECT body FROM order_events WHERE order_id = ? ORDER BY sequence", id)
end

--- Orders in a state, the oldest first.
function M.in_state(state, limit)
  return database():query([[SELECT id, user_id, total, currency, risk FROM orders WHERE state = ?
    ORDER BY created_ms LIMIT ?]], state, limit)
end

--- Sets how many of a food there are.
function M.set_stock(food, available)
  return database():exec([[INSERT INTO stock (food_id, available) VALUES (?, ?)
    ON CONFLICT (food_id) DO UPDATE SET available = excluded.available]], food, available)
end

return M
