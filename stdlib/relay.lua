--- Events that are published with what changed in a database, or not at all: their records are rows
--- of the same transaction, and a relay brings them to Kafka.
--
-- Each leaves at least once, with the event's id by which a repeat is known; those of one key leave
-- in the order of their rows, the next one when the one before is acknowledged. A row is deleted
-- then. What Kafka refuses for good stays in the table with the reason, and lets the others pass.
-- Of several programs on one PostgreSQL database one relays: it has a lease, which runs out when it
-- dies. A file of SQLite's is relayed by each process that says so; repeats do not hurt the order.
local background = require "sipeat.background"
local event = require "sipeat.event"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "relay"
local metrics = require "sipeat.metrics"
local opts = require "sipeat.opts"
local publish = require "sipeat.publish"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local NEW = opts.spec("sipeat.relay.new", {
  db = { "table", required = true },
  table = { "string", default = "outbox" },
  every = { "duration", default = "1s" },
  batch = { "integer", default = 500, min = 1, max = 10000 },
  lease = { "duration", default = "5s" },
})

-- What no later attempt changes: too large, or no record at all.
local REFUSED = {
  MSG_SIZE_TOO_LARGE = true, INVALID_MSG_SIZE = true, INVALID_MSG = true, INVALID_RECORD = true,
  TOPIC_EXCEPTION = true, _INVALID_ARG = true,
}

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS %s (
  id %s, event_id TEXT NOT NULL, topic TEXT NOT NULL, key TEXT, value TEXT NOT NULL,
  headers TEXT NOT NULL, added_ms BIGINT NOT NULL, refused TEXT);
CREATE TABLE IF NOT EXISTS %s_lease (
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, until_ms BIGINT NOT NULL);
]]
local NUMBER = {
  sqlite = "INTEGER PRIMARY KEY AUTOINCREMENT",
  postgresql = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}

local EVENTS = metrics.counter("sipeat_relay_events",
  "Events by what became of a try to send them.", { "name", "outcome" })
local running = {} -- relays that send

local Relay = {}
Relay.__index = Relay

-- Statements with the table's name.
local function statements(name)
  local made = {}
  for key, text in pairs {
    add = "INSERT INTO %s (event_id, topic, key, value, headers, added_ms)"
      .. " VALUES (?, ?, ?, ?, ?, ?)",
    read = "SELECT id, event_id, topic, key, value, headers FROM %s WHERE refused IS NULL"
      .. " ORDER BY id LIMIT ?",
    delete = "DELETE FROM %s WHERE id = ?",
    refuse = "UPDATE %s SET refused = ? WHERE id = ?",
    status = "SELECT count(*) AS waiting, min(added_ms) AS oldest_ms FROM %s WHERE refused IS NULL",
    refused = "SELECT count(*) AS refused FROM %s WHERE refused IS NOT NULL",
    lease = "INSERT INTO %s_lease VALUES ('relay', ?, ?) ON CONFLICT (name) DO UPDATE SET"
      .. " owner = excluded.owner, until_ms = excluded.until_ms"
      .. " WHERE %s_lease.until_ms < ? OR %s_lease.owner = excluded.owner",
  } do
    made[key] = text:gsub("%%s", name)
  end
  return made
end

--- Makes the tables, when they are missing, and begins to send, until this version of the script
--- ends. Of several workers the first one sends. true; or nil, message, code.
function Relay:start()
  local made, message, code = self.db:script(
    SCHEMA:format(self.table, NUMBER[self.db.system], self.table))
  if not made then
    return nil, message, code
  elseif sys.worker == 1 and not self.job then
    self.job = background.run("relay " .. self.table, function(job)
      running[self] = true
      repeat
        self:wake()
      until not job:rest(self.every)
      running[self] = nil
    end)
  end
  return true
end

--- Ends it; what is under way is still noted.
function Relay:stop()
  if self.job then
    self.job:stop()
  end
end

--- Puts an event into the table, as a part of a transaction. `kind`, `data` and `options` are
--- those of sipeat.publish. Its id; or nil, message, code.
function Relay:add(tx, kind, data, options)
  local ev, topic, mode = publish.make(kind, data, options)
  if not ev then
    return nil, topic, mode -- message and code
  end
  return self:put(tx, ev, topic, mode)
end

--- As add, of an event that is made.
function Relay:put(tx, ev, topic, mode)
  local value, headers, code = event.encode(ev, { mode = mode })
  if not value then
    return nil, headers, code
  end
  local list
  list, headers, code = json.encode(headers or json.empty_array)
  if not list then
    return nil, headers, code
  end
  local added, message
  added, message, code = tx:exec(self.sql.add, ev.id, topic, ev.key, value, list, sys.now_ms())
  if not added then
    return nil, message, code
  end
  return ev.id
