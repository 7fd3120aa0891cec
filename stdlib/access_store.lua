--- The SQLite file behind sipeat.access: users, sessions, tokens, what was changed by whom, and the
--- deliveries of webhooks that were taken.
--
-- Nothing in it can be used to sign in: passwords are Argon2id hashes, sessions and tokens SHA-256
-- of 256 random bits. It is opened when it is first needed; `sipeat user` and `sipeat token` work
-- on the same file while a process runs. Failures are nil, message, code.
local env = require "sipeat.env"
local opts = require "sipeat.opts"
local sql = require "sipeat.sql"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local AUDIT_KEPT = "365d"

local SCHEMA = [[
CREATE TABLE IF NOT EXISTS access_secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS access_users (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  password TEXT NOT NULL,            -- Argon2id
  created_ms INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS access_sessions (
  hash TEXT PRIMARY KEY,             -- SHA-256 of what is in the cookie
  name TEXT NOT NULL,
  role TEXT,                         -- of `sipeat dev`; users have theirs in access_users
  created_ms INTEGER NOT NULL,
  seen_ms INTEGER NOT NULL,
  address TEXT
);
CREATE INDEX IF NOT EXISTS access_sessions_name ON access_sessions (name, created_ms);
CREATE TABLE IF NOT EXISTS access_tokens (
  id TEXT PRIMARY KEY,               -- its public part
  name TEXT NOT NULL UNIQUE,
  hash TEXT NOT NULL,                -- SHA-256 of the whole token
  role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  used_ms INTEGER
);
CREATE TABLE IF NOT EXISTS access_audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  who TEXT NOT NULL,
  role TEXT,
  via TEXT NOT NULL,
  what TEXT NOT NULL,
  request TEXT,                      -- id of the HTTP request
  address TEXT,
  fields TEXT                        -- JSON
);
CREATE INDEX IF NOT EXISTS access_audit_at ON access_audit (at_ms);
CREATE TRIGGER IF NOT EXISTS access_audit_stays BEFORE UPDATE ON access_audit
  BEGIN SELECT RAISE(ABORT, 'what was noted is not changed'); END;
CREATE TABLE IF NOT EXISTS access_seen (
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  state TEXT NOT NULL,               -- "done", or the process that works on it
  until_ms INTEGER NOT NULL,
  PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS access_seen_until ON access_seen (until_ms);
]]

local path = ":memory:"
local db, secret, opening = nil, nil, task.semaphore(1)

--- Names the file, before it is needed; what was open is closed.
function M.use(file)
  if db then
    db:close()
  end
  path, db, secret = file, nil, nil
end

-- The key that tokens of forms and sessions are signed with: made once, the same after a restart.
local function secret_of(found)
  return found:transaction(function(tx)
    local rows, message, code = tx:query "SELECT value FROM access_secrets WHERE name = 'forms'"
    if not rows then
      return nil, message, code
    elseif rows[1] then
      return rows[1].value
    end
    local value = sys.sha256(sys.random(32))
    local made
    made, message, code = tx:exec("INSERT INTO access_secrets VALUES ('forms', ?)", value)
    if not made then
      return nil, message, code
    end
    return value
  end)
end

-- Deletes what was kept for long enough.
local function tidy(found)
  local now = sys.now_ms()
  local kept = opts.duration_ms(env.get("SIPEAT_AUDIT_KEEP", AUDIT_KEPT))
    or opts.duration_ms(AUDIT_KEPT)
  return found:exec("DELETE FROM access_audit WHERE at_ms < ?", math.floor(now - kept))
end

local function open()
  if db then
    return db
  end
  local found, message, code = sql.open(path, { private = true })
  if not found then
    return nil, message, code
  end
  local key
  local ok
  ok, message, code = found:script(SCHEMA)
  if ok then
    ok, message, code = tidy(found)
  end
  if ok then
    key, message, code = secret_of(found)
  end
  if not key then
    found:close()
    return nil, message, code
  end
  db, secret = found, key
  return db
end

-- What a statement gives ("query": rows; "exec": how many rows it changed).
local function run(method, text, ...)
  local found, message, code = db, nil, nil
  if not found then
    found, message, code = opening:with(open)
  end
  local result
  if found then
    result, message, code = found[method](found, text, ...)
  end
  if result == nil then -- what a transaction refused by itself needs no place
    local of_file = not found or tostring(code):find "^SQL_"
    return nil, of_file and ("access: %s: %s"):format(path, message) or message, code
  end
  return result
end

function M.query(text, ...)
  return run("query", text, ...)
end

function M.exec(text, ...)
  return run("exec", text, ...)
end

--- f(tx) in a transaction.
function M.transaction(f)
  return run("transaction", f)
end

--- The first row, or false.
function M.first(text, ...)
  local rows, message, code = run("query", text, ...)
  if not rows then
    return nil, message, code
  end
  return rows[1] or false
end

--- HMAC of a text with the key of this file.
function M.sign(text)
  if not secret then
    local found, message, code = opening:with(open)
    if not found then
      return nil, ("access: %s: %s"):format(path, message), code
    end
  end
  return sys.hmac_sha256(secret, text)
end

return M
