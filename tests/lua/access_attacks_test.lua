--- What somebody tries who has no business here, measure by measure (docs/security.md).
local access = require "sipeat.access"
local crypto = require "sipeat.core.crypto"
local http = require "sipeat.http"
local limits = require "sipeat.access_limit"
local proxy = require "sipeat.access_proxy"
local session = require "sipeat.access_session"
local store = require "sipeat.access_store"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local users = require "sipeat.access_users"

access.serve()
local server = assert(http.listen("127.0.0.1:0"))
local base = server.url
local WHO = { name = "test", via = "program" }
local PASSWORD = "correct horse battery"
assert(users.add(WHO, "ada", "operator", PASSWORD))

http.route("GET /seen", access.guard("viewer", function(req)
  return { json = { name = req.user.name, csrf = req.user.csrf } }
end))
local changed = 0
http.route("POST /change", access.guard("operator", function()
  changed = changed + 1
  return { status = 204 }
end))
http.route("GET /form", function(req)
  local form = assert(access.form(req))
  return access.page(form.token, { headers = { ["set-cookie"] = form.cookie } })
end)
http.route("POST /form", function(req)
  local key, message, code = access.check_form(req)
  return { status = key and 200 or 403, json = { key = key, message = message, code = code } }
end)

-- f(...) while table[name] is another function.
local function with(holder, name, other, f, ...)
  local before = holder[name]
  holder[name] = other
  local results = table.pack(pcall(f, ...))
  holder[name] = before
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

-- f() under these variables of the environment.
local function under(variables, f)
  local real = sys.getenv
  return with(sys, "getenv", function(name)
    return variables[name] or real(name)
  end, f)
end

local function cookie_of(answer)
  return (answer.headers["set-cookie"] or ""):match "^[^;]*"
end

-- The sign-in as a browser does it; `change` may spoil what is sent.
local function sign_in(name, password, change)
  local page = assert(http.get(base .. "/console/sign-in"))
  local sent = {
    headers = { cookie = cookie_of(page) },
    form = { csrf = page.body:match 'name="csrf" value="([^"]+)"', name = name,
      password = password },
  }
  if change then
    change(sent)
  end
  return assert(http.post(base .. "/console/sign-in", sent))
end

local function signed_in()
  local answer = sign_in("ada", PASSWORD)
  t.eq(answer.status, 303)
  return cookie_of(answer)
end

local function seen(cookie)
  return assert(http.get(base .. "/seen", { headers = { cookie = cookie } }))
end

-- --- forms ---

t.test("the sign-in is refused without the token of its own page", function()
  local refused = {
    function(sent) sent.form.csrf = nil end,
    function(sent) sent.headers.cookie = nil end,
    function(sent) sent.headers.cookie = "sipeat_form=" .. sys.uuid() end,
    function(sent) sent.form.csrf = sent.form.csrf:gsub(".$", "g") end,
    function(sent) sent.form.csrf = sent.form.csrf:gsub("^%x", "0f") end,
  }
  for i, change in ipairs(refused) do
    local answer = sign_in("ada", PASSWORD, change)
    t.eq(answer.status, 403, "case " .. i)
    t.ok(not (answer.headers["set-cookie"] or ""):find("session", 1, true))
  end
end)

t.test("a visitor's form has one key, only in its browser, for a day", function()
  local page = assert(http.get(base .. "/form"))
  local cookie, token = cookie_of(page), page.body
  local function send(given, from)
    return assert(http.post(base .. "/form", { form = { csrf = given },
      headers = { cookie = from } })):json()
  end
  local key = send(token, cookie).key
  t.ok(key)
  t.eq(send(token, cookie).key, key, "a double submit")
  t.eq(assert(http.get(base .. "/form", { headers = { cookie = cookie } })).headers["set-cookie"],
    nil, "the browser keeps its cookie")
  t.eq(send(token, nil).code, "CSRF")
  t.eq(send(token, "sipeat_form=" .. sys.uuid()).code, "CSRF", "another browser")
  t.eq(send(sys.uuid() .. token:sub(37), cookie).code, "CSRF", "a key of one's own")
  t.eq(send(nil, cookie).code, "CSRF")
  local now = sys.now_ms
  with(sys, "now_ms", function()
    return now() + 24 * 60 * 60 * 1000 + 1
  end, function()
    t.eq(send(token, cookie).code, "CSRF", "too late")
  end)
end)

