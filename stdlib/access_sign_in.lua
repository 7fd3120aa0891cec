--- /console/sign-in and /console/sign-out: plain pages that need no JavaScript.
--
-- Every refusal reads the same, whether the name or the password was wrong; attempts are limited by
-- name and by address. A sign-in always begins a new session and ends the one that was there.
local form = require "sipeat.access_form"
local html = require "sipeat.html"
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

-- The console's icon.
local ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%"
  .. "3Cpath fill='none' stroke='%23888' stroke-width='2.5' d='M16 9 19 2h5'/%3E%3Cpath fi"
  .. "ll='%230b62c4' d='M6 9h20l-2.4 19a2.5 2.5 0 0 1-2.5 2.2H10.9a2.5 2.5 0 0 1-2.5-2.2z'"
  .. "/%3E%3Cpath fill='%23fff' d='M7.3 16h17.4l-.9 7H8.2z'/%3E%3C/svg%3E"

-- The console's colours.
local STYLE = [[:root{--page:#f5f6f8;--card:#fff;--line:#dcdfe6;--edge:#767d8a;--text:#1b1f27;
--dim:#596273;--accent:#0b62c4;--on:#fff;--bad:#b9232b;--soft:#fce6e7;color-scheme:light}
@media (prefers-color-scheme:dark){:root{--page:#12151a;--card:#1a1e25;--line:#2f3642;
--edge:#7d8798;--text:#e5e8ed;--dim:#9aa5b6;--accent:#74b4ff;--on:#0b1523;--bad:#ff9297;
--soft:#43191d;color-scheme:dark}}
*{box-sizing:border-box}
body{margin:0;padding:min(14vh,8rem) 1rem 2rem;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:24rem;margin:0 auto;padding:1.75rem;background:var(--card);
border:1px solid var(--line);border-radius:.75rem}
.brand{margin:0;color:var(--dim)}
h1{margin:.1rem 0 1.25rem;font-size:1.5rem;line-height:1.25}
label{display:block;margin:1rem 0 .3rem;font-weight:600}
input{width:100%;font:inherit;padding:.6rem .7rem;color:inherit;background:var(--card);
border:1px solid var(--edge);border-radius:.4rem}
button{width:100%;font:inherit;font-weight:600;margin-top:1.5rem;padding:.7rem;border:0;
border-radius:.4rem;background:var(--accent);color:var(--on);cursor:pointer}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.problem{margin:0;padding:.6rem .8rem;border-radius:.4rem;background:var(--soft);color:var(--bad)}]]

local PAGE = [[<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>%s · sipeat</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="%s">
<style nonce="%s">%s</style></head>
<body><main><p class="brand">sipeat</p><h1>%s</h1>%s</main></body></html>
]]

local PROBLEM = '<p class="problem" role="alert">%s</p>'

local FORM = [[%s<form method="post" action="/console/sign-in">
<input type="hidden" name="csrf" value="%s"><input type="hidden" name="next" value="%s">
<label for="name">Name</label>
<input id="name" name="name" value="%s" autocomplete="username" required%s>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required%s>
<button>Sign in</button></form>]]

local function page(access, status, title, body, headers)
  local nonce = access.nonce()
  return access.page(PAGE:format(title, ICON, nonce, STYLE, title, body), {
    status = status, nonce = nonce, headers = headers,
  })
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
  local note = problem and PROBLEM:format(html.escape(problem)) or ""
  local body = FORM:format(note, made.token, html.escape(target_of(fields.next)),
    html.escape(typed), typed == "" and " autofocus" or "", typed ~= "" and " autofocus" or "")
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

-- An address of version 6 stands for its network (its first four groups): one client has very many.
local function network_of(address)
  if not address:find(":", 1, true) then
    return address
  end
  local head, tail = address:match "^(.-)::(.*)$"
  local groups = {}
  for group in (head or address):gmatch "[^:]+" do
    groups[#groups + 1] = group
  end
  local _, given = (tail or ""):gsub("[^:]+", "")
  for _ = #groups + given + 1, head and 8 or 0 do
    groups[#groups + 1] = "0"
  end
  for group in (tail or ""):gmatch "[^:]+" do
    groups[#groups + 1] = group
  end
  return table.concat(groups, ":", 1, math.min(4, #groups))
end

M.network_of = network_of -- for the tests

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
