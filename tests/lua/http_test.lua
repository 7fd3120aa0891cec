local env = require "sipeat.env"
local http = require "sipeat.http"
local json = require "sipeat.json"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local base = "http://127.0.0.1:" .. t.server "bad_http.py"

local function echo(options, path)
  options.url = base .. (path or "/echo")
  return assert(http.request(options)):json()
end

local function header(answer, name)
  for _, pair in ipairs(answer.headers) do
    if pair[1]:lower() == name then
      return pair[2]
    end
  end
end

t.test("a response has status, headers by lower-case name, and body", function()
  local answer = assert(http.get(base .. "/status/200"))
  t.eq(answer.status, 200)
  t.eq(answer.headers["retry-after"], "2")
  t.eq(answer:json(), { status = 200 })
  t.eq(answer:ok(), true)
  for _, status in ipairs { 401, 404, 429, 500, 503 } do
    answer = assert(http.get(base .. "/status/" .. status))
    t.eq(answer.status, status)
    t.eq(answer:ok(), false)
  end
  answer = assert(http.get(base .. "/cookies"))
  t.eq(answer.headers["set-cookie"], "a=1\nb=2")
  t.eq(answer.headers.vary, "x, y")
end)

t.test("a body is given as text, json or form", function()
  local answer = echo { method = "PUT", body = "plain" }
  t.eq(answer.method, "PUT")
  t.eq(answer.body, "plain")
  t.eq(header(answer, "content-type"), nil)
  answer = echo { method = "POST", json = { a = 1, list = { 1, 2 } } }
  t.eq(header(answer, "content-type"), "application/json")
  t.eq(json.decode(answer.body), { a = 1, list = { 1, 2 } })
  answer = echo { method = "POST", form = { b = "x y&z", a = { 1, 2 } } }
  t.eq(header(answer, "content-type"), "application/x-www-form-urlencoded")
  t.eq(answer.body, "a=1&a=2&b=x%20y%26z")
  answer = echo { method = "POST", json = {}, headers = { ["Content-Type"] = "application/vnd.x" } }
  t.eq(header(answer, "content-type"), "application/vnd.x")
  answer = echo { method = "POST" }
  t.eq(header(answer, "content-length"), "0")
end)

t.test("query, headers and secrets are sent as meant", function()
  local key = env.conceal "s3cret"
  local answer = echo({
    query = { select = "*", email = "eq.a+b@x.de", flag = true },
    headers = { authorization = key, ["X-Many"] = { "1", "2" }, ["X-Number"] = 5 },
  }, "/echo?first=1")
  t.eq(answer.path, "/echo?first=1&email=eq.a%2Bb%40x.de&flag=true&select=%2A")
  t.eq(header(answer, "authorization"), "s3cret")
  t.eq(header(answer, "x-number"), "5")
  t.ok(header(answer, "user-agent"):find "^sipeat/%d")
  t.eq(assert(http.get(env.conceal(base .. "/status/200"))).status, 200)
end)

t.test("failures of the world have codes, and no secret is in their message", function()
  local rows = {
    ["/hang"] = "ETIMEDOUT", ["/hang-head"] = "ETIMEDOUT", ["/hang-body"] = "ETIMEDOUT",
    ["/close"] = "ECONNRESET", ["/close-body"] = "ECONNRESET", ["/garbage"] = "BAD_RESPONSE",
    ["/bytes/10000000"] = "TOO_BIG", ["/bomb"] = "TOO_BIG", ["/endless-head"] = "TOO_BIG",
  }
  for path, expected in pairs(rows) do
    local url = base:gsub("//", "//user:hidden@") .. path .. "?token=hidden"
    local answer, message, code = http.get(url, { timeout = "500ms" })
    t.eq(answer, nil, path)
    t.eq(code, expected, path)
    t.ok(not message:find("hidden", 1, true), message)
    t.ok(not message:find(path, 1, true), message)
    t.has(message, base)
  end
  local answer, message, code = http.post("http://127.0.0.1:1/x", { json = {} })
  t.eq(answer, nil)
  t.eq(code, "ECONNREFUSED")
  t.has(message, "http POST http://127.0.0.1:1: connection refused")
end)

t.test("a malformed URL is a failure, since it comes from settings", function()
  local urls = { "", "example.com", "ftp://example.com/", "http://exa mple.com", "http://h\n/" }
  for _, url in ipairs(urls) do
    local answer, _, code = http.get(url)
    t.eq(answer, nil)
    t.eq(code, "INVALID_URL")
  end
end)

