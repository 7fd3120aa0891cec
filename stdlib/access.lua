--- Who may do what over HTTP: sign-in, tokens and roles; forms that only their page can send; what
--- was changed by whom; what viewers do not see.
--
-- Roles: viewer < operator < admin. A handler behind `guard` runs for users that have its role;
-- nothing is open besides what a script serves without a guard. docs/security.md lists each
-- measure and the test that proves it.
local audit = require "sipeat.access_audit"
local form = require "sipeat.access_form"
local http = require "sipeat.http_server"
local masks = require "sipeat.access_mask"
local opts = require "sipeat.opts"
local session = require "sipeat.access_session"
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"

local M = {}

local RANK = { viewer = 1, operator = 2, admin = 3 }
local SAFE = { GET = true, HEAD = true }
local SIGN_IN = "/console/sign-in"
local RECHECK_MS = 60 * 1000 -- whoever reads a stream must still be allowed to

-- --- answers ---

--- A value for the attribute nonce of a page's own <script> and <style>.
function M.nonce()
  return (sys.base64(sys.random(18)))
end

--- The headers of a page: nothing from elsewhere, no inline code without the nonce, in no frame.
---@param nonce string?
function M.headers(nonce)
  local own = nonce and ("'self' 'nonce-%s'"):format(nonce) or "'self'"
  return {
    ["content-security-policy"] = ("default-src 'none'; script-src %s; style-src %s; "
      .. "img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
      .. "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"):format(own, own),
    ["referrer-policy"] = "same-origin",
    ["x-frame-options"] = "DENY",
    ["cross-origin-opener-policy"] = "same-origin",
    ["permissions-policy"] = "camera=(), geolocation=(), microphone=()",
    ["cache-control"] = "no-store",
  }
end

local PAGE = opts.spec("sipeat.access.page", {
  status = { "integer", default = 200, min = 200, max = 599 },
  nonce = { "string" },
  headers = { "table" },
})

--- An answer with a page and its security headers.
---@param html string
---@param options sipeat.access.PageOptions?
function M.page(html, options)
  local o = PAGE(options)
  local headers = M.headers(o.nonce)
  for name, value in pairs(o.headers or {}) do
    headers[name:lower()] = value
  end
  return { status = o.status, headers = headers, html = html }
end

local function refused(status, detail, code)
  local answer = http.problem(status, detail, { code = code })
  answer.headers["cache-control"] = "no-store"
  return answer
end

local function wants_page(req)
  return req.method == "GET" and (req.headers.accept or ""):find("text/html", 1, true) ~= nil
end

-- Where a browser goes to sign in, and comes back from.
local function to_sign_in(req)
  return {
    status = 303,
    headers = {
      location = ("%s?next=%s"):format(SIGN_IN, require("sipeat.http").encode(req.target)),
      ["cache-control"] = "no-store",
    },
  }
end

-- --- the guard ---

-- Whether a page of ours has sent this: it knows the session's token, another site does not.
local function has_csrf(req, user)
  local given = req.headers["x-csrf-token"]
  local kind = req.headers["content-type"] or ""
  if not given and kind:find("^application/x%-www%-form%-urlencoded") then
    local fields = req:form()
    given = fields and fields.csrf
  elseif not given and kind:find("^multipart/form%-data") then
    local sent = req:multipart()
    given = sent and sent.fields.csrf
  end
  return given ~= nil and sys.equal(given, user.csrf)
end

local function needs(role, user)
  return ("this needs the role %s; %s has the role %s"):format(role, user.name, user.role)
end

-- The user of a request when it is one who may; or nil and the answer.
local function admit(req, role)
  local user, message = session.identify(req)
  if user == nil then
    return nil, refused(503, message, "UNAVAILABLE")
  elseif not user and wants_page(req) then
    return nil, to_sign_in(req)
  elseif not user then
    local answer = refused(401, "sign in, or send a token as Authorization: Bearer …",
      "UNAUTHENTICATED")
    answer.headers["www-authenticate"] = 'Bearer realm="sipeat"'
    return nil, answer
  elseif user.csrf and not SAFE[req.method] and not has_csrf(req, user) then
    return nil, refused(403, "the header x-csrf-token of this session is missing or wrong", "CSRF")
  elseif RANK[user.role] < RANK[role] then
    return nil, refused(403, needs(role, user), "FORBIDDEN")
  end
  return user