t.test("what a session changes needs its own token, wherever it is sent from", function()
  local one, two = signed_in(), signed_in()
  local token = seen(one):json().csrf
  t.ok(token ~= seen(two):json().csrf)
  local function change(cookie, given)
    return assert(http.post(base .. "/change", {
      headers = { cookie = cookie, ["x-csrf-token"] = given },
    })).status
  end
  t.eq(change(one, nil), 403)
  t.eq(change(one, ""), 403)
  t.eq(change(two, token), 403, "the token of another session")
  t.eq(changed, 0)
  t.eq(change(one, token), 204)
  t.eq(changed, 1)
end)

-- --- sessions ---

t.test("a sign-in gives a new session and ends the one before", function()
  local before = signed_in()
  local answer = sign_in("ada", PASSWORD, function(sent)
    sent.headers.cookie = sent.headers.cookie .. "; " .. before
  end)
  local after = cookie_of(answer)
  t.ok(after ~= before)
  t.eq(seen(before).status, 401)
  t.eq(seen(after).status, 200)
  local chosen = "sipeat_session=" .. ("a"):rep(64)
  answer = sign_in("ada", PASSWORD, function(sent)
    sent.headers.cookie = sent.headers.cookie .. "; " .. chosen
  end)
  t.ok(cookie_of(answer) ~= chosen)
  t.eq(seen(chosen).status, 401, "a session that somebody else chose")
end)

t.test("a session ends when it is not used, and at last in any case", function()
  local idle, longest = session.lifetimes()
  local cookie = signed_in()
  assert(store.exec("UPDATE access_sessions SET seen_ms = seen_ms - ?", idle - 5000))
  t.eq(seen(cookie).status, 200)
  assert(store.exec("UPDATE access_sessions SET seen_ms = seen_ms - ?", idle))
  t.eq(seen(cookie).status, 401)
  cookie = signed_in()
  assert(store.exec("UPDATE access_sessions SET created_ms = created_ms - ?", longest))
  t.eq(seen(cookie).status, 401)
end)

t.test("a user has at most twenty sessions", function()
  local first = signed_in()
  for _ = 1, 20 do
    assert(session.begin({ headers = {}, client = "127.0.0.1" },
      { name = "ada", role = "operator", via = "session" }))
  end
  t.eq(seen(first).status, 401)
  t.eq(store.first("SELECT COUNT(*) AS n FROM access_sessions WHERE name = 'ada'").n, 20)
end)

t.test("a stream ends with the session that reads it", function()
  local stop = task.channel(1)
  http.route("GET /stream", access.guard("viewer", function()
    return http.sse(function(send)
      while send "tick" do
        stop:recv "5ms"
      end
    end)
  end))
  local cookie, chunks, real = signed_in(), 0, sys.monotonic_ms
  local ahead = 0
  with(sys, "monotonic_ms", function()
    return real() + ahead
  end, function()
    local answer = assert(http.get(base .. "/stream", {
      headers = { cookie = cookie }, timeout = "20s",
      stream = function()
        chunks = chunks + 1
        if chunks == 3 then -- a look at the session later: it is still there
          ahead = 61 * 1000
        elseif chunks == 6 then
          assert(store.exec "DELETE FROM access_sessions")
          ahead = 122 * 1000
        end
      end,
    }))
    t.eq(answer.status, 200)
  end)
  t.ok(chunks >= 6)
end)

-- --- guessing ---

