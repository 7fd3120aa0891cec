--- Where the values of a table are: in memory, or in a file of SQLite's. A store has `bytes`,
--- `positions` ({ [partition] = next offset }) and `place`.
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"

local M = {}

local ENTRY_BYTES = 100 -- of a key and a value in a table of Lua's, besides their own
local PAGE = 500

-- --- memory ---

local Memory = { place = "memory" }
Memory.__index = Memory

function M.memory()
  return setmetatable({ values = {}, bytes = 0, keys = 0, positions = {} }, Memory)
end

function Memory.open()
  return true
end

function Memory:get(key)
  return self.values[key]
end

function Memory:count()
  return self.keys
end

function Memory:each()
  local keys, n = {}, 0
  for key in pairs(self.values) do
    keys[#keys + 1] = key
  end
  return function()
    repeat
      n = n + 1
    until keys[n] == nil or self.values[keys[n]] ~= nil
    return keys[n], keys[n] and self.values[keys[n]]
  end
end

local function size_of(key, value)
  return value and #key + #value + ENTRY_BYTES or 0
end

function Memory:apply(changes, positions)
  for key, value in pairs(changes) do
    local before = self.values[key]
    self.bytes = self.bytes + size_of(key, value) - size_of(key, before)
    self.keys = self.keys + (value and 1 or 0) - (before and 1 or 0)
    self.values[key] = value or nil
  end
  for partition, at in pairs(positions) do
    self.positions[partition] = at
  end
  return true
end

function Memory:clear()
  self.values, self.bytes, self.keys, self.positions = {}, 0, 0, {}
  return true
end

function Memory.close()
end

-- --- a file ---

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS sipeat_table (
  topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (topic, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sipeat_table_positions (
  topic TEXT NOT NULL, partition BIGINT NOT NULL, next_offset BIGINT NOT NULL,
  at_ms BIGINT NOT NULL, PRIMARY KEY (topic, partition)
);
]]

local File = { place = "file" }
File.__index = File

--- A store in that file, which is opened when it is first needed.
function M.file(path, topic)
  return setmetatable({ path = path, topic = topic, bytes = 0, positions = {} }, File)
end

local function connect(self)
  if self.db then
    return self.db
  end
  local db, message, code = sql.open(self.path, { private = true })
  local ok = db
  if db then
    ok, message, code = db:script(SCHEMA)
  end
  if not ok then
    return nil, message, code
  end
  self.db = self.db or db
  return self.db
end

--- Opens it, and forgets what is too old to go on with: deletions may have been missed.
function File:open(within_ms)
  local db, message, code = connect(self)
  local rows
  if db then
    rows, message, code = db:query([[SELECT partition, next_offset, at_ms
      FROM sipeat_table_positions WHERE topic = ?]], self.topic)
  end
  if not rows then
    return nil, message, code
  end
  self.positions = {}
  for _, row in ipairs(rows) do
    if row.at_ms < sys.now_ms() - within_ms then
      return self:clear()
    end
    self.positions[row.partition] = row.next_offset
  end
  return true
end

local function key_of(key)
  return sql.blob(key)
end

function File:get(key)
  local db, message, code = connect(self)
  local rows
  if db then
    rows, message, code = db:query("SELECT value FROM sipeat_table WHERE topic = ? AND key = ?",
      self.topic, key_of(key))
  end
  if not rows then
    return nil, message, code
  end
  return rows[1] and rows[1].value
end

function File:count()
  local db, message, code = connect(self)
  local rows
  if db then
    rows, message, code = db:query("SELECT count(*) AS n FROM sipeat_table WHERE topic = ?",
      self.topic)
  end
  if not rows then
    return nil, message, code
  end
  return rows[1].n
end

function File:each()
  local page, n, last = {}, 0, ""
  return function()
    n = n + 1
    if page[n] == nil and (n == 1 or #page == PAGE) then
      local db, message = connect(self)
      if db then
        page, message = db:query([[SELECT key, value FROM sipeat_table
          WHERE topic = ? AND key > ? ORDER BY key LIMIT ?]], self.topic, key_of(last), PAGE)
      end
      if not db or not page then
        error(message, 0)
      end
      n = 1
    end
    local row = page[n]
    last = row and row.key or last
    return row and row.key, row and row.value
  end
end

-- What a transaction writes, by a batch that is run when it is full.
local function writer(tx)
  local batch = sql.batch()
  return function(...)
    local added, message, code = batch:add(...)
    if not added and code == "TOO_BIG" then
      added, message, code = tx:run(batch)
      if added then
        added, message, code = batch:add(...)
      end
    end
    return added, message, code
  end, batch
end

local PUT = "INSERT INTO sipeat_table VALUES (?, ?, ?) "
  .. "ON CONFLICT (topic, key) DO UPDATE SET value = excluded.value"
local DELETE = "DELETE FROM sipeat_table WHERE topic = ? AND key = ?"
local POSITION = "INSERT INTO sipeat_table_positions VALUES (?, ?, ?, ?) "
  .. "ON CONFLICT (topic, partition) "
  .. "DO UPDATE SET next_offset = excluded.next_offset, at_ms = excluded.at_ms"

local function write(self, tx, changes, positions)
  local add, batch = writer(tx)
  for key, value in pairs(changes) do
    local ok, message, code
    if value then
      ok, message, code = add(PUT, self.topic, key_of(key), sql.blob(value))
    else
      ok, message, code = add(DELETE, self.topic, key_of(key))
    end
    if not ok then
      return nil, message, code
    end
  end
  for partition, at in pairs(positions) do
    local ok, message, code = add(POSITION, self.topic, partition, at, sys.now_ms())
    if not ok then
      return nil, message, code
    end
  end
  return tx:run(batch)
end

function File:apply(changes, positions)
  local ok, message, code = self.db:transaction(function(tx)
    return write(self, tx, changes, positions)
  end)
  if not ok then
    return nil, message, code
  end
  for partition, at in pairs(positions) do
    self.positions[partition] = at
  end
  return true
end

function File:clear()
  self.positions = {}
  local ok, message, code = self.db:transaction(function(tx)
    local done, why, reason = tx:exec("DELETE FROM sipeat_table WHERE topic = ?", self.topic)
    if done then
      done, why, reason = tx:exec("DELETE FROM sipeat_table_positions WHERE topic = ?", self.topic)
    end
    return done, why, reason
  end)
  if not ok then
    return nil, message, code
  end
  return true
end

function File:close()
  if self.db then
    self.db:close()
    self.db = nil
  end
end

--- A temporary file with what a store in memory holds; or nil, message, code.
function M.spill(memory, topic)
  local file = M.file(":temporary:", topic)
  local ok, message, code = connect(file)
  if ok then
    ok, message, code = file:apply(memory.values, memory.positions)
  end
  if not ok then
    file:close()
    return nil, message, code
  end
  return file
end

return M
