--- /console/sign-in and /console/sign-out: plain pages that need no JavaScript.
--
-- Every refusal reads the same, whether the name or the password was wrong; attempts are limited by
-- name and by address. A sign-in always begins a new session and ends the one that was there.
local form = require "sipeat.access_form"
local limits = require "sipeat.access_limit"
local log = require("sipeat.log").new "access"
local proxy = require "sipeat.access_proxy"
local session = require "sipeat.access_session"
local sys = require "sipeat.core.sys"
local users = require "sipeat.access_users"

local M = {}

local PATH = "/console/sign-in"
local HOME = "/console"
local WRONG = "The name or the password is not right."

local by_name = limits.new { free = 5, first_ms = 1000, longest_ms = 60 * 1000 }
local by_address = limits.new { free = 20, first_ms = 1000, longest_ms = 15 * 60 * 1000 }

local STYLE = [[:root{color-scheme:light dark}
body{font:1.05rem/1.5 system-ui,sans-serif;margin:12vh auto 0;max-width:22rem;padding:0 1.25rem}
h1{font-size:1.4rem}label{display:block;margin:1rem 0 .3rem}
input{box-sizing:border-box;width:100%;font:inherit;padding:.55rem .6rem;border:1px solid #767676;
border-radius:.4rem;background:Field;color:FieldText}
button{font:inherit;margin-top:1.4rem;padding:.6rem 1.2rem;border:0;border-radius:.4rem;
background:#0b57d0;color:#fff;cursor:pointer}
:focus-visible{outline:3px solid #5b9bff;outline-offset:2px}
.problem{border-left:.3rem solid #c5221f;padding:.4rem .8rem;margin:1rem 0 0}]]

local PAGE = [[<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>%s · sipeat</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="%s">%s</style></head>
<body><main><h1>%s</h1>%s</main></body></html>
]]

local FORM = [[%s<form method="post" action="/console/sign-in">
<input type="hidden" name="csrf" value="%s"><input type="hidden" name="next" value="%s">
<label for="name">Name</label>
<input id="name" name="name" value="%s" autocomplete="username" required%s>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required%s>
<button>Sign in</button></form>]]

local ESCAPES = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;",
}

local function escape(text)
  return (text:gsub("[&<>\"']", ESCAPES))
end

local function page(access, status, title, body, headers)
  local nonce = access.nonce()
  local html = PAGE:format(title, nonce, STYLE, title, body)
  return access.page(html, { status = status, nonce = nonce, headers = headers })
end

-- A path of this server, to go to after the sign-in; anything else is the console.
local function target_of(text)
  if type(text) == "string" and #text <= 2000 and text:find "^/[%w%-._~!$&'()*+,;=:@/?%%]*$"
    and not text:find "^//" and text:find(PATH, 1, true) ~= 1 then
    return text
  end
  return HOME
end

-- The page with the form; `fields`: what was typed, `problem`: what to say about it.
local function ask(access, req, status, fields, problem, headers)
  local made, message, code = form.new(req)
  if not made then
    return form.refused(message, code)
  end
  headers = headers or {}
  headers["set-cookie"] = made.cookie
  local typed = fields.name or ""
  local note = problem and ('<p class="problem" role="alert">%s</p>'):format(escape(problem)) or ""
  local body = FORM:format(note, made.token, escape(target_of(fields.next)), escape(typed),
    typed == "" and " autofocus" or "", typed ~= "" and " autofocus" or "")
  return page(access, status, "Sign in", body, headers)
end

local function go(target, cookie)
  return {
    status = 303,
    headers = { location = target, ["set-cookie"] = cookie, ["cache-control"] = "no-store" },
  }
end

-- A fresh session instead of the one that was there; where to go then.
local function enter(access, req, user, target)
  local done, message, code = session.finish(req)
  local value
  if done then
    value, message, code = session.begin(req, user)
  end
  if value then
    done, message, code = access.audit(user, "session.begin", { address = req.client })
  end
  if not value or not done then
    return form.refused(message, code)
  end
  log:info(("%s has signed in"):format(user.name))
  return go(target, session.set_cookie(req, session.COOKIE, value))
end

-- --- the link of `sipeat dev` ---

local code_of_dev, tell_dev

local function new_code()
  code_of_dev = sys.sha256(sys.random(32))
  return ("%s?code=%s"):format(PATH, code_of_dev)
end

local function enter_by_code(access, req, given)
  local right = code_of_dev ~= nil and proxy.is_local(req) and sys.equal(given, code_of_dev)
  if not right then
    return ask(access, req, 403, {}, "This link has been used, or is not of this process.")
  end
  local path = new_code() -- once
  local answer = enter(access, req, { name = "dev", role = "admin", via = "dev" }, HOME)
  tell_dev(path)
  return answer
end

-- --- routes ---

local function show(access)
  return function(req)
    local code = req.query.code
    if code and tell_dev then
      return enter_by_code(access, req, code)
    end
    return ask(access, req, 200, { next = req.query.next })
  end
end

-- Counts the attempt: nil, or for how many seconds there is none.
local function pause_of(name, address)
  local free, left = by_address:take(address)
  if free then
    free, left = by_name:take(name)
  end
  return not free and math.ceil(left / 1000) or nil
end

-- An address of version 6 stands for its network: one client has very many.
local function network_of(address)
  local head = address:match "^(%x*:%x*:%x*:%x*):"
  return head and head .. "::/64" or address
end

local function take(access)
  return function(req)
    local fields = req:form() or {}
    local key, message, code = form.check(req, fields)
    if not key and code ~= "CSRF" then
      return form.refused(message, code)
    elseif not key then
      return ask(access, req, 403, fields, message)
    end
    local name, password = fields.name or "", fields.password or ""
    local address = network_of(req.client)
    local limited = sys.sha256(name:lower())
    local pause = pause_of(limited, address)
    if pause then
      return ask(access, req, 429, fields,
        ("Too many attempts. Please try again in %d s."):format(pause),
        { ["retry-after"] = tostring(pause) })
    end
    local user
    user, message, code = users.check(name, password)
    if user == nil then
      return form.refused(message, code)
    elseif not user then
      log:warn(("a sign-in was refused, from %s"):format(address))
      return ask(access, req, 401, fields, WRONG)
    end
    by_name:clear(limited)
    by_address:give_back(address)
    return enter(access, req, user, target_of(fields.next))
  end
end

local function leave(access)
  return access.guard("viewer", function(req)
    local done, message, code = session.finish(req)
    if not done then
      return form.refused(message, code)
    end
    return go(PATH, session.set_cookie(req, session.COOKIE, nil))
  end)
end

--- Adds the routes. With `dev`, a function that is told each new link of `sipeat dev`, as a path.
function M.routes(access, dev)
  local http = require "sipeat.http"
  local builtin = { builtin = true }
  http.route("GET " .. PATH, show(access), builtin)
  http.route("POST " .. PATH, take(access), builtin)
  http.route("POST /console/sign-out", leave(access), builtin)
  tell_dev = dev
  if dev then
    dev(new_code())
  end
end

return M