t.test("a value that would split the request is refused", function()
  for _, value in ipairs { "a\r\nx: y", "a\nb", "a\0b" } do
    local answer, message, code = http.get(base, { headers = { ["x-id"] = value } })
    t.eq(answer, nil)
    t.eq(code, "EINVAL")
    t.has(message, "header x-id")
  end
  local answer, _, code = http.get(base, { headers = { ["content-length"] = "5" } })
  t.eq(answer, nil)
  t.eq(code, "EINVAL")
  answer, _, code = http.post(base, { json = { f = "\xff" } })
  t.eq(answer, nil)
  t.eq(code, "BAD_DATA")
end)

t.test("the caller's mistakes throw at the caller's line", function()
  local function mistake(part, f)
    t.has(t.fails(f, part), "http_test.lua")
  end
  mistake("did you mean timeout", function() http.get(base, { timeut = "1s" }) end)
  mistake("url is required", function() http.request {} end)
  mistake("duration", function() http.get(base, { timeout = 5 }) end)
  mistake("one of body", function() http.post(base, { body = "x", json = {} }) end)
  mistake("names are strings", function() http.get(base, { headers = { "y" } }) end)
  t.fails(function() http.get(base, { headers = { x = print } }) end, "header x is a function")
end)

t.test("redirects are off, and followed as often as allowed", function()
  t.eq(assert(http.get(base .. "/redirect/1")).status, 302)
  t.eq(assert(http.get(base .. "/redirect/2", { redirects = 2 })).status, 200)
  local answer, _, code = http.get(base .. "/redirect/3", { redirects = 2 })
  t.eq(answer, nil)
  t.eq(code, "TOO_MANY_REDIRECTS")
  answer, _, code = http.get(base .. "/redirect-to-file", { redirects = 5 })
  t.eq(answer, nil)
  t.ok(code)
end)

t.test("a stream is read piece by piece, to its end or as long as wanted", function()
  local pieces, size = 0, 0
  local answer = assert(http.get(base .. "/bytes/10000000", {
    stream = function(chunk)
      pieces, size = pieces + 1, size + #chunk
    end,
  }))
  t.eq(answer.status, 200)
  t.eq(answer.body, "")
  t.eq(size, 10000000)
  t.ok(pieces > 1)
  size = 0
  answer = assert(http.get(base .. "/bytes/10000000", {
    stream = function(chunk)
      size = size + #chunk
      return size < 100000
    end,
  }))
  t.eq(answer.stopped, true)
  t.ok(size < 2000000)
  local nothing, _, code = http.get(base .. "/bytes/10000000", {
    max_body_bytes = "1mb",
    stream = function() end,
  })
  t.eq(nothing, nil)
  t.eq(code, "TOO_BIG")
  nothing, _, code = http.get(base .. "/hang-body", { timeout = "300ms", stream = function() end })
  t.eq(nothing, nil)
  t.eq(code, "ETIMEDOUT")
  t.fails(function()
    http.get(base .. "/bytes/1000", { stream = function() error "not wanted" end })
  end, "not wanted")
end)

t.test("many requests run side by side", function()
  local functions = {}
  for i = 1, 50 do
    functions[i] = function() return http.get(base .. "/slow/10") end
  end
  local before = task.monotonic_ms()
  local answers = assert(task.gather(functions))
  for i = 1, 50 do
    t.eq(#answers[i].body, 60)
  end
  t.ok(task.monotonic_ms() - before < 5000)
end)

t.test("a task that is stopped while it waits unwinds at once", function()
  local code
  local child = task.spawn(function()
    local _, _, why = http.get(base .. "/hang")
    code = why
  end)
  task.sleep("30ms")
  child:kill()
  child:join()
  t.eq(code, "ECANCELED")
  local answer, _, why = task.with_timeout("50ms", http.get, base .. "/hang")
  t.eq(answer, nil)
  t.eq(why, "ETIMEDOUT")
end)

t.test("a second task at one call is told that it is busy", function()
  local core = require "sipeat.core.http"
  local request = { method = "GET", url = base .. "/hang", timeout_ms = 5000 }
  local call <close> = assert(core.start(request))
  local first = task.spawn(function() return call:all() end)
  task.sleep("10ms")
  local _, _, code = call:head()
  t.eq(code, "EBUSY")
  call:close()
  local _, _, closed = first:join()
  t.eq(closed, "CLOSED")
  _, _, code = call:read()
  t.eq(code, "CLOSED")
end)

t.test("requests that nobody waits for are cleaned up by the collector", function()
  local core = require "sipeat.core.http"
  for _ = 1, 50 do
    assert(core.start { method = "GET", url = base .. "/slow/3" })
  end
  collectgarbage()
  collectgarbage()
  t.eq(assert(http.get(base .. "/status/200")).status, 200)
end)

-- Left running on purpose: the end of the program has to cope with a request under way.
task.spawn(function() http.get(base .. "/hang") end)
task.sleep "20ms"
