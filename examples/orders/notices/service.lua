--- What customers are told of their orders: once each, by mail where MAIL_TO_USERS says how to
--- reach them, and in any case as a row that the customer's page can show.
local env = require "sipeat.env"
local events = require "orders.events"
local http = require "sipeat.http"
local json = require "sipeat.json"
local mail = require "sipeat.mail"
local settings = require "orders.settings"
local sipeat = require "sipeat"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local together = require "orders.together"

local M = {}

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS notices (
  event_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, user_id TEXT, kind TEXT NOT NULL,
  text TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS notices_of_order ON notices (order_id);
]]

local TEXTS = {
  [events.CREATED] = function(data)
    local count = #data.items
    return ("We have your order of %d %s."):format(count, count == 1 and "dish" or "dishes")
  end,
  [events.STATE_CHANGED] = function(data)
    local told = { on_hold = "being checked", confirmed = "confirmed", preparing = "being cooked" }
    return ("Your order is %s."):format(told[data.to] or data.to)
  end,
  [events.PAYMENT_PROCESSED] = function(data)
    local told = { captured = "received", declined = "declined", refunded = "given back" }
    local amount = sipeat.money.new(data.amountMinor, data.currency)
    return ("Your payment of %s was %s."):format(sipeat.money.format(amount), told[data.status])
  end,
}

local db

local function database()
  if not db then
    local opened, message = sql.open(settings.database("NOTICES_DB", "notices.db"), {
      busy_timeout = "30s",
    })
    local ok, why
    if opened then
      ok, why = opened:script(SCHEMA)
    end
    if not ok then
      error("notices: " .. (why or message), 0)
    end
    db = opened
  end
  return db
end

local ADD = [[INSERT INTO notices (event_id, order_id, user_id, kind, text, at)
  SELECT json_extract(value, '$.event_id'), json_extract(value, '$.order_id'),
    json_extract(value, '$.user_id'), json_extract(value, '$.kind'),
    json_extract(value, '$.text'), json_extract(value, '$.at')
  FROM json_each(?) WHERE true ON CONFLICT (event_id) DO NOTHING]]

local rows = together.new(function(items)
  local ok, message, code = database():exec(ADD, json.encode(items))
  if not ok then
    return nil, message, code
  end
  return items
end, 256)

-- user-456 to user-456@example.org, with MAIL_TO_USERS=example.org. The same notice has the same
-- Message-ID, so one that is sent again after a crash is the same mail.
local function send(notice)
  local domain = env.get "MAIL_TO_USERS"
  if not domain or not notice.user_id then
    return true
  end
  return mail.send {
    to = notice.user_id .. "@" .. domain, subject = "Your order " .. notice.order_id,
    text = notice.text, message_id = notice.event_id .. "@orders",
  }
end

local function notify(event)
  local notice = {
    event_id = event.id, order_id = events.order_id(event), user_id = event.attributes.userId,
    kind = event.type, text = TEXTS[event.type](event.data), at = event.time or sys.iso_time(),
  }
  local ok, message, code = send(notice)
  if ok then
    ok, message = rows:add(notice)
  end
  if not ok then
    return nil, message, code
  end
  return notice.text
end

local function list(req)
  local found, message, code = database():query(
    "SELECT kind, text, at FROM notices WHERE order_id = ? ORDER BY at, rowid", req.params.id)
  if not found then
    return http.problem(503, message, { code = code })
  end
  return { json = { orderId = req.params.id, notices = json.array(found) } }
end

--- Declares the flow and the route. `alone`: the group may be named by the environment.
function M.start(alone)
  sipeat.flow {
    topic = settings.topic(), group = settings.group("notification-service", alone),
    concurrency = 256, timeout = "30s",
    on = {
      [events.Created] = notify,
      [events.StateChanged] = notify,
      [events.PaymentProcessed] = notify,
      ["order.*"] = function() return "nobody is told of this" end,
    },
  }
  http.route("GET /api/v1/notices/:id", list)
end

return M
