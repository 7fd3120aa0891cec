--- Tokens of forms for visitors who have not signed in.
--
-- A page's form carries a hidden field "csrf": a fresh key, the time, and a signature over both and
-- over a random cookie of this browser. Another site knows neither, so it cannot make a browser
-- send a form; and a form that is sent twice has the same key, which makes one event of both.
local http = require "sipeat.http_server"
local session = require "sipeat.access_session"
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"

local M = {}

local COOKIE = "sipeat_form"
local VALID_MS = 24 * 60 * 60 * 1000
local STALE = "The form has expired. Please send it again."

local function signature(browser, key, at)
  return store.sign(("form %s %s %s"):format(browser, key, at))
end

local function browser_of(req)
  local value = session.cookie(req, COOKIE)
  return value and value:find "^[%x-]+$" and #value == 36 and value or nil
end

--- { token, key, cookie? }: the token goes into the hidden field "csrf", the cookie, where there is
--- one, into the answer's header set-cookie. nil, message, code when the file cannot be read.
function M.new(req)
  local browser = browser_of(req)
  local cookie
  if not browser then
    browser = sys.uuid()
    cookie = session.set_cookie(req, COOKIE, browser)
  end
  local key, at = sys.uuid(), ("%x"):format(sys.now_ms())
  local signed, message, code = signature(browser, key, at)
  if not signed then
    return nil, message, code
  end
  return { token = ("%s.%s.%s"):format(key, at, signed), key = key, cookie = cookie }
end

--- The idempotency key of a form that was sent; or nil, a message for the visitor, "CSRF" or
--- another code.
function M.check(req, fields)
  fields = fields or req:form()
  local token = req.headers["x-csrf-token"] or type(fields) == "table" and fields.csrf
  local key, at, signed = tostring(token or ""):match "^([%x-]+)%.(%x+)%.(%x+)$"
  local browser = browser_of(req)
  if not key or not browser or #at > 15 then
    return nil, STALE, "CSRF"
  end
  local expected, message, code = signature(browser, key, at)
  if not expected then
    return nil, message, code
  end
  local age = sys.now_ms() - tonumber(at, 16)
  if not sys.equal(signed, expected) or age < 0 or age > VALID_MS then
    return nil, STALE, "CSRF"
  end
  return key
end

--- The answer for a form that was refused.
function M.refused(message, code)
  return http.problem(code == "CSRF" and 403 or 503, message, { code = code })
end

return M