end

-- Rows in rounds: each has one row of a key, and the rounds come one after the other.
local function rounds_of(rows)
  local rounds, depth = {}, {}
  for _, row in ipairs(rows) do
    local lane = row.topic .. "\0" .. (row.key or row.id)
    depth[lane] = (depth[lane] or 0) + 1
    local round = rounds[depth[lane]] or {}
    rounds[depth[lane]] = round
    round[#round + 1] = { row = row, lane = lane }
  end
  return rounds
end

local function record_of(row)
  local headers = json.decode(row.headers)
  return { topic = row.topic, key = row.key, value = row.value, headers = headers }
end

-- What Kafka said of a row: true when the next one of its key may go.
function Relay:settle(row, report)
  if not report.code then
    self.sent = self.sent + 1
    EVENTS:add(1, self.table, "sent")
    return self.db:exec(self.sql.delete, row.id)
  elseif not REFUSED[report.code] then
    EVENTS:add(1, self.table, "failed")
    log:warn(("event %s for %s waits: %s"):format(row.event_id, row.topic, report.message))
    return nil
  end
  EVENTS:add(1, self.table, "refused")
  log:error(("event %s for %s is refused for good, and stays in the table %s: %s"):format(
    row.event_id, row.topic, self.table, report.message))
  return self.db:exec(self.sql.refuse, report.code .. ": " .. report.message, row.id)
end

-- One round without the keys of which an earlier row still waits.
function Relay:send(round, held)
  local records, rows = {}, {}
  for _, one in ipairs(round) do
    if not held[one.lane] then
      records[#records + 1] = record_of(one.row)
      rows[#rows + 1] = one
    end
  end
  local reports = #records > 0 and kafka.producer():send_many(records) or {}
  for i, one in ipairs(rows) do
    if not reports[i] or not self:settle(one.row, reports[i]) then
      held[one.lane] = true
    end
  end
  return next(held) == nil
end

function Relay:has_lease()
  if self.db.system ~= "postgresql" then
    return true
  end
  local now = sys.now_ms()
  local mine, message = self.db:exec(self.sql.lease, self.owner, now + self.lease, now)
  if not mine then
    log:warn("no lease: " .. message)
  end
  return mine == 1
end

-- Sends what is there. Whether there may be more that can be sent now.
function Relay:pass()
  if not self:has_lease() then
    return false
  end
  local rows, message = self.db:query(self.sql.read, self.batch)
  if not rows then
    log:warn(("reading %s: %s"):format(self.table, message))
    return false
  end
  local held, free = {}, true
  for _, round in ipairs(rounds_of(rows)) do
    free = self:send(round, held) and free
  end
  return free and #rows == self.batch
end

--- Sends what waits, now; it is not waited for. Without it, `every` is how long an event may wait.
function Relay:wake()
  self.again = true
  if self.busy or not self.job or self.job.stopped then
    return
  end
  self.busy = true
  task.spawn(function()
    task.set_event_id ""
    local done <close> = setmetatable({}, { __close = function() self.busy = false end })
    while self.again and not self.job.stopped and done do
      self.again = false
      self.again = self:pass() or self.again
    end
  end)
end

--- How many events wait, since when the oldest one does, how many were refused, and how many were
--- sent since the start. Or nil, message, code.
function Relay:status()
  local waiting, message, code = self.db:query(self.sql.status)
  local refused
  if waiting then
    refused, message, code = self.db:query(self.sql.refused)
  end
  if not refused then
    return nil, message, code
  end
  local oldest = waiting[1].oldest_ms
  return {
    waiting = waiting[1].waiting, refused = refused[1].refused, sent = self.sent,
    oldest_ms = oldest and math.max(0, sys.now_ms() - oldest) or 0,
  }
end

--- What the tables of all relays that send have, by name, as status tells it; of two tables of one
--- name the larger figures.
function M.tables()
  local out = {}
  for one in pairs(running) do
    local status = one:status()
    local other = out[one.table] or status
    for key, n in pairs(status or {}) do
      status[key] = math.max(n, other[key])
    end
    out[one.table] = status or other
  end
  return out
end

--- A relay over a table of a database (sipeat.sql), which has not begun.
function M.new(options)
  local o = NEW(options)
  if not o.table:find "^[%a_][%w_]*$" then
    error(("relay.new: %q is no name of a table"):format(o.table), 2)
  end
  o.owner, o.sent, o.sql = sys.uuid(), 0, statements(o.table)
  return setmetatable(o, Relay)
end

return M
