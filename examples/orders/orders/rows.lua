--- The statements of the order service: each reads or writes all rows of a batch at once, which go
--- in and come out as JSON.
local json = require "sipeat.json"
local risk = require "orders.risk"

local M = {}

local COLUMNS = {
  "id", "user_id", "restaurant_id", "state", "currency", "total", "paid", "refunded", "declined",
  "payment_id", "payment_method", "shipper_id", "reason", "items", "risk", "reserved", "sequence",
  "handled", "created_ms",
}

local function list_of(columns, text)
  local out = {}
  for i, column in ipairs(columns) do
    out[i] = text:format(column, column)
  end
  return table.concat(out, ", ")
end

local function insert(name, columns)
  return ("INSERT INTO %s (%s) SELECT %s FROM json_each(?) WHERE true"):format(
    name, list_of(columns, "%s"), list_of(columns, "json_extract(value, '$.%s')"))
end

local READ = ("SELECT %s FROM orders WHERE id IN (SELECT value FROM json_each(?))"):format(
  list_of(COLUMNS, "%s"))
local WRITE = insert("orders", COLUMNS) .. " ON CONFLICT (id) DO UPDATE SET "
  .. list_of({ table.unpack(COLUMNS, 2) }, "%s = excluded.%s")
local ADD_EVENTS = insert("order_events", { "order_id", "sequence", "cause", "body" })
local ADD_UNSENT = insert("unsent", { "order_id", "sequence", "at_ms" })
local READ_STOCK =
  "SELECT food_id, available FROM stock WHERE food_id IN (SELECT value FROM json_each(?))"
local WRITE_STOCK = insert("stock", { "food_id", "available" })
  .. " ON CONFLICT (food_id) DO UPDATE SET available = excluded.available"

-- What risk.assess wants to know of the user of an order, at the time of that order.
local HISTORY = ([[
SELECT o.id,
  (SELECT COUNT(*) FROM (SELECT 1 FROM orders p WHERE p.user_id = o.user_id AND p.created_ms
    BETWEEN o.created_ms - %d AND o.created_ms LIMIT 100)) AS recent,
  (SELECT COUNT(DISTINCT restaurant_id) FROM (SELECT restaurant_id FROM orders p
    WHERE p.user_id = o.user_id AND p.created_ms BETWEEN o.created_ms - %d AND o.created_ms
    LIMIT 100)) AS restaurants,
  (SELECT COUNT(*) FROM (SELECT 1 FROM orders p WHERE p.user_id = o.user_id AND p.declined > 0
    AND p.created_ms BETWEEN o.created_ms - %d AND o.created_ms LIMIT 100)) AS declined,
  (SELECT CAST(AVG(total) AS INTEGER) FROM (SELECT total FROM orders p
    WHERE p.user_id = o.user_id AND p.state = 'delivered' AND p.created_ms < o.created_ms
    ORDER BY p.created_ms DESC LIMIT 10)) AS average,
  (SELECT COUNT(*) FROM (SELECT 1 FROM orders p WHERE p.user_id = o.user_id
    AND p.state = 'delivered' AND p.created_ms < o.created_ms LIMIT 10)) AS delivered
FROM orders o WHERE o.id IN (SELECT value FROM json_each(?))]]):format(
  risk.WINDOW_MS, risk.WINDOW_MS, risk.DECLINED_WINDOW_MS)

local function by(rows, column)
  local map = {}
  for _, row in ipairs(rows) do
    map[row[column]] = row
  end
  return map
end

--- Orders by id; items and risk as tables.
function M.orders(runner, ids)
  local found, message, code = runner:query(READ, json.encode(json.array(ids)))
  if not found then
    return nil, message, code
  end
  for _, order in ipairs(found) do
    order.items, order.risk = json.decode(order.items), order.risk and json.decode(order.risk)
  end
  return by(found, "id")
end

--- Adds the foods of those orders to a set.
function M.foods_of(orders, foods)
  for _, order in pairs(orders) do
    for _, item in ipairs(order.items) do
      foods[item.foodId] = true
    end
  end
end