t.test("a wrong name costs the same one hash as a wrong password", function()
  local hashes = {}
  local verify = crypto.password_verify
  local function counted(hash, password)
    hashes[#hashes + 1] = hash:match "^%$argon2id%$[^$]*%$[^$]*"
    return verify(hash, password)
  end
  local function cost(name, password)
    hashes = {}
    t.eq(with(crypto, "password_verify", counted, users.check, name, password), false)
    return hashes
  end
  local one = { "$argon2id$v=19$m=65536,t=3,p=1" }
  t.eq(cost("ada", "not this one"), one)
  t.eq(cost("nobody", "not this one"), one)
  t.eq(cost("ada", ("x"):rep(5000)), one, "longer than any password")
  t.eq(cost("", ""), one)
end)

t.test("a hash of older parameters becomes one of today's at the next sign-in", function()
  assert(users.add(WHO, "old", "viewer", PASSWORD))
  local weak = "$argon2id$v=19$m=8,t=1,p=1$GoCDMLdzZXL3j8rkHvIVCQ$"
    .. "nXhAllcnbIE0GN8LnoTwUKuQPEtFfIeSqKzCV+O1B0Y"
  assert(store.exec("UPDATE access_users SET password = ? WHERE name = 'old'", weak))
  local function kept()
    return store.first("SELECT password FROM access_users WHERE name = 'old'").password
  end
  t.eq(users.check("old", "a wrong password"), false)
  t.eq(kept(), weak)
  t.eq(users.check("old", PASSWORD).name, "old")
  t.has(kept(), "$argon2id$v=19$m=65536,t=3,p=1$")
  t.eq(users.check("old", PASSWORD).name, "old")
end)

t.test("secrets are compared in constant time", function()
  local compared, equal = 0, sys.equal
  local function counted(a, b)
    compared = compared + 1
    return equal(a, b)
  end
  local cookie = signed_in()
  local page = assert(http.get(base .. "/form"))
  local text = assert(users.add_token(WHO, "timed", "viewer", 60000))
  with(sys, "equal", counted, function()
    assert(http.post(base .. "/change", { headers = { cookie = cookie,
      ["x-csrf-token"] = "wrong" } }))
    t.eq(compared, 1, "the token of a session")
    assert(http.post(base .. "/form", { form = { csrf = page.body },
      headers = { cookie = cookie_of(page) } }))
    t.eq(compared, 2, "the token of a form")
    assert(http.get(base .. "/seen", { headers = { authorization = "Bearer " .. text } }))
    t.eq(compared, 3, "a token of a program")
  end)
end)

t.test("guesses at one name have to wait longer and longer, whoever makes them", function()
  assert(users.add(WHO, "target", "viewer", PASSWORD))
  for _ = 1, 5 do
    t.eq(sign_in("target", "a wrong password").status, 401)
  end
  local answer = sign_in("target", PASSWORD)
  t.eq(answer.status, 429, "also the right one")
  t.eq(answer.headers["retry-after"], "1")
  t.eq(sign_in("TARGET", PASSWORD).status, 429)
  t.eq(sign_in("ada", PASSWORD).status, 303, "others are not concerned")
end)

t.test("guesses from one address have to wait, at whatever names", function()
  local refused
  for i = 1, 30 do
    local answer = with(crypto, "password_verify", function()
      return false
    end, sign_in, "name" .. i, "a wrong password", function(sent)
      sent.headers["x-forwarded-for"] = "203.0.113." .. i -- of no declared proxy
    end)
    refused = refused or answer.status == 429 and i
  end
  t.ok(refused and refused <= 21, "refused at " .. tostring(refused))
end)

t.test("an address of version 6 stands for its network", function()
  local network_of = require("sipeat.access_sign_in").network_of
  local addresses = {}
  for i, address in ipairs { "203.0.113.7", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::1",
    "2001:db8::1", "2001:db8::5:6:7:8", "::1", "2001:db8:1:2:3::" } do
    addresses[i] = network_of(address)
  end
  t.eq(addresses, { "203.0.113.7", "2001:db8:1:2", "2001:db8:1:2", "2001:db8:0:0",
    "2001:db8:0:0", "0:0:0:0", "2001:db8:1:2" })
end)

t.test("pauses double up to the longest, and what is kept is bounded", function()
  local now = 1000
  with(sys, "monotonic_ms", function()
    return now
  end, function()
    local limit = limits.new { free = 2, first_ms = 1000, longest_ms = 5000 }
    local pauses = {}
    t.ok(limit:take "x")
    for i = 1, 5 do
      t.ok(limit:take "x")
      local _, left = limit:take "x"
      pauses[i] = left
      now = now + left
    end
    t.eq(pauses, { 1000.0, 2000.0, 4000.0, 5000.0, 5000.0 })
    now = now + 60 * 60 * 1000 + 1
    t.ok(limit:take "x")
    t.ok(limit:take "x", "it is forgotten after an hour")
    for i = 1, 20000 do
      limit:take("name" .. i)
    end
    t.ok(limit.count <= 10000)
  end)
end)

t.test("of many who sign in at once some are told to come again", function()
  local busy, tasks, gate = 0, {}, task.channel(0)
  with(crypto, "password_verify", function()
    gate:recv()
    return false
  end, function()
    for i = 1, 40 do
      tasks[i] = task.spawn(function()
        local _, _, code = users.check("ada", "a wrong password")
        busy = busy + (code == "QUEUE_FULL" and 1 or 0)
      end)
    end
    while busy < 8 do
      task.sleep "1ms"
    end
    gate:close()
    for _, one in ipairs(tasks) do
      one:join()
    end
  end)
  t.eq(busy, 8)
end)

-- --- what is sent back ---

t.test("after the sign-in one stays on this server", function()
  for _, target in ipairs { "//evil.example", "https://evil.example", "/\\evil.example", "evil",
    "/x\r\nset-cookie: a=b", "/console/sign-in?code=1", "/é", "" } do
    local page = assert(http.get(base .. "/console/sign-in", { query = { next = target } }))
    t.eq(page.body:match 'name="next" value="([^"]*)"', "/console", target)
  end
  local page = assert(http.get(base .. "/console/sign-in", { query = { next = "/a?b=c&d=%20" } }))
  t.eq(page.body:match 'name="next" value="([^"]*)"', "/a?b=c&amp;d=%20")
end)

t.test("what was typed comes back as text, on a page that runs nothing inline", function()
  local answer = sign_in('"><script>alert(1)</script>', "x", function(sent)
    sent.form.csrf = nil
  end)
  t.ok(not answer.body:find("<script", 1, true))
  t.has(answer.body, "&lt;script&gt;")
  local policy = answer.headers["content-security-policy"]
  t.ok(not policy:find("unsafe", 1, true))
  t.has(policy, "default-src 'none'")
  t.has(policy, "frame-ancestors 'none'")
  t.has(policy, "nonce-" .. answer.body:match '<style nonce="([^"]+)"')
  t.eq({ answer.headers["x-frame-options"], answer.headers["x-content-type-options"],
    answer.headers["referrer-policy"], answer.headers["cache-control"] },
    { "DENY", "nosniff", "same-origin", "no-store" })
  t.ok(access.nonce() ~= access.nonce())
end)

-- --- proxies ---

http.route("GET /proxied", function(req)
  local user = proxy.user(req)
  return { json = { client = req.client, secure = req.secure, is_local = proxy.is_local(req),
    role = user and user.role or "nobody" } }
end)

t.test("headers of a proxy count from declared addresses only", function()
  local behind = assert(http.listen("127.0.0.1:0", { proxies = { "127.0.0.1" } }))
  local ops = { ["x-user"] = "ada", ["x-groups"] = "staff, ops", ["x-forwarded-proto"] = "https",
    ["x-forwarded-for"] = "1.1.1.1, 203.0.113.9" }
  local function ask(from, headers)
    return assert(http.get(from.url .. "/proxied", { headers = headers })):json()
  end
  local function role(headers)
    return ask(behind, headers).role
  end
  under({ SIPEAT_PROXY_USER = "X-User", SIPEAT_PROXY_GROUPS = "X-Groups",
    SIPEAT_PROXY_ROLES = "ops=operator,user:eve=admin" }, function()
    t.eq(ask(behind, ops), { client = "203.0.113.9", secure = true, is_local = false,
      role = "operator" })
    t.eq(ask(server, ops), { client = "127.0.0.1", secure = false, is_local = false,
      role = "nobody" }, "spoofed")
    t.eq(ask(server, {}).is_local, true)
    t.eq(ask(behind, {}).is_local, false, "a proxy on this machine is not this machine")
    t.eq(role { ["x-user"] = "eve" }, "admin")
    t.eq(role { ["x-user"] = "bob", ["x-groups"] = "other" }, "nobody")
    t.eq(role { ["x-user"] = "ada, eve", ["x-groups"] = "ops" }, "nobody", "two names")
    t.eq(role { ["x-groups"] = "ops" }, "nobody", "no name")
  end)
  t.eq(role(ops), "nobody", "no header is declared")
  behind:stop()
end)

-- --- the audit, and what viewers see ---

t.test("rows of the audit are not altered", function()
  assert(access.audit({ name = "ada", role = "admin", via = "session" }, "topic.delete",
    { name = "orders" }))
  local row = access.audited({ what = "topic" })[1]
  t.eq({ row.who, row.via, row.what, row.fields }, { "ada", "session", "topic.delete",
    { name = "orders" } })
  local done, _, code = store.exec "UPDATE access_audit SET who = 'bob'"
  t.eq({ done, code }, { nil, "SQL_CONSTRAINT" })
  assert(access.audit({ name = "ada" }, "big", { text = ("x"):rep(20000) }))
  t.eq(access.audited({ what = "big" })[1].fields.text, nil)
  t.fails(function()
    access.audit({}, "x")
  end, "a request with a user")
end)

t.test("viewers see covered what is personal, others see it", function()
  local payload = { id = 7, data = { email = "ada@example.org", customer_name = "Ada Lovelace",
    phone = "+49 170 1234567", notes = "call +49 170 1234567 or mail ada@example.org",
    items = { { name = "Cola", amount = 150 } }, card = "4242 4242 4242 4242",
    customer = { name = "Ada", city = "Ulm" } } }
  local covered = { id = 7, data = { email = "a***@***.org", customer_name = "A***",
    phone = "***67", notes = "call ***67 or mail a***@***.org",
    items = { { name = "C***", amount = 150 } }, card = "***4242",
    customer = { name = "A***", city = "Ulm" } } }
  local function as(role)
    return { user = { name = "x", role = role } }
  end
  t.eq(access.seen(as "viewer", payload), covered)
  t.eq(access.seen(as "operator", payload), payload)
  t.eq(access.seen({}, payload), covered, "nobody in particular")
  t.eq(access.seen(as "viewer", '{"email":"a@b.de"}'), '{"email":"a***@***.de"}')
  t.eq(access.seen(as "viewer", "order 1700000000000 of a@b.de"),
    "order 1700000000000 of a***@***.de")
  access.mask_rules { ["data.items.name"] = false, ["data.notes"] = "text", city = "text" }
  local ruled = access.seen(as "viewer", payload).data
  t.eq({ ruled.items[1].name, ruled.notes, ruled.customer.city }, { "Cola", "***", "***" })
  access.mask_rules {}
  t.fails(function()
    access.mask_rules { x = "blur" }
  end, "x = \"blur\"")
  t.eq(access.mask("Ada", "name"), "A***")
  t.eq(access.mask "a@b.de, <c.d+e@f-g.co.uk>; @x @@ a@b @c.de x@y.z@w.de öl@bär.de",
    "a***@***.de, <c***@***.uk>; @x @@ a@b @c.de x***@***.de ö***@***.de")
end)

t.test("no text takes long to cover", function()
  for _, part in ipairs { "a", "a@", "1", "1(", "+1 ", "a.b@c-", "+", "@" } do
    t.ok(access.mask(part:rep(200000) .. "@")) -- or the script is stopped for running too long
    task.sleep "0ms"
  end
end)

t.test("what is covered in the middle of a character leaves no half of it", function()
  for length = 60, 70 do
    local masked = access.mask(("\u{ebaa}"):rep(length // 3) .. ("x"):rep(length % 3) .. "@b.de")
    t.ok(utf8.len(masked), masked)
    t.ok(not masked:find("@b", 1, true))
  end
end)
