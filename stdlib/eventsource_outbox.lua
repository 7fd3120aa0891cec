--- The outbox of an event store: a record is written in the transaction of the event that it tells
-- of, so that both are there or neither, and sent to Kafka from there.
--
-- At least once: what was acknowledged is deleted a moment later, and a crash in between sends it
-- again, with the same header sipeat-outbox-id. In order for each key of a topic: the next record
-- of a key leaves when the one before it was acknowledged, also when that is refused for good. Of
-- several processes on one database one sends.
local background = require "sipeat.background"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local lease = require "sipeat.lease"
local log = require "sipeat.log".new "eventsource"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local NEW = opts.spec("sipeat.eventsource_outbox.new", {
  db = { "table", required = true },
  name = { "string", default = "outbox" },
  postgres = { "boolean", default = false },
})

local ADD = opts.spec("sipeat.eventsource_outbox.add", {
  topic = { "string", required = true },
  key = { "string" },
  value = { "string" },
  headers = { "table" },
})

local AT_ONCE = 1000 -- rows looked at in one go
local LEASE_MS = 15000
local IDLE = "1s" -- until it looks again without being woken: others write, too
local PAUSES = { backoff = { "200ms", "30s" } }

-- What a broker will never take: it waits, and holds its key, until somebody decides.
local FOR_GOOD = {
  MSG_SIZE_TOO_LARGE = true, TOPIC_EXCEPTION = true, INVALID_MSG = true, INVALID_RECORD = true,
  TOPIC_AUTHORIZATION_FAILED = true, _INVALID_ARG = true,
}

local function schema(name, postgres)
  local id = postgres and "BIGSERIAL PRIMARY KEY" or "INTEGER PRIMARY KEY AUTOINCREMENT"
  return ([[
CREATE TABLE IF NOT EXISTS NAME (
  id IDTYPE,
  topic TEXT NOT NULL,
  record_key TEXT,
  value TEXT,
  headers TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  refused_code TEXT,
  refused_message TEXT
);
CREATE INDEX IF NOT EXISTS NAME_refused ON NAME (topic, record_key)
  WHERE refused_code IS NOT NULL;
CREATE TABLE IF NOT EXISTS NAME_relay (
  one BIGINT PRIMARY KEY, owner TEXT, until_ms BIGINT NOT NULL);
INSERT INTO NAME_relay (one, until_ms) VALUES (1, 0) ON CONFLICT DO NOTHING;
]]):gsub("NAME", name):gsub("IDTYPE", id)
end

-- What may leave: not what is behind a refused one of its key.
local WAITING = [[SELECT id, topic, record_key, value, headers FROM NAME w
  WHERE refused_code IS NULL AND NOT EXISTS (SELECT 1 FROM NAME r WHERE r.refused_code IS NOT NULL
    AND r.topic = w.topic AND r.record_key = w.record_key)
  ORDER BY id LIMIT ?]]

local Outbox = {}
Outbox.__index = Outbox

--- Puts a record into the outbox, in a transaction of the script's.
function Outbox:add(tx, record)
  local o = ADD(record)
  local headers, message, code = json.encode(o.headers or {})
  if not headers then
    return nil, message, code
  end
  local changes
  changes, message, code = tx:exec(("INSERT INTO %s (topic, record_key, value, headers, at_ms) "
    .. "VALUES (?, ?, ?, ?, ?)"):format(self.name), o.topic, o.key, o.value, headers, sys.now_ms())
  if not changes then
    return nil, message, code
  end
  return true
end

--- Says that something was committed: it is sent at once, and not within a second.
function Outbox:wake()
  if self.bell:len() == 0 then
    self.bell:send(true, "1ms")
  end
end

--- { waiting, refused, oldest_ms }
function Outbox:status()
  local rows, message, code = self.db:query(([[SELECT count(*) AS n, min(at_ms) AS oldest,
    coalesce(sum(CASE WHEN refused_code IS NOT NULL THEN 1 ELSE 0 END), 0) AS refused
    FROM %s]]):format(self.name))
  if not rows then
    return nil, message, code
  end
  local row = rows[1]
  return {
    waiting = row.n - row.refused, refused = row.refused,
    oldest_ms = row.oldest and math.max(0, sys.now_ms() - row.oldest) or 0,
  }
end

--- Ends its relay: the database may be closed then.
function Outbox:close()
  local job = self.job
  if job then
    job:stop()
    if job.task then
      job.task:kill()
    end
    job:join()
  end