end

-- A stream that ends when whoever reads it is signed out or loses the role.
local function watched(req, role, stream)
  return function(write)
    local checked = sys.monotonic_ms()
    return stream(function(chunk)
      if sys.monotonic_ms() - checked >= RECHECK_MS then
        checked = sys.monotonic_ms()
        local user = session.identify(req, true)
        if not user or RANK[user.role] < RANK[role] then
          return nil, "the session has ended", "ECONNRESET"
        end
      end
      return write(chunk)
    end)
  end
end

--- A handler that runs for users with at least that role, with req.user = { name, role, via,
--- csrf? }. Others get 401 or 403, or a browser the sign-in page. What a session sends with a
--- method other than GET or HEAD must carry its token: the header x-csrf-token, or the form's field
--- csrf, as a multipart form has it, too.
---@param role "viewer"|"operator"|"admin"
---@param handler fun(req: sipeat.http.Request): any
function M.guard(role, handler)
  if not RANK[role] then
    error("access.guard: a role is viewer, operator or admin; got " .. opts.show(role), 2)
  elseif not opts.is_callable(handler) then
    error("access.guard: a handler is needed", 2)
  end
  return function(req)
    local user, answer = admit(req, role)
    if not user then
      return answer
    end
    req.user = user
    local message
    answer, message = handler(req)
    if type(answer) == "table" then
      answer.headers = answer.headers or {}
      answer.headers["cache-control"] = answer.headers["cache-control"] or "no-store"
      if answer.stream then
        answer.stream = watched(req, role, answer.stream)
      end
    end
    return answer, message
  end
end

--- Whether a user has at least that role.
function M.may(user, role)
  return user ~= nil and (RANK[user.role] or 0) >= RANK[role]
end

--- Who a request belongs to, for pages that show more to users; nil for a visitor.
function M.user(req)
  return session.identify(req) or nil
end

-- --- forms of visitors ---

--- For a form of visitors: { token, key, cookie? }.
M.form = form.new

--- The idempotency key of a form that was sent; or nil, a message, "CSRF" | another code.
M.check_form = form.check

-- --- audit ---

--- Notes a change before it is made: who, what, and with which fields. true; or nil, message, code:
--- then the change is not to be made.
---@param req sipeat.http.Request|sipeat.access.User
---@param what string such as "topic.delete"
---@param fields table?
function M.audit(req, what, fields)
  local user = req.user or req
  if type(user.name) ~= "string" or type(what) ~= "string" then
    error("access.audit: a request with a user, or a user, and what is done are needed", 2)
  end
  return audit.note(nil, user, what, fields, req.user and req or nil)
end

--- What was noted, the newest first: rows of { id, at, who, role, via, what, request, address,
--- fields }.
M.audited = audit.list

-- --- what viewers do not see ---

--- A value with what is personal in it covered; see docs/security.md.
M.mask = masks.mask

--- The same for a payload, by the rules; for operators and admins the value as it is.
---@param req sipeat.http.Request
---@param value any
function M.seen(req, value)
  if M.may(req.user, "operator") then
    return value
  end
  return masks.payload(value)
end

--- Sets the rules of masking, for all that is shown: { ["data.notes"] = "text", iban = "text" }.
M.mask_rules = masks.rules

-- --- start ---

local SERVE = opts.spec("sipeat.access.serve", {
  file = { "string" },
  dev = { "handler" },
})

--- For the program itself: names the file, and adds the routes of signing in and out. `dev` is told
--- each path that signs in once, without a password, from this machine. nil, message, code when a
--- setting is wrong.
function M.serve(options)
  local o = SERVE(options)
  local problem = session.problem()
  if problem then
    return nil, "access: " .. problem, "EINVAL"
  end
  if o.file then
    store.use(o.file)
  end
  require("sipeat.access_sign_in").routes(M, o.dev)
  return true
end

return M
