--- The figures of all orders: revenue in minor units by currency and day, counts by type, and
--- whether the events of each order came in their sequence. An event counts once, however often it
--- comes: its order's row says up to where it was counted, in the same transaction.
local events = require "orders.events"
local http = require "sipeat.http"
local json = require "sipeat.json"
local settings = require "orders.settings"
local sipeat = require "sipeat"
local sql = require "sipeat.sql"
local together = require "orders.together"

local M = {}

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS progress (
  order_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, gaps INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS strangers (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS figures (
  day TEXT NOT NULL, name TEXT NOT NULL, currency TEXT NOT NULL, value INTEGER NOT NULL,
  PRIMARY KEY (day, name, currency)
) WITHOUT ROWID;
]]

local db

local function database()
  if not db then
    local opened, message = sql.open(settings.database("FIGURES_DB", "figures.db"), {
      busy_timeout = "30s",
    })
    local ok, why
    if opened then
      ok, why = opened:script(SCHEMA)
    end
    if not ok then
      error("figures: " .. (why or message), 0)
    end
    db = opened
  end
  return db
end

-- The figures that an event adds to: { name, currency, value }.
local function counted(item)
  local list = { { item.type, "", 1 } }
  if item.status then
    list[2] = { "payments_" .. item.status, item.currency, 1 }
    list[3] = { "amount_" .. item.status, item.currency, item.amount }
  end
  return list
end

