--- What a projection keeps in its database beside its tables: which version of the code has built
--- them, how far each partition was read, and who works on it.
--
-- Tables are built under their own names (live), or under other ones (shadow) and swapped in. All
-- changes stand in the same transaction as the rows that they speak of. Who works is said by
-- leases: "runner" follows the topics, "builder" rebuilds. A lease ends by itself, or when its
-- process has.
local lease = require "sipeat.lease"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

M.LIVE, M.SHADOW = 0, 1
local LEASE_MS = 15000
M.LEASE_MS = LEASE_MS

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS sipeat_projections (
  name TEXT PRIMARY KEY,
  version BIGINT NOT NULL DEFAULT 0,      -- of the code that built the tables; 0: there are none
  generation BIGINT NOT NULL DEFAULT 0,   -- counts what was swapped in
  built_ms BIGINT,
  build_version BIGINT,                   -- of a rebuild under way, or left; NULL: there is none
  build_shape TEXT,                       -- what its tables look like
  build_began_ms BIGINT,
  build_events BIGINT NOT NULL DEFAULT 0,
  runner TEXT,
  runner_until_ms BIGINT NOT NULL DEFAULT 0,
  builder TEXT,
  builder_until_ms BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS sipeat_projection_positions (
  name TEXT NOT NULL,
  build BIGINT NOT NULL,                  -- 0 live, 1 shadow
  topic TEXT NOT NULL,
  partition BIGINT NOT NULL,
  next_offset BIGINT NOT NULL,
  PRIMARY KEY (name, build, topic, partition)
);
CREATE TABLE IF NOT EXISTS sipeat_projection_skipped (
  name TEXT NOT NULL,
  build BIGINT NOT NULL,
  topic TEXT NOT NULL,
  partition BIGINT NOT NULL,
  record_offset BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (name, build, topic, partition, record_offset)
);
]]

--- Statements of a unit: the partition was read up to there; this record was left out.
M.POSITION = [[INSERT INTO sipeat_projection_positions
  (name, build, topic, partition, next_offset) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (name, build, topic, partition) DO UPDATE SET next_offset = excluded.next_offset]]
M.SKIPPED = [[INSERT INTO sipeat_projection_skipped
  (name, build, topic, partition, record_offset, at_ms, code, message)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING]]

-- --- names ---

local SHADOW = "__rebuild"

--- The names of the tables in a build: { [name] = name there }.
function M.names(def, build)
  local names = {}
  for name in pairs(def.tables) do
    names[name] = build == M.SHADOW and name .. SHADOW or name
  end
  return names
end

