--- The tables of an event store: events, snapshots, commands that were executed.
local json = require "sipeat.json"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"

local M = {}

M.PAGE = 1000 -- events read at once

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS eventsource_events (
  stream TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  version TEXT NOT NULL,
  source TEXT NOT NULL,
  time TEXT NOT NULL,
  data TEXT NOT NULL,                -- JSON, as on the wire
  PRIMARY KEY (stream, sequence)
);
CREATE TABLE IF NOT EXISTS eventsource_snapshots (
  stream TEXT PRIMARY KEY,
  sequence BIGINT NOT NULL,
  version BIGINT NOT NULL,           -- of the state's shape
  state TEXT NOT NULL                -- JSON
);
CREATE TABLE IF NOT EXISTS eventsource_commands (
  id TEXT PRIMARY KEY,
  stream TEXT NOT NULL,
  command TEXT NOT NULL,
  version BIGINT NOT NULL,           -- of the stream behind it
  at_ms BIGINT NOT NULL
);
]]

local Rows = {}
Rows.__index = Rows

function M.new(db)
  local ok, message, code = db:script(SCHEMA)
  if not ok then
    return nil, message, code
  end
  return setmetatable({ db = db }, Rows)
end

--- { state, sequence, version }, or false when there is none; nil, message, code.
function Rows:snapshot(stream)
  local rows, message, code = self.db:query(
    "SELECT sequence, version, state FROM eventsource_snapshots WHERE stream = ?", stream)
  if not rows then
    return nil, message, code
  elseif not rows[1] then
    return false
  end
  local state
  state, message, code = json.decode(rows[1].state)
  if state == nil then
    return nil, ("snapshot of %s: %s"):format(stream, message), code
  end
  rows[1].state = state
  return rows[1]
end

--- Events of a stream behind that number, at most PAGE, with their data decoded.
function Rows:events(stream, after)
  local rows, message, code = self.db:query([[SELECT * FROM eventsource_events
    WHERE stream = ? AND sequence > ? ORDER BY sequence LIMIT ?]], stream, after, M.PAGE)
  if not rows then
    return nil, message, code
  end
  for _, row in ipairs(rows) do
    row.data, message, code = json.decode(row.data)
    if message then
      return nil, ("%s[%d]: %s"):format(stream, row.sequence, message), code
    end
  end
  return rows
end

--- What a command of that id has done before: { stream, version, repeated }, or nothing. nil,
--- message, "COMMAND_MISMATCH" when it was another one.
function Rows:executed(id, stream, command)
  if not id then
    return nil
  end
  local rows, message, code = self.db:query(
    "SELECT stream, command, version FROM eventsource_commands WHERE id = ?", id)
  if not rows then
    return nil, message, code
  end
  local row = rows[1]
  if not row then
    return nil
  elseif row.stream ~= stream or row.command ~= command then
    return nil, ("the command id %s belongs to %s of %s"):format(id, row.command, row.stream),
      "COMMAND_MISMATCH"
  end
  return { stream = stream, version = row.version, repeated = true }
end

local function insert_command(tx, stream, version, o)
  local ok, message, code = tx:exec("INSERT INTO eventsource_commands VALUES (?, ?, ?, ?, ?)",
    o.command_id, stream, o.command, version, sys.now_ms())
  if not ok and sql.is_constraint(code) then
    return nil, message, "REPEATED"
  end
  return ok, message, code
end

local function insert_event(tx, ev, o)
  local data = ev.data
  if ev.definition then
    data = ev.definition:to_wire(data)
  end
  local text, message, code = json.encode(data == nil and json.null or data)
  if not text then
    return nil, message, code
  end
  local ok
  ok, message, code = tx:exec("INSERT INTO eventsource_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    ev.stream, ev.sequence, ev.id, ev.type, ev.version, ev.source, ev.time, text)
  if not ok then
    local other = sql.is_constraint(code)
    return nil, other and ("%s has a version %d already"):format(ev.stream, ev.sequence) or message,
      other and "CONFLICT" or code
  elseif not o.topic then
    return true
  end
  return o.relay:put(tx, ev, o.topic, o.mode)
end

-- One of a newer version stays.
local function put_snapshot(tx, stream, version, snapshot)
  local state, message, code = json.encode(snapshot.state)
  if not state then
    return nil, ("snapshot of %s: %s"):format(stream, message), code
  end
  return tx:exec([[INSERT INTO eventsource_snapshots VALUES (?, ?, ?, ?)
    ON CONFLICT (stream) DO UPDATE SET sequence = excluded.sequence, version = excluded.version,
      state = excluded.state WHERE excluded.version >= eventsource_snapshots.version]], stream,
    version, snapshot.version, state)
end

--- Puts events behind the version of their stream. `o`: command, command_id, snapshot, topic, mode,
--- relay. true; or nil, message, code: "CONFLICT" when the stream has gone on, "REPEATED" when the
--- command was executed meanwhile.
function Rows:append(stream, version, list, o)
  return self.db:transaction(function(tx)
    local ok, message, code = true, nil, nil
    if o.command_id then
      ok, message, code = insert_command(tx, stream, version + #list, o)
    end
    for _, ev in ipairs(list) do
      if ok then
        ok, message, code = insert_event(tx, ev, o)
      end
    end
    if ok and o.snapshot then
      ok, message, code = put_snapshot(tx, stream, version + #list, o.snapshot)
    end
    if not ok then
      return nil, message, code
    end
    return true
  end)
end

return M