-- Which of the items have not been counted; notes them in `world`.
local function fresh_of(world, items)
  local fresh = {}
  for _, item in ipairs(items) do
    local row = world.progress[item.order_id]
    if not item.sequence then
      if not world.strangers[item.id] then
        world.strangers[item.id], fresh[#fresh + 1] = "new", item
      end
    elseif not row or item.sequence > row.sequence then
      local last = row and row.sequence or 0
      world.progress[item.order_id] = {
        order_id = item.order_id, sequence = item.sequence, changed = true,
        gaps = (row and row.gaps or 0) + (item.sequence - last - 1),
      }
      fresh[#fresh + 1] = item
    else
      world.repeated = world.repeated + 1
    end
  end
  return fresh
end

local function read(tx, items)
  local ids, strange = {}, {}
  for _, item in ipairs(items) do
    if item.sequence then
      ids[item.order_id] = true
    else
      strange[item.id] = true
    end
  end
  local progress, message, code = tx:query([[SELECT order_id, sequence, gaps FROM progress
    WHERE order_id IN (SELECT value FROM json_each(?))]],
    json.encode(json.array(sipeat.opts.names(ids))))
  local seen
  if progress then
    seen, message, code = tx:query([[SELECT event_id FROM strangers
      WHERE event_id IN (SELECT value FROM json_each(?))]],
      json.encode(json.array(sipeat.opts.names(strange))))
  end
  if not seen then
    return nil, message, code
  end
  local world = { progress = {}, strangers = {}, repeated = 0 }
  for _, row in ipairs(progress) do
    world.progress[row.order_id] = row
  end
  for _, row in ipairs(seen) do
    world.strangers[row.event_id] = "old"
  end
  return world
end

local function sums_of(world, fresh)
  local sums, list = {}, json.array {}
  local function add(day, name, currency, value)
    local key = ("%s %s %s"):format(day, name, currency)
    if not sums[key] then
      sums[key] = { day = day, name = name, currency = currency, value = 0 }
      list[#list + 1] = sums[key]
    end
    sums[key].value = sums[key].value + value
  end
  for _, item in ipairs(fresh) do
    for _, figure in ipairs(counted(item)) do
      add(item.day, figure[1], figure[2], figure[3])
    end
  end
  if world.repeated > 0 then
    add("", "repeated", "", world.repeated)
  end
  return list
end

local WRITE = {
  progress = [[INSERT INTO progress (order_id, sequence, gaps)
    SELECT json_extract(value, '$.order_id'), json_extract(value, '$.sequence'),
      json_extract(value, '$.gaps') FROM json_each(?) WHERE true
    ON CONFLICT (order_id) DO UPDATE SET sequence = excluded.sequence, gaps = excluded.gaps]],
  strangers = [[INSERT INTO strangers (event_id) SELECT value FROM json_each(?) WHERE true
    ON CONFLICT (event_id) DO NOTHING]],
  figures = [[INSERT INTO figures (day, name, currency, value)
    SELECT json_extract(value, '$.day'), json_extract(value, '$.name'),
      json_extract(value, '$.currency'), json_extract(value, '$.value')
    FROM json_each(?) WHERE true
    ON CONFLICT (day, name, currency) DO UPDATE SET value = value + excluded.value]],
}

local function write(tx, world, fresh)
  local changed, strange = json.array {}, json.array {}
  for _, row in pairs(world.progress) do
    changed[#changed + 1] = row.changed and row or nil
  end
  for id, how in pairs(world.strangers) do
    strange[#strange + 1] = how == "new" and id or nil
  end
  local lists = { progress = changed, strangers = strange, figures = sums_of(world, fresh) }
  for name, list in pairs(lists) do
    if list[1] then
      local ok, message, code = tx:exec(WRITE[name], json.encode(list))
      if not ok then
        return nil, message, code
      end
    end
  end
  return true
end

local counts = together.new(function(items)
  return database():transaction(function(tx)
    local world, message, code = read(tx, items)
    if not world then
      return nil, message, code
    end
    local ok
    ok, message, code = write(tx, world, fresh_of(world, items))
    if not ok then
      return nil, message, code
    end
    return items
  end)
end, 256)

local function count(event)
  local data = event.data
  local sequence = data.sequence or event.type == events.CREATED and 1 or nil
  local ok, problem = counts:add {
    id = event.id, type = event.type, order_id = events.order_id(event), sequence = sequence,
    day = (event.time or ""):sub(1, 10), status = data.status, amount = data.amountMinor,
    currency = data.currency or "",
  }
  return ok and "counted", problem
end

-- One number of each currency, of one day or of all.
local function revenue_of(day)
  local rows, message, code = database():query([[SELECT currency,
    SUM(CASE name WHEN 'amount_captured' THEN value ELSE 0 END) AS captured,
    SUM(CASE name WHEN 'amount_refunded' THEN value ELSE 0 END) AS refunded
    FROM figures WHERE name IN ('amount_captured', 'amount_refunded') AND (? IS NULL OR day = ?)
    GROUP BY currency ORDER BY currency]], day, day)
  if not rows then
    return nil, message, code
  end
  for _, row in ipairs(rows) do
    row.revenue = row.captured - row.refunded
  end
  return json.array(rows)
end

local function show(req)
  local revenue, message, code = revenue_of(req.query.day)
  local counted_rows, gaps
  if revenue then
    counted_rows, message, code = database():query(
      "SELECT name, SUM(value) AS value FROM figures WHERE name NOT LIKE 'amount_%' GROUP BY name")
  end
  if counted_rows then
    gaps, message, code = database():query(
      "SELECT COUNT(*) AS orders, TOTAL(gaps) AS gaps FROM progress")
  end
  if not gaps then
    return http.problem(503, message, { code = code })
  end
  local by_name = {}
  for _, row in ipairs(counted_rows) do
    by_name[row.name] = row.value
  end
  return { json = {
    revenue_minor = revenue, counts = by_name, orders = gaps[1].orders,
    missing_events = math.tointeger(gaps[1].gaps),
  } }
end

--- Declares the flow and the route. `alone`: the group may be named by the environment.
function M.start(alone)
  sipeat.flow {
    topic = settings.topic(), group = settings.group("analytics-service", alone),
    concurrency = 256, timeout = "30s",
    on = {
      [events.PaymentProcessed] = count,
      [events.Created] = count, [events.StateChanged] = count, [events.Cancelled] = count,
      [events.ShipperAssigned] = count, [events.Delivered] = count,
    },
  }
  http.route("GET /api/v1/figures", show)
end

return M