--- What the tables look like, as a short text.
function M.shape(def)
  local parts = {}
  for i, name in ipairs(opts.names(def.tables)) do
    parts[i] = name .. "(" .. def.tables[name] .. ")"
  end
  table.move(def.indexes, 1, #def.indexes, #parts + 1, parts)
  table.move(def.topics, 1, #def.topics, #parts + 1, parts)
  return sys.sha256(table.concat(parts, "\n")):sub(1, 16)
end

-- --- the database ---

--- Makes the tables that every projection needs.
function M.prepare(db, name)
  local ok, message, code = db:script(SCHEMA)
  if ok then
    ok, message, code = db:exec(
      "INSERT INTO sipeat_projections (name) VALUES (?) ON CONFLICT DO NOTHING", name)
  end
  if not ok then
    return nil, message, code
  end
  return true
end

--- The row of a projection; `db` may be a transaction.
function M.state(db, name)
  local rows, message, code = db:query("SELECT * FROM sipeat_projections WHERE name = ?", name)
  if not rows then
    return nil, message, code
  end
  return rows[1]
end

--- { [topic] = { [partition] = next offset } } of a build.
function M.positions(db, name, build)
  local rows, message, code = db:query([[SELECT topic, partition, next_offset
    FROM sipeat_projection_positions WHERE name = ? AND build = ?]], name, build)
  if not rows then
    return nil, message, code
  end
  local positions = {}
  for _, row in ipairs(rows) do
    local topic = positions[row.topic] or {}
    positions[row.topic], topic[row.partition] = topic, row.next_offset
  end
  return positions
end

--- What was left out of the live tables: how many records.
function M.skipped(db, name)
  local rows, message, code = db:query([[SELECT count(*) AS n FROM sipeat_projection_skipped
    WHERE name = ? AND build = 0]], name)
  if not rows then
    return nil, message, code
  end
  return rows[1].n
end

--- Says that a lease goes on; changes 1 row, unless it has gone, or the tables have been swapped.
M.RENEW = {
  runner = [[UPDATE sipeat_projections SET runner_until_ms = ?
    WHERE name = ? AND runner = ? AND generation = ?]],
  builder = [[UPDATE sipeat_projections SET builder_until_ms = ?, build_events = build_events + ?
    WHERE name = ? AND builder = ? AND generation = ?]],
}

-- --- leases ---

-- Whoever has that lease of the row, unless it is over.
local function holder(row, role, me)
  local who = row[role]
  if who and who ~= me and row[role .. "_until_ms"] > sys.now_ms() and not lease.is_gone(who) then
    return who
  end
end

--- Who rebuilds or follows it now, or nil.
function M.holder(row, role)
  return holder(row, role)
end

--- Takes the lease "runner" or "builder". The row; or nil, message, "PROJECTION_BUSY".
function M.lease(db, name, role, me)
  return db:transaction(function(tx)
    local row, message, code = M.state(tx, name)
    if not row then
      return nil, message, code
    end
    local other = holder(row, role, me)
    if other then
      local what = role == "builder" and "is being rebuilt by" or "is followed by"
      local who = lease.describe(other)
      return nil, ("projection %s %s %s"):format(name, what, who), "PROJECTION_BUSY"
    end
    local changes -- as it was seen: somebody else may have taken it meanwhile
    changes, message, code = tx:exec(("UPDATE sipeat_projections SET %s = ?, %s_until_ms = ? "
      .. "WHERE name = ? AND coalesce(%s, '') = ? AND %s_until_ms = ?"):format(role, role, role,
      role), me, sys.now_ms() + LEASE_MS, name, row[role] or "", row[role .. "_until_ms"])
    if changes ~= 1 then
      return nil, message or ("projection %s has gone to another process"):format(name),
        changes and "PROJECTION_BUSY" or code
    end
    return row
  end)
end

--- Gives a lease back.
function M.release(db, name, role, me)
  return db:exec(("UPDATE sipeat_projections SET %s = NULL, %s_until_ms = 0 "
    .. "WHERE name = ? AND %s = ?"):format(role, role, role), name, me)
end

-- --- tables ---

local function drop(tx, name, build)
  local ok, message, code = tx:exec(
    "DELETE FROM sipeat_projection_positions WHERE name = ? AND build = ?", name, build)
  if ok then
    ok, message, code = tx:exec(
      "DELETE FROM sipeat_projection_skipped WHERE name = ? AND build = ?", name, build)
  end
  return ok, message, code
end

-- Index names are one space for a database: the generation keeps those of a shadow apart.
local function create(tx, def, build, generation)
  local names, statements = M.names(def, build), {}
  for _, name in ipairs(opts.names(names)) do
    statements[#statements + 1] = ("DROP TABLE IF EXISTS %s;"):format(names[name])
    statements[#statements + 1] = ("CREATE TABLE %s (%s);"):format(names[name], def.tables[name])
  end
  for i, index in ipairs(def.indexes) do
    local on, columns = index:match "^%s*([%w_]+)%s*(%(.*)$"
    statements[#statements + 1] = ("CREATE INDEX %s_%d_%d ON %s %s;"):format(
      def.name:gsub("[^%w]", "_"), generation, i, names[on], columns)
  end
  return tx:script(table.concat(statements, "\n"))
end

local function all(...)
  for _, step in ipairs { ... } do
    local ok, message, code = step()
    if not ok then
      return nil, message, code
    end
  end
  return true
end

--- Makes the live tables of a projection that has none, empty. Called by the holder of "runner".
function M.create_live(db, def, me)
  return db:transaction(function(tx)
    local changes, message, code = tx:exec([[UPDATE sipeat_projections
      SET version = ?, generation = generation + 1, built_ms = ?
      WHERE name = ? AND version = 0 AND runner = ?]], def.version, sys.now_ms(), def.name, me)
    if changes ~= 1 then
      return nil, message or "the tables were made by another process",
        changes and "PROJECTION_MOVED" or code
    end
    return all(
      function() return drop(tx, def.name, M.LIVE) end,
      function() return create(tx, def, M.LIVE, 1) end
    )
  end)
end

--- Begins a rebuild, or finds the one that was left: the row, and whether it goes on. With `fresh`,
--- one that was left is thrown away. Called by the holder of "builder".
function M.begin_build(db, def, fresh)
  return db:transaction(function(tx)
    local row, message, code = M.state(tx, def.name)
    if not row then
      return nil, message, code
    end
    local shape = M.shape(def)
    if not fresh and row.build_version == def.version and row.build_shape == shape then
      return row, true
    end
    local ok
    ok, message, code = all(
      function() return drop(tx, def.name, M.SHADOW) end,
      function() return create(tx, def, M.SHADOW, row.generation + 1) end,
      function()
        return tx:exec([[UPDATE sipeat_projections SET build_version = ?, build_shape = ?,
          build_began_ms = ?, build_events = 0 WHERE name = ?]], def.version, shape, sys.now_ms(),
          def.name)
      end
    )
    if not ok then
      return nil, message, code
    end
    row.build_events, row.build_began_ms = 0, sys.now_ms()
    return row, false
  end)
end

-- Is the shadow behind the live tables in any partition that it reads?
local function is_behind(tx, def)
  local live, message, code = M.positions(tx, def.name, M.LIVE)
  local shadow
  if live then
    shadow, message, code = M.positions(tx, def.name, M.SHADOW)
  end
  if not shadow then
    return nil, message, code
  end
  for _, topic in ipairs(def.topics) do
    for partition, next_offset in pairs(live[topic] or {}) do
      if ((shadow[topic] or {})[partition] or 0) < next_offset then
        return true
      end
    end
  end
  return false
end

local function rename(tx, def)
  local statements, shadow = {}, M.names(def, M.SHADOW)
  for _, name in ipairs(opts.names(def.tables)) do
    statements[#statements + 1] = ("DROP TABLE IF EXISTS %s;"):format(name)
    statements[#statements + 1] = ("ALTER TABLE %s RENAME TO %s;"):format(shadow[name], name)
  end
  return tx:script(table.concat(statements, "\n"))
end

--- Puts the shadow in the place of the live tables, with its positions. true; or nil, message,
--- "PROJECTION_BEHIND": meanwhile the live tables have read further, so read on and try again.
function M.swap(db, def, me)
  return db:transaction(function(tx)
    -- the row's lock: who follows has committed, or will find that the tables have gone
    local behind, message, code = tx:exec(
      "UPDATE sipeat_projections SET builder = builder WHERE name = ?", def.name)
    if behind then
      behind, message, code = is_behind(tx, def)
    end
    if behind ~= false then
      return nil, message or "the live tables are ahead", code or "PROJECTION_BEHIND"
    end
    local changes
    changes, message, code = tx:exec([[UPDATE sipeat_projections
      SET version = build_version, generation = generation + 1, built_ms = ?,
        build_version = NULL, build_shape = NULL, builder = NULL, builder_until_ms = 0
      WHERE name = ? AND builder = ? AND build_version = ?]], sys.now_ms(), def.name, me,
      def.version)
    if changes ~= 1 then
      return nil, message or "the rebuild has gone to another process",
        changes and "PROJECTION_MOVED" or code
    end
    return all(
      function() return rename(tx, def) end,
      function() return drop(tx, def.name, M.LIVE) end,
      function()
        return tx:exec("UPDATE sipeat_projection_positions SET build = 0 WHERE name = ?", def.name)
      end,
      function()
        return tx:exec("UPDATE sipeat_projection_skipped SET build = 0 WHERE name = ?", def.name)
      end
    )
  end)
end

return M
