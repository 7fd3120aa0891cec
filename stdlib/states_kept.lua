--- The states of things in a database: one row for each, and what it has been through.
--
-- A move is one transaction: the row is read, the machine is asked, and the row is changed with its
-- history. Two who move the same thing do so one after the other, and the second is told what is
-- there by then. A move with a key happens once: the same key again answers as the first time.
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local KEEP = opts.spec("sipeat.states.keep", {
  table = { "string", default = "states" },
})

local MOVE = opts.spec("sipeat.states.move", {
  context = { "any" },
  from = { "string" },
  key = { "string" },
  by = { "string" },
  note = { "string" },
  tx = { "table" },
})

local START = opts.spec("sipeat.states.start", {
  by = { "string" },
  note = { "string" },
  tx = { "table" },
})

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS %1$s (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, revision INTEGER NOT NULL, changed_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS %1$s_history (
  id TEXT NOT NULL, revision INTEGER NOT NULL, from_state TEXT, to_state TEXT NOT NULL,
  move_key TEXT, moved_by TEXT, note TEXT, at TEXT NOT NULL, PRIMARY KEY (id, revision)
);
CREATE UNIQUE INDEX IF NOT EXISTS %1$s_key ON %1$s_history (id, move_key);
]]

local Kept = { __name = "sipeat.states.kept" }
Kept.__index = Kept

local function check_id(id, level)
  if type(id) ~= "string" or id == "" or #id > 255 then
    error(("states: an id is a text of 1 to 255 bytes, got %s"):format(opts.show(id)), level + 1)
  end
end

--- Makes the tables of a machine when they are missing.
function M.open(machine, db, options)
  local o = KEEP(options)
  if not o.table:find "^[%l_][%l%d_]*$" then
    error(("states: keep: table: small letters, digits and \"_\", got %q"):format(o.table), 2)
  end
  local ok, message, code = db:script(SCHEMA:gsub("%%1%$s", o.table))
  if not ok then
    return nil, ("states %s: %s"):format(machine.name, message), code
  end
  return setmetatable({ machine = machine, db = db, name = o.table }, Kept)
end

-- f(tx) in the caller's transaction, or in one of its own.
local function within(self, tx, f)
  if tx then
    return f(tx)
  end
  return self.db:transaction(f)
end

local function sql_of(self, text)
  return (text:gsub("%$t", self.name))
end

-- The row of an id; nil when there is none; nil, message, code.
local function find(self, runner, id)
  local rows, message, code =
    runner:query(sql_of(self, "SELECT id, state, revision, changed_at FROM $t WHERE id = ?"), id)
  if not rows then
    return nil, message, code
  end
  return rows[1]
end

local function missing(self, id)
  return nil, ("%s %s: there is none"):format(self.machine.name, opts.show(id)), "NOT_FOUND"
end

local function note(self, tx, row, from, o)
  return tx:exec(sql_of(self, [[INSERT INTO $t_history
    (id, revision, from_state, to_state, move_key, moved_by, note, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)]]), row.id, row.revision, from, row.state,
    o.key, o.by, o.note, row.changed_at)
end

--- Puts a new thing into the initial state: its row. One that is there already stays as it is.
function Kept:start(id, options)
  local o = START(options)
  check_id(id, 2)
  return within(self, o.tx, function(tx)
    local row = {
      id = id, state = self.machine.initial, revision = 1, changed_at = sys.iso_time(),
    }
    local changed, message, code = tx:exec(sql_of(self, [[INSERT INTO $t (id, state, revision,
      changed_at) VALUES (?, ?, 1, ?) ON CONFLICT (id) DO NOTHING]]), id, row.state, row.changed_at)
    if changed == 0 then
      return find(self, tx, id)
    elseif changed then
      changed, message, code = note(self, tx, row, nil, o)
    end
    if not changed then
      return nil, message, code
    end
    return row
  end)
end

--- The row of a thing: { id, state, revision, changed_at }, or nil, message, "NOT_FOUND".
function Kept:get(id)
  check_id(id, 2)
  local row, message, code = find(self, self.db, id)
  if not row and not message then
    return missing(self, id)
  end
  return row, message, code
end

--- All that happened to a thing, oldest first: { revision, from_state, to_state, move_key,
--- moved_by, note, at }.
function Kept:history(id)
  check_id(id, 2)
  return self.db:query(sql_of(self, [[SELECT revision, from_state, to_state, move_key, moved_by,
    note, at FROM $t_history WHERE id = ? ORDER BY revision]]), id)
end

-- What a move with this key did before: its row as it was then; nil; or nil, message, code.
local function done_before(self, tx, id, to, key)
  local rows, message, code = tx:query(sql_of(self, [[SELECT revision, to_state, at FROM $t_history
    WHERE id = ? AND move_key = ?]]), id, key)
  if not rows or not rows[1] then
    return nil, message, code
  elseif rows[1].to_state ~= to then
    local text = "%s %s: the key %s was that of a move to %s, not to %s"
    return nil, text:format(self.machine.name, opts.show(id), opts.show(key), rows[1].to_state,
      opts.show(to)), "KEY_REUSED"
  end
  local row = rows[1]
  return { id = id, state = to, revision = row.revision, changed_at = row.at, again = true }
end

local function move(self, tx, id, to, o)
  local row, message, code = find(self, tx, id)
  if not row then
    if message then
      return nil, message, code
    end
    return missing(self, id)
  end
  if o.key then
    local before
    before, message, code = done_before(self, tx, id, to, o.key)
    if before or message then
      return before, message, code
    end
  end
  if o.from and o.from ~= row.state then
    local text = "%s %s: it is %s by now, and not %s any more"
    return nil, text:format(self.machine.name, opts.show(id), row.state, o.from), "STATE_MOVED", {
      machine = self.machine.name, from = row.state, to = to,
      allowed = self.machine:allowed(row.state),
    }
  end
  local ok, details
  ok, message, code, details = self.machine:check(row.state, to, o.context)
  if not ok then
    return nil, message, code, details
  end
  local next_row = {
    id = id, state = to, revision = row.revision + 1, changed_at = sys.iso_time(),
  }
  ok, message, code = tx:exec(sql_of(self, [[UPDATE $t SET state = ?, revision = ?, changed_at = ?
    WHERE id = ? AND revision = ?]]), to, next_row.revision, next_row.changed_at, id, row.revision)
  if ok == 0 then
    return nil, ("%s %s: moved by another"):format(self.machine.name, id), "STATE_MOVED"
  elseif ok then
    ok, message, code = note(self, tx, next_row, row.state, o)
  end
  if not ok then
    return nil, message, code
  end
  return next_row
end

--- Moves a thing to a state: its new row. nil, message, code and { machine, from, to, allowed }
--- when the machine refuses; "NOT_FOUND"; "STATE_MOVED" when it is not in the state `from` any
--- more; "KEY_REUSED"; or a code of sipeat.sql.
function Kept:move(id, to, options)
  local o = MOVE(options)
  check_id(id, 2)
  return within(self, o.tx, function(tx)
    return move(self, tx, id, to, o)
  end)
end

return M
