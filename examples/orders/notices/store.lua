--- The database of the notification service: how users want to be told, and what they were told.
local json = require "sipeat.json"
local settings = require "orders.settings"
local sql = require "sipeat.sql"
local together = require "orders.together"

local M = {}

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS contacts (
  user_id TEXT PRIMARY KEY, email TEXT, phone TEXT, push_token TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notices (
  event_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, user_id TEXT, kind TEXT NOT NULL,
  text TEXT NOT NULL, channels TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS notices_of_order ON notices (order_id);
]]

local ADD = [[INSERT INTO notices (event_id, order_id, user_id, kind, text, channels, at)
  SELECT json_extract(value, '$.event_id'), json_extract(value, '$.order_id'),
    json_extract(value, '$.user_id'), json_extract(value, '$.kind'),
    json_extract(value, '$.text'), json_extract(value, '$.channels'), json_extract(value, '$.at')
  FROM json_each(?) WHERE true ON CONFLICT (event_id) DO NOTHING]]

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

local rows = together.new(function(items)
  local ok, message, code = database():exec(ADD, json.encode(items))
  if not ok then
    return nil, message, code
  end
  return items
end, 256)

--- Keeps what a user was told, once for each event.
function M.add(notice)
  return rows:add(notice)
end

--- What users were told of an order.
function M.list(order_id)
  return database():query([[SELECT kind, text, channels, at FROM notices WHERE order_id = ?
    ORDER BY at, rowid]], order_id)
end

--- How to reach a user: { email, phone, push_token }, each where it is known.
function M.contact(user_id)
  local found, message, code = database():query(
    "SELECT email, phone, push_token FROM contacts WHERE user_id = ?", user_id)
  if not found then
    return nil, message, code
  end
  return found[1] or {}
end

--- Sets how to reach a user.
function M.set_contact(user_id, contact)
  return database():exec([[INSERT INTO contacts (user_id, email, phone, push_token)
    VALUES (?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET email = excluded.email,
    phone = excluded.phone, push_token = excluded.push_token]],
    user_id, contact.email, contact.phone, contact.pushToken)
end

return M