--- How many there are of each of those foods that is counted.
function M.stock(tx, foods)
  local found, message, code = tx:query(READ_STOCK, json.encode(json.array(foods)))
  if not found then
    return nil, message, code
  end
  local stock = {}
  for _, row in ipairs(found) do
    stock[row.food_id] = row.available
  end
  return stock
end

--- Counts foods that are not counted yet.
function M.first_stock(db, list)
  return db:exec(insert("stock", { "food_id", "available" })
    .. " ON CONFLICT (food_id) DO NOTHING", json.encode(json.array(list)))
end

--- What risk.assess wants to know, by order.
function M.history(tx, ids)
  if not ids[1] then
    return {}
  end
  local found, message, code = tx:query(HISTORY, json.encode(json.array(ids)))
  if not found then
    return nil, message, code
  end
  return by(found, "id")
end

local function flat(order)
  local row = {}
  for _, column in ipairs(COLUMNS) do
    row[column] = order[column]
  end
  row.items = json.encode(json.array(order.items))
  row.risk = order.risk and json.encode(order.risk)
  return row
end

local function write_list(tx, statement, list)
  if not list[1] then
    return true
  end
  return tx:exec(statement, json.encode(list))
end

--- Writes what a batch of decisions has changed.
function M.write(tx, world)
  local orders, stock = {}, {}
  for _, order in pairs(world.touched) do
    orders[#orders + 1] = flat(order)
  end
  for food in pairs(world.touched_stock) do
    stock[#stock + 1] = { food_id = food, available = world.stock[food] }
  end
  for _, part in ipairs {
    { WRITE, orders }, { ADD_EVENTS, world.events }, { ADD_UNSENT, world.unsent },
    { WRITE_STOCK, stock },
  } do
    local ok, message, code = write_list(tx, part[1], part[2])
    if not ok then
      return nil, message, code
    end
  end
  return true
end

local EARLIER = [[
SELECT w.key AS number, e.order_id, e.sequence, e.body FROM json_each(?) w
JOIN order_events e ON e.order_id = json_extract(w.value, '$.id')
  AND e.sequence > json_extract(w.value, '$.after')
  AND e.sequence < json_extract(w.value, '$.before')
WHERE CASE json_extract(w.value, '$.kind')
  WHEN 'all' THEN true
  WHEN 'cause' THEN e.cause = json_extract(w.value, '$.cause')
  ELSE EXISTS (
    SELECT 1 FROM unsent u WHERE u.order_id = e.order_id AND u.sequence = e.sequence)
END ORDER BY w.key, e.sequence]]

--- Puts in front of the `events` of each result what is to be sent before them: `more`.
function M.add_earlier(tx, results)
  local wanted, whose = {}, {}
  for _, result in ipairs(results) do
    if result.more then
      wanted[#wanted + 1], whose[#whose + 1] = result.more, result
    end
  end
  if not wanted[1] then
    return true
  end
  local found, message, code = tx:query(EARLIER, json.encode(wanted))
  if not found then
    return nil, message, code
  end
  local lists = {}
  for _, row in ipairs(found) do
    local list = lists[row.number + 1] or {}
    lists[row.number + 1], list[#list + 1] = list, row
  end
  for number, list in pairs(lists) do
    local result = whose[number]
    result.events = table.move(result.events, 1, #result.events, #list + 1, list)
  end
  return true
end

--- Forgets that events of these orders may be missing in Kafka, up to a sequence each.
function M.forget_unsent(tx, items)
  return tx:exec([[DELETE FROM unsent WHERE (order_id, sequence) IN (
    SELECT u.order_id, u.sequence FROM json_each(?) w JOIN unsent u
    ON u.order_id = json_extract(w.value, '$.order_id')
    AND u.sequence <= json_extract(w.value, '$.sequence'))]], json.encode(items))
end

--- Events that a request has led to before that time and that are not known to be in Kafka.
function M.unsent(runner, before_ms, limit)
  return runner:query([[SELECT u.order_id, u.sequence, e.body FROM unsent u
    JOIN order_events e ON e.order_id = u.order_id AND e.sequence = u.sequence
    WHERE u.at_ms <= ? ORDER BY u.order_id, u.sequence LIMIT ?]], before_ms, limit)
end

return M
