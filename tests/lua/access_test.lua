local access = require "sipeat.access"
local http = require "sipeat.http"
local t = require "sipeat.luatest"
local users = require "sipeat.access_users"

local links = {}
access.serve {
  dev = function(path)
    links[#links + 1] = path
  end,
}
local server = assert(http.listen("127.0.0.1:0"))
local base = server.url
local WHO = { name = "test", via = "program" }
local PASSWORD = "correct horse battery"

http.route("GET /seen", access.guard("viewer", function(req)
  return { json = { name = req.user.name, role = req.user.role, via = req.user.via } }
end))
http.route("GET /token", access.guard("viewer", function(req)
  return { text = req.user.csrf }
end))
http.route("POST /changed", access.guard("operator", function(req)
  assert(access.audit(req, "thing.change", { id = 7 }))
  return { json = { ok = true } }
end))

local function cookies_of(answer)
  local jar = {}
  for line in (answer.headers["set-cookie"] or ""):gmatch "[^\n]+" do
    jar[#jar + 1] = line:match "^[^;]+"
  end
  return table.concat(jar, "; ")
end

local function sign_in(name, password, more)
  local page = assert(http.get(base .. "/console/sign-in"))
  local cookie = cookies_of(page)
  local fields = { csrf = page.body:match 'name="csrf" value="([^"]+)"', name = name,
    password = password }
  for key, value in pairs(more or {}) do
    fields[key] = value
  end
  return assert(http.post(base .. "/console/sign-in", { form = fields,
    headers = { cookie = cookie } })), cookie
end

t.test("users are added, listed and removed", function()
  t.ok(users.add(WHO, "ada", "operator", PASSWORD))
  t.ok(users.add(WHO, "vic", "viewer", PASSWORD .. "2"))
  local _, message, code = users.add(WHO, "ada", "viewer", PASSWORD)
  t.eq(code, "EXISTS", message)
  t.eq(#users.list(), 2)
  t.eq(users.list()[1].role, "operator")
end)

t.test("without a session: 401 for a program, the sign-in page for a browser", function()
  local answer = assert(http.get(base .. "/seen"))
  t.eq(answer.status, 401)
  t.eq(answer:json().code, "UNAUTHENTICATED")
  t.has(answer.headers["www-authenticate"], "Bearer")
  answer = assert(http.get(base .. "/seen?a=b%20c", { headers = { accept = "text/html" } }))
  t.eq(answer.status, 303)
  t.eq(answer.headers.location, "/console/sign-in?next=%2Fseen%3Fa%3Db%2520c")
end)

t.test("a sign-in gives a session, whose token changes need", function()
  local answer = sign_in("ada", PASSWORD, { next = "/seen?x=1" })
  t.eq(answer.status, 303)
  t.eq(answer.headers.location, "/seen?x=1")
  t.has(answer.headers["set-cookie"], "; HttpOnly; SameSite=Lax")
  local cookie = { cookie = cookies_of(answer) }
  t.eq(assert(http.get(base .. "/seen", { headers = cookie })):json(),
    { name = "ada", role = "operator", via = "session" })
  local token = assert(http.get(base .. "/token", { headers = cookie })).body
  local function change(headers, options)
    headers.cookie = cookie.cookie
    options = options or {}
    options.headers = headers
    return assert(http.post(base .. "/changed", options))
  end
  t.eq(change({}):json().code, "CSRF")
  t.eq(change({ ["x-csrf-token"] = token:reverse() }).status, 403)
  t.eq(change({ ["x-csrf-token"] = token }).status, 200)
  t.eq(change({}, { form = { csrf = token } }).status, 200)
  local parts = '--x\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n%s\r\n--x--\r\n'
  local multipart = { ["content-type"] = "multipart/form-data; boundary=x" }
  t.eq(change(multipart, { body = parts:format(token) }).status, 200)
  t.eq(change(multipart, { body = parts:format(token:reverse()) }).status, 403)
  t.eq(change(multipart, { body = "--x" }).status, 403)
  local rows = assert(access.audited { what = "thing" })
  t.eq(#rows, 3)
  t.eq(rows[1].who, "ada")
  t.eq(rows[1].fields, { id = 7 })
  answer = assert(http.post(base .. "/console/sign-out", { form = { csrf = token },
    headers = cookie }))
  t.eq(answer.status, 303)
  t.eq(assert(http.get(base .. "/seen", { headers = cookie })).status, 401)
end)

t.test("a wrong password and a wrong name read the same", function()
  local one, two = sign_in("ada", "not this one"), sign_in("nobody", "not this one")
  t.eq(one.status, 401)
  t.eq(two.status, 401)
  t.has(one.body, "The name or the password is not right.")
  local function stripped(answer)
    return (answer.body:gsub('value="[^"]*"', ""):gsub('nonce="[^"]*"', ""))
  end
  t.eq(stripped(one), stripped(two))
end)

t.test("tokens have a role and an end", function()
  local text = assert(users.add_token(WHO, "ci", "operator", 60000))
  local headers = { authorization = "Bearer " .. text }
  t.eq(assert(http.get(base .. "/seen", { headers = headers })):json().via, "token")
  t.eq(assert(http.post(base .. "/changed", { headers = headers })).status, 200)
  local viewer = assert(users.add_token(WHO, "reader", "viewer", 60000))
  headers = { authorization = "Bearer " .. viewer }
  t.eq(assert(http.post(base .. "/changed", { headers = headers })):json().code, "FORBIDDEN")
  headers = { authorization = "Bearer " .. viewer:sub(1, -2) .. "x" }
  t.eq(assert(http.get(base .. "/seen", { headers = headers })).status, 401)
  local old = assert(users.add_token(WHO, "old", "admin", 0))
  headers = { authorization = "Bearer " .. old }
  t.eq(assert(http.get(base .. "/seen", { headers = headers })).status, 401)
end)

t.test("the link of dev signs in once", function()
  local answer = assert(http.get(base .. links[1]))
  t.eq(answer.status, 303)
  local cookie = { cookie = cookies_of(answer) }
  t.eq(assert(http.get(base .. "/seen", { headers = cookie })):json(),
    { name = "dev", role = "admin", via = "dev" })
  t.eq(assert(http.get(base .. links[1])).status, 403)
  t.eq(#links, 2)
end)