end

-- --- the relay ---

local function take_lease(self)
  local rows, message, code = self.db:query(("SELECT owner, until_ms FROM %s_relay"):format(
    self.name))
  if not rows then
    return nil, message, code
  end
  local row, now = rows[1], sys.now_ms()
  local other = row.owner and row.owner ~= self.me and row.until_ms > now
    and not lease.is_gone(row.owner)
  if other then
    return false
  end
  local changes
  changes, message, code = self.db:exec(("UPDATE %s_relay SET owner = ?, until_ms = ? "
    .. "WHERE until_ms = ?"):format(self.name), self.me, math.max(now + LEASE_MS, row.until_ms + 1),
    row.until_ms)
  if not changes then
    return nil, message, code
  end
  return changes == 1
end

-- The first row of each key.
local function pick(rows)
  local picked, taken = {}, {}
  for _, row in ipairs(rows) do
    local key = row.record_key and row.topic .. "\0" .. row.record_key
    if not (key and taken[key]) then
      picked[#picked + 1] = row
    end
    if key then
      taken[key] = true
    end
  end
  return picked
end

local function records_of(self, rows)
  local records = {}
  for i, row in ipairs(rows) do
    local headers = json.decode(row.headers) or {}
    headers["sipeat-outbox-id"] = ("%s-%d"):format(self.name, row.id)
    records[i] = { topic = row.topic, key = row.record_key, value = row.value, headers = headers }
  end
  return records
end

-- Deletes what was acknowledged, and notes what was refused for good. The first failure that may
-- pass, or nil.
local function settle(self, rows, reports)
  local failed
  local ok, message, code = self.db:transaction(function(tx)
    for i, row in ipairs(rows) do
      local report, done, why, reason = reports[i], true, nil, nil
      if not report.code then
        done, why, reason = tx:exec(("DELETE FROM %s WHERE id = ?"):format(self.name), row.id)
      elseif FOR_GOOD[report.code] then
        log:error(("record %d for %s is refused, and holds its key: %s"):format(row.id, row.topic,
          report.message), { code = report.code })
        done, why, reason = tx:exec(("UPDATE %s SET refused_code = ?, refused_message = ? "
          .. "WHERE id = ?"):format(self.name), report.code, report.message, row.id)
      else
        failed = failed or report
      end
      if not done then
        return nil, why, reason
      end
    end
    return true
  end)
  if not ok then
    return { message = message, code = code }
  end
  return failed
end

-- Sends what is there. How many rows were looked at; or nil, message, code.
local function send(self)
  local rows, message, code = self.db:query((WAITING:gsub("NAME", self.name)), AT_ONCE)
  if not rows then
    return nil, message, code
  end
  local picked = pick(rows)
  if #picked == 0 then
    return 0
  end
  local reports
  reports, message, code = kafka.producer():send_many(records_of(self, picked))
  if not reports then
    return nil, message, code
  end
  local failed = settle(self, picked, reports)
  if failed then
    return nil, failed.message, failed.code
  end
  return #picked
end

local function relay(self, job)
  local pause, failures = opts.backoff(PAUSES), 0
  while not job.stopped do
    local ours, message, code = take_lease(self)
    local sent = ours and 0
    if ours then
      sent, message, code = send(self)
    end
    if ours == nil or sent == nil then
      failures = failures + 1
      if code ~= "ECANCELED" and failures % 10 == 1 then
        log:warn(("%s: not sent, tried again: %s"):format(self.name, tostring(message)),
          { code = code })
      end
      job:rest(pause(math.min(failures, 10)))
    else
      failures = 0
      if sent == false or sent == 0 then
        self.bell:recv(IDLE)
      end
    end
  end
end

--- An outbox in the table `name` of a database, which is made when it is not there, and its relay.
--- One for each database and name in a program; of several workers the first one sends.
function M.new(options)
  local o = NEW(options)
  if not o.name:find "^[%a_][%w_]*$" then
    error(("eventsource: outbox: letters, digits and \"_\", got %s"):format(opts.show(o.name)), 2)
  end
  local ok, message, code = o.db:script(schema(o.name, o.postgres))
  if not ok then
    return nil, message, code
  end
  local self = setmetatable({
    db = o.db, name = o.name, me = lease.me(), bell = task.channel(1),
  }, Outbox)
  if sys.worker == 1 then
    self.job = background.run("outbox " .. o.name, function(job)
      relay(self, job)
    end)
  end
  return self
end

return M
