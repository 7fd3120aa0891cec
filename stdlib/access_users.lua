--- Users and tokens: adding, listing, removing, and checking a password.
--
-- A wrong name costs as much time as a wrong password: there is always one hash to compute. At most
-- two are computed at once, since each takes a thread of the pool and 64 MiB.
local audit = require "sipeat.access_audit"
local crypto = require "sipeat.core.crypto"
local session = require "sipeat.access_session"
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local SHORTEST, LONGEST = 10, 256 -- of a password, in characters and in bytes
local AT_ONCE, WAITING = 2, 32

local hashing, waiting = task.semaphore(AT_ONCE), 0

-- f(...) when it is its turn; or nil, message, "QUEUE_FULL".
local function in_turn(f, ...)
  if waiting >= WAITING then
    return nil, "too many people sign in at once", "QUEUE_FULL"
  end
  waiting = waiting + 1
  local _ <close> = setmetatable({}, {
    __close = function()
      waiting = waiting - 1
    end,
  })
  local result, message, code = hashing:with(f, ...)
  return result, message, code
end

-- --- passwords ---

--- Why a password is not taken, or nil.
function M.weak(password, name)
  local length = utf8.len(password)
  if not length then
    return "the password is not UTF-8"
  elseif length < SHORTEST then
    return ("the password is shorter than %d characters"):format(SHORTEST)
  elseif #password > LONGEST then
    return ("the password is longer than %d bytes"):format(LONGEST)
  elseif password:lower() == name:lower() or password == password:sub(1, 1):rep(#password) then
    return "the password can be guessed"
  end
end

local nobody -- the hash for names that nobody has

local function hash_of_nobody()
  if not nobody then
    nobody = crypto.password_hash(sys.uuid())
  end
  return nobody
end

local function verify(hash, password)
  return (crypto.password_verify(hash, password))
end

-- A hash of older parameters becomes one of today's. When that fails it is left for the next time.
local function strengthen(row, password)
  local hash = crypto.password_hash(password)
  if hash then
    store.exec("UPDATE access_users SET password = ? WHERE name = ? AND password = ?",
      hash, row.name, row.password)
  end
end

--- The user { name, role, via } whose name and password these are; false when they are nobody's; or
--- nil, message, code.
function M.check(name, password)
  local other = hash_of_nobody()
  local row, message, code = store.first("SELECT * FROM access_users WHERE name = ?", name)
  if row == nil or not other then
    return nil, message or "not enough memory for a password", code or "ENOMEM"
  end
  local known = #password <= LONGEST and row
  local matches, why, reason = in_turn(verify, known and row.password or other,
    #password <= LONGEST and password or "")
  if matches == nil then
    return nil, why, reason
  end
  if not known or not matches then
    return false
  elseif crypto.password_stale(row.password) then
    strengthen(row, password)
  end
  return { name = row.name, role = row.role, via = "session" }
end

-- --- users ---

local function is_name(name)
  return #name > 0 and #name <= 64 and name:find "^[%w][%w._@+-]*$" ~= nil
end

local BAD_NAME = "a name is made of letters, digits and . _ - + @, at most 64"

-- One change and its row of the audit, in one transaction.
local function change(who, what, fields, f)
  return store.transaction(function(tx)
    local done, message, code = f(tx)
    if done then
      done, message, code = audit.note(tx, who, what, fields)
    end
    return done and true or nil, message, code
  end)
end

--- Adds a user. `who` is the user { name, via } who does it.
function M.add(who, name, role, password)
  local why = not is_name(name) and BAD_NAME or M.weak(password, name)
  if why then
    return nil, why, "USAGE"
  end
  local hash, message, code = crypto.password_hash(password)
  if not hash then
    return nil, message, code
  end
  return change(who, "user.add", { name = name, role = role }, function(tx)
    local now = sys.now_ms()
    local done, text, reason = tx:exec("INSERT OR IGNORE INTO access_users VALUES (?, ?, ?, ?, ?)",
      name, role, hash, now, now)
    if done == 0 then
      return nil, ("there is a user %s already"):format(name), "EXISTS"
    end
    return done, text, reason
  end)
end

local function one_of(done, what, name, message, code)
  if done == 0 then
    return nil, ("there is no %s %s"):format(what, name), "NOT_FOUND"
  end
  return done, message, code
end

--- Changes the password, the role, or both, and ends the user's sessions.
function M.change(who, name, role, password)
  local why = password and M.weak(password, name)
  if why then
    return nil, why, "USAGE"
  end
  local hash, message, code
  if password then
    hash, message, code = crypto.password_hash(password)
    if not hash then
      return nil, message, code
    end
  end
  local fields = { name = name, role = role, password = password and "changed" or nil }
  return change(who, "user.change", fields, function(tx)
    local done, text, reason = tx:exec("UPDATE access_users SET role = COALESCE(?, role), "
      .. "password = COALESCE(?, password), changed_ms = ? WHERE name = ?",
      role, hash, sys.now_ms(), name)
    done, text, reason = one_of(done, "user", name, text, reason)
    if done then
      done, text, reason = session.finish_all(tx, name)
    end
    return done, text, reason
  end)
end

--- Removes a user and ends the sessions.
function M.remove(who, name)
  return change(who, "user.remove", { name = name }, function(tx)
    local done, text, reason = tx:exec("DELETE FROM access_users WHERE name = ?", name)
    done, text, reason = one_of(done, "user", name, text, reason)
    if done then
      done, text, reason = session.finish_all(tx, name)
    end
    return done, text, reason
  end)
end

--- Rows of { name, role, created, changed, sessions }.
function M.list()
  local rows, message, code = store.query("SELECT name, role, created_ms, changed_ms, "
    .. "(SELECT COUNT(*) FROM access_sessions s WHERE s.name = u.name) AS sessions "
    .. "FROM access_users u ORDER BY name")
  for _, row in ipairs(rows or {}) do
    row.created, row.created_ms = sys.iso_time(row.created_ms), nil
    row.changed, row.changed_ms = sys.iso_time(row.changed_ms), nil
  end
  return rows, message, code
end

-- --- tokens ---

--- Adds a token: its text, which nothing can show again.
function M.add_token(who, name, role, lifetime_ms)
  if not is_name(name) then
    return nil, BAD_NAME, "USAGE"
  end
  local text, id, hash = session.new_token()
  local now = sys.now_ms()
  local fields = { name = name, role = role, id = id, expires = sys.iso_time(now + lifetime_ms) }
  local done, message, code = change(who, "token.add", fields, function(tx)
    local added, why, reason = tx:exec(
      "INSERT OR IGNORE INTO access_tokens VALUES (?, ?, ?, ?, ?, ?, NULL)",
      id, name, hash, role, now, now + lifetime_ms)
    if added == 0 then
      return nil, ("there is a token %s already"):format(name), "EXISTS"
    end
    return added, why, reason
  end)
  if not done then
    return nil, message, code
  end
  return text, fields
end

--- Removes a token: it counts no more.
function M.remove_token(who, name)
  return change(who, "token.remove", { name = name }, function(tx)
    local done, text, reason = tx:exec("DELETE FROM access_tokens WHERE name = ?", name)
    return one_of(done, "token", name, text, reason)
  end)
end

--- Rows of { id, name, role, created, expires, used, expired }.
function M.list_tokens()
  local rows, message, code = store.query(
    "SELECT id, name, role, created_ms, expires_ms, used_ms FROM access_tokens ORDER BY name")
  for _, row in ipairs(rows or {}) do
    row.expired = row.expires_ms <= sys.now_ms()
    row.created, row.created_ms = sys.iso_time(row.created_ms), nil
    row.expires, row.expires_ms = sys.iso_time(row.expires_ms), nil
    row.used, row.used_ms = row.used_ms and sys.iso_time(row.used_ms), nil
  end
  return rows, message, code
end

return M
