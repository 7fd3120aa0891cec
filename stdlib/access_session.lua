--- Sessions and tokens: who a request belongs to. Both are 256 random bits, of which the file keeps
--- the hash only.
local bytes = require "sipeat.bytes"
local env = require "sipeat.env"
local opts = require "sipeat.opts"
local proxy = require "sipeat.access_proxy"
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"

local M = {}

local IDLE = "2h" -- without a request
local LONGEST = "24h" -- since the sign-in
local TOUCH_MS = 60 * 1000 -- the time of the last request is noted this often
local SESSIONS = 20 -- of one user; the oldest end first
local ALL_SESSIONS = 10000

local function setting_ms(name, fallback)
  return math.floor(opts.duration_ms(env.get(name, fallback)) or opts.duration_ms(fallback))
end

--- What is wrong with the settings, or nil.
function M.problem()
  for _, name in ipairs { "SIPEAT_SESSION_IDLE", "SIPEAT_SESSION_MAX", "SIPEAT_AUDIT_KEEP" } do
    local text = env.get(name)
    local ms, why = opts.duration_ms(text or "1h")
    if not ms then
      return ("%s: %s"):format(name, why)
    end
  end
end

--- The lifetimes of a session in ms: without a request, and in all.
function M.lifetimes()
  return setting_ms("SIPEAT_SESSION_IDLE", IDLE), setting_ms("SIPEAT_SESSION_MAX", LONGEST)
end

-- A cookie that only this host may set, and only over TLS, where there is TLS.
local function cookie_name(name, secure)
  return (secure and "__Host-" or "") .. name
end

--- The value of a cookie that set_cookie has set; nil when there is none.
function M.cookie(req, name)
  local wanted = cookie_name(name, req.secure)
  for pair in (req.headers.cookie or ""):gmatch "[^;]+" do
    local found, value = pair:match "^%s*([^=%s]+)=(%S*)%s*$"
    if found == wanted then
      return value
    end
  end
end

--- The text of a Set-Cookie; without a value it deletes the cookie.
function M.set_cookie(req, name, value)
  local secure = req.secure
  return ("%s=%s; Path=/; HttpOnly; SameSite=Lax%s%s"):format(
    cookie_name(name, secure), value or "", value and "" or "; Max-Age=0",
    secure and "; Secure" or ""
  )
end

M.COOKIE = "sipeat_session"

--- Begins a session of a user { name, role, via }: what the cookie is to hold.
function M.begin(req, user)
  local now = sys.now_ms()
  local idle, longest = M.lifetimes()
  local value = bytes.hex(sys.random(32))
  local ok, message, code = store.transaction(function(tx)
    local done, why, reason = tx:exec(
      "DELETE FROM access_sessions WHERE created_ms < ? OR seen_ms < ?", now - longest, now - idle)
    if done then
      done, why, reason = tx:exec("DELETE FROM access_sessions WHERE hash IN (SELECT hash FROM "
        .. "access_sessions WHERE name = ? ORDER BY created_ms DESC LIMIT -1 OFFSET ?)",
        user.name, SESSIONS - 1)
    end
    if done then
      done, why, reason = tx:exec("DELETE FROM access_sessions WHERE hash IN (SELECT hash FROM "
        .. "access_sessions ORDER BY created_ms DESC LIMIT -1 OFFSET ?)", ALL_SESSIONS - 1)
    end
    if done then
      done, why, reason = tx:exec("INSERT INTO access_sessions VALUES (?, ?, ?, ?, ?, ?)",
        sys.sha256(value), user.name, user.via == "dev" and user.role or nil, now, now,
        req.client)
    end
    return done and true or nil, why, reason
  end)
  if not ok then
    return nil, message, code
  end
  return value
end

--- Ends the session of a request, if it has one.
function M.finish(req)
  local value = M.cookie(req, M.COOKIE)
  if not value then
    return true
  end
  return store.exec("DELETE FROM access_sessions WHERE hash = ?", sys.sha256(value))
end

--- Ends all sessions of a user.
function M.finish_all(tx, name)
  return tx:exec("DELETE FROM access_sessions WHERE name = ?", name)
end

local FIND = "SELECT s.name, s.created_ms, s.seen_ms, s.role AS own, u.role AS role "
  .. "FROM access_sessions s LEFT JOIN access_users u ON u.name = s.name WHERE s.hash = ?"

-- The user of a session; false when it is none that counts.
local function of_session(req, quiet)
  local value = M.cookie(req, M.COOKIE)
  if not value or not value:find "^%x+$" or #value ~= 64 then
    return false
  end
  local hash = sys.sha256(value)
  local row, message, code = store.first(FIND, hash)
  if not row then
    return row, message, code
  end
  local now = sys.now_ms()
  local idle, longest = M.lifetimes()
  local role = row.own or row.role
  if not role or now - row.created_ms >= longest or now - row.seen_ms >= idle then
    return false
  elseif not quiet and now - row.seen_ms >= TOUCH_MS then
    local ok
    ok, message, code = store.exec("UPDATE access_sessions SET seen_ms = ? WHERE hash = ?",
      now, hash)
    if not ok then
      return nil, message, code
    end
  end
  local csrf
  csrf, message, code = store.sign("csrf session " .. hash)
  if not csrf then
    return nil, message, code
  end
  return { name = row.name, role = role, via = row.own and "dev" or "session", csrf = csrf }
end

-- --- tokens ---

--- A new token: its text, which is shown once, its id and its hash.
function M.new_token()
  local id, value = bytes.hex(sys.random(6)), bytes.hex(sys.random(32))
  local text = ("sipeat_%s_%s"):format(id, value)
  return text, id, sys.sha256(text)
end

local function of_token(text)
  local id = text:match "^sipeat_(%x+)_%x+$"
  if not id or #id ~= 12 or #text ~= 84 then
    return false
  end
  local row, message, code = store.first("SELECT * FROM access_tokens WHERE id = ?", id)
  if not row then
    return row, message, code
  end
  local now = sys.now_ms()
  if not sys.equal(row.hash, sys.sha256(text)) or now >= row.expires_ms then
    return false
  elseif now - (row.used_ms or 0) >= TOUCH_MS then
    local ok
    ok, message, code = store.exec("UPDATE access_tokens SET used_ms = ? WHERE id = ?", now, id)
    if not ok then
      return nil, message, code
    end
  end
  return { name = row.name, role = row.role, via = "token" }
end

local function of_proxy(req)
  local user = proxy.user(req)
  if not user then
    return false
  end
  local message, code
  user.csrf, message, code = store.sign("csrf proxy " .. user.name)
  if not user.csrf then
    return nil, message, code
  end
  return user
end

--- Who a request belongs to: { name, role, via, csrf? }; false when that is nobody; or nil,
--- message, code. A token goes before the proxy's user, that one before a session. With `quiet`
--- the look does not count as a sign of life.
function M.identify(req, quiet)
  local text = (req.headers.authorization or ""):match "^[Bb][Ee][Aa][Rr][Ee][Rr] +(%S+)$"
  if text then
    return of_token(text)
  end
  local user, message, code = of_proxy(req)
  if user or user == nil then
    return user, message, code
  end
  return of_session(req, quiet)
end

return M
