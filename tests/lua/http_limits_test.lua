--- What the HTTP server does for every answer and against every request: tags, compression, assets,
--- multipart bodies, sizes, rates and connections of a client, proxies that are trusted.
local core = require "sipeat.core.http"
local http = require "sipeat.http"
local httpd = require "sipeat.core.httpd"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local server = assert(http.listen("127.0.0.1:0", { max_body_bytes = "256kb" }))
local LONG = ("a line of text that repeats itself\n"):rep(100)
local HUGE = LONG:rep(40)

local function ask(path, headers, method)
  return assert(http.request { method = method, url = server.url .. path, headers = headers })
end

http.route("GET /long", function() return { text = LONG } end)
http.route("GET /huge", function() return { text = HUGE } end)
http.route("GET /short", function() return "short" end)
http.route("GET /bytes", function() return { body = LONG } end)
http.route("GET /fixed", function() return { text = LONG, headers = { etag = '"v7"' } } end)
http.route("GET /secret", function()
  return { text = LONG, headers = { ["cache-control"] = "no-store" } }
end)
http.route("GET /as-it-is", function()
  return { text = LONG, headers = { ["cache-control"] = "no-transform" } }
end)
http.route("POST /long", function() return { text = LONG } end)

local PLAIN = { ["accept-encoding"] = "identity" }

t.test("large answers of texts are compressed for clients that take that", function()
  for path, text in pairs { ["/long"] = LONG, ["/huge"] = HUGE } do
    local answer = ask(path)
    t.eq(answer.headers["content-encoding"], "gzip")
    t.eq(answer.headers.vary, "accept-encoding")
    t.eq(answer.body, text)
    answer = ask(path, PLAIN)
    t.eq(answer.headers["content-encoding"], nil)
    t.eq(answer.headers.vary, "accept-encoding")
    t.eq(answer.headers["content-length"], tostring(#text))
    t.eq(answer.body, text)
  end
  local lengths = {}
  for _, method in ipairs { "GET", "HEAD" } do
    local answer = ask("/huge", { ["accept-encoding"] = "gzip" }, method)
    t.eq(answer.headers["content-encoding"], "gzip", method)
    lengths[#lengths + 1] = answer.headers["content-length"]
  end
  t.eq(lengths[1], lengths[2])
  t.ok(tonumber(lengths[1]) < #HUGE / 10, lengths[1])
  t.eq(ask("/short").headers["content-encoding"], nil)
  t.eq(ask("/bytes").headers["content-encoding"], nil)
  t.eq(ask("/as-it-is").headers["content-encoding"], nil)
  t.eq(ask("/long", { ["accept-encoding"] = "gzip;q=0, br" }).headers["content-encoding"], nil)
  t.eq(ask("/long", { ["accept-encoding"] = "br, *" }).headers["content-encoding"], "gzip")
  t.eq(ask("/long", nil, "POST").headers["content-encoding"], "gzip")
end)

t.test("large answers have a tag, and a client that has it gets 304", function()
  local plain, packed = ask("/long", PLAIN).headers.etag, ask("/long").headers.etag
  t.ok(plain:find('^"%x+"$'), plain)
  t.ok(plain ~= packed)
  local again = ask("/long", { ["if-none-match"] = packed })
  t.eq(again.status, 304)
  t.eq(again.body, "")
  t.eq(again.headers.etag, packed)
  t.eq(again.headers.vary, "accept-encoding")
  t.eq(ask("/huge", { ["if-none-match"] = ask("/huge").headers.etag }).status, 304)
  t.eq(ask("/long", { ["if-none-match"] = '"other", W/' .. packed }).status, 304)
  t.eq(ask("/long", { ["if-none-match"] = '"other"' }).status, 200)
  t.eq(ask("/long", { ["if-none-match"] = "*" }).status, 304)
  t.eq(ask("/long", { ["if-none-match"] = packed }, "POST").status, 200)
  t.eq(ask("/fixed", PLAIN).headers.etag, '"v7"')
  t.eq(ask("/fixed").headers.etag, 'W/"v7"')
  t.eq(ask("/fixed", { ["if-none-match"] = '"v7"' }).status, 304)
  t.eq(ask("/secret").headers.etag, nil)
  t.eq(ask("/short").headers.etag, nil)
end)

t.test("a file of the program is kept for ever under the name with its hash", function()
  local path = http.asset("/console/page.css", "capture.css", { headers = { ["x-a"] = "b" } })
  local hash = sys.sha256(sys.asset "capture.css"):sub(1, 12)
  t.eq(path, ("/console/page.%s.css"):format(hash))
  local named, hashed = ask "/console/page.css", ask(path)
  for _, answer in ipairs { named, hashed } do
    t.eq(answer.body, sys.asset "capture.css")
    t.eq(answer.headers["content-type"], "text/css; charset=utf-8")
    t.eq(answer.headers["content-encoding"], "gzip")
    t.eq(answer.headers.etag, ('"%s-gz"'):format(hash))
    t.eq(answer.headers["x-a"], "b")
  end
  t.eq(named.headers["cache-control"], "no-cache")
  t.eq(hashed.headers["cache-control"], "public, max-age=31536000, immutable")
  t.eq(ask(path, { ["if-none-match"] = hashed.headers.etag }).status, 304)
  local plain = ask(path, PLAIN)
  t.eq(plain.body, sys.asset "capture.css")
  t.eq(plain.headers.etag, ('"%s"'):format(hash))
  t.eq(plain.headers.vary, "accept-encoding")
  t.fails(function() http.asset("/x", "none.css") end, "no file")
end)

local function multipart(parts, boundary)
  boundary = boundary or "----b0undary"
  return {
    headers = { ["content-type"] = 'multipart/form-data; boundary="' .. boundary .. '"' },
    body = ("--%s\r\n%s\r\n--%s--\r\n"):format(
      boundary, table.concat(parts, ("\r\n--%s\r\n"):format(boundary)), boundary),
  }
end

local function part(head, body)
  return "Content-Disposition: form-data; " .. head .. "\r\n\r\n" .. body
end

http.route("POST /upload", function(req)
  local form, message, code = req:multipart { max_parts = 3, max_part_bytes = "1kb" }
  if not form then
    return http.problem(code == "TOO_BIG" and 413 or 400, message)
  end
  return { json = form }
end)

local function upload(parts)
  return assert(http.post(server.url .. "/upload", multipart(parts)))
end

t.test("multipart bodies come as fields and files", function()
  local answer = upload {
    part('name="who"', "Ada"),
    part('name="a file"; filename="x \\"y\\".txt"\r\nContent-Type: text/plain', "one\r\ntwo\r\n"),
    part('name="empty"', ""),
  }
  t.eq(answer.status, 200, answer.body)
  local form = answer:json()
  t.eq(form.fields, { who = "Ada", empty = "" })
  t.eq(form.files["a file"].filename, 'x "y".txt')
  t.eq(form.files["a file"].type, "text/plain")
  t.eq(form.files["a file"].body, "one\r\ntwo\r\n")
  t.eq(#form.parts, 3)
end)

t.test("multipart bodies that are too large or not well-formed are told apart", function()
  t.eq(upload({ part('name="a"', ("x"):rep(1025)) }).status, 413)
  local four = {}
  for i = 1, 4 do
    four[i] = part(('name="%d"'):format(i), "x")
  end
  t.eq(upload(four).status, 413)
  t.eq(upload({ part('name="a"', "\xff") }).status, 400)
  t.eq(upload({ "Content-Disposition: form-data\r\n\r\nno name" }).status, 400)
  t.eq(upload({ part('name="a"; name="b"', "twice") }).status, 400)
  t.eq(upload({ part('name="a', "open") }).status, 400)
  t.eq(upload({ part('name="a"\r\nno colon', "x") }).status, 400)
  t.eq(upload({ "X: y\r\n\r\nno disposition" }).status, 400)
  t.eq(upload({ 'Content-Disposition: attachment; name="a"\r\n\r\nx' }).status, 400)
  local good = multipart { part('name="a"', "x") }
  local broken = {
    { good.body:sub(1, -6), good.headers },
    { "x" .. good.body, good.headers },
    { good.body, { ["content-type"] = "multipart/form-data" } },
    { good.body, { ["content-type"] = "multipart/mixed; boundary=x" } },
    { "", good.headers },
  }
  for i, one in ipairs(broken) do
    local answer = assert(http.post(server.url .. "/upload", { body = one[1], headers = one[2] }))
    t.eq(answer.status, 400, i)
  end
end)

t.test("a route has its own limit for bodies, below or above the server's", function()
  local seen = 0
  local function count(req)
    seen = seen + 1
    return tostring(#req.body)
  end
  http.route("POST /small/:id", { max_body_bytes = "1kb" }, count)
  http.route("POST /large/*", { max_body_bytes = "1mb" }, count)
  http.route("POST /usual", count)
  local function send(path, bytes)
    local answer, _, code = http.post(server.url .. path, { body = ("x"):rep(bytes) })
    return answer and answer.status or code
  end
  t.eq(send("/small/1", 1024), 200)
  t.eq(send("/small/1?a=b", 1025), 413)
  t.eq(send("/sm%61ll/1", 1025), 413)
  t.eq(send("/large/a/b", 1024 * 1024), 200)
  t.eq(send("/large/a/b", 1024 * 1024 + 1), 413)
  t.eq(send("/usual", 256 * 1024), 200)
  t.eq(send("/usual", 256 * 1024 + 1), 413)
  t.eq(seen, 3)
end)

t.test("a client that asks too often gets 429, and when to come back", function()
  http.route("GET /dear", { rate = "2/h" }, function() return "x" end)
  t.eq(ask("/dear").status, 200)
  t.eq(ask("/dear").status, 200)
  local refused = ask "/dear"
  t.eq(refused.status, 429)
  t.eq(refused:json().status, 429)
  local wait = tonumber(refused.headers["retry-after"])
  t.ok(wait > 1700 and wait <= 1801, wait)
  t.eq(ask("/short").status, 200)
  t.fails(function() http.route("GET /no", { rate = "often" }, print) end, "expected a number")

  local strict = assert(http.listen("127.0.0.1:0", { rate = "3/h" }))
  for _ = 1, 3 do
    t.eq(assert(http.get(strict.url .. "/short")).status, 200)
  end
  local answer = assert(http.get(strict.url .. "/short"))
  t.eq(answer.status, 429)
  t.eq(answer.headers["content-type"], "application/problem+json")
  t.ok(tonumber(answer.headers["retry-after"]) > 1000)
  t.ok(answer.headers["x-request-id"])
  strict:stop "1s"
end)

t.test("what a proxy says of its client counts when the proxy is trusted", function()
  local proxied = assert(http.listen("127.0.0.1:0", {
    proxies = { "127.0.0.0/8", "10.1.0.0/16" }, rate = "5/h",
  }))
  http.route("GET /who", function(req) return { json = { req.remote, req.client, req.secure } } end)
  local function who(url, forwarded, proto)
    return assert(http.get(url .. "/who", {
      headers = { ["x-forwarded-for"] = forwarded, ["x-forwarded-proto"] = proto },
    }))
  end
  t.eq(who(server.url, "192.0.2.1", "https"):json(), { "127.0.0.1", "127.0.0.1", false })
  t.eq(who(proxied.url, "192.0.2.1", "https"):json(), { "127.0.0.1", "192.0.2.1", true })
  t.eq(who(proxied.url, "evil, 192.0.2.2, 10.1.2.3"):json(), { "127.0.0.1", "192.0.2.2", false })
  t.eq(who(proxied.url, "192.0.2.1, 2001:db8::7"):json(), { "127.0.0.1", "2001:db8::7", false })
  t.eq(who(proxied.url, "192.0.2.1, nonsense"):json(), { "127.0.0.1", "127.0.0.1", false })
  for _ = 1, 5 do
    who(proxied.url, "192.0.2.9")
  end
  t.eq(who(proxied.url, "192.0.2.9").status, 429)
  t.eq(who(proxied.url, "192.0.2.10").status, 200)
  proxied:stop "1s"
  local bad, message, code = http.listen("127.0.0.1:0", { proxies = { "10.0.0.0/40" } })
  t.eq(bad, nil)
  t.eq(code, "EINVAL")
  t.has(message, "not a network")
end)

t.test("a client has so many connections and no more", function()
  local few = assert(http.listen("127.0.0.1:0", { max_per_client = 2 }))
  http.route("GET /hold", function()
    task.sleep "400ms"
    return "held"
  end)
  local asked = {}
  for i = 1, 4 do
    asked[i] = task.spawn(function() return http.get(few.url .. "/hold") end)
  end
  local fine, refused = 0, 0
  for _, one in ipairs(asked) do
    local answer, _, code = one:join()
    fine = fine + (answer and answer.status == 200 and 1 or 0)
    refused = refused + (code == "ECONNRESET" and 1 or 0)
  end
  t.eq(fine, 2)
  t.eq(refused, 2)
  few:stop "1s"
end)

t.test("a query or a form that is not well-formed is 400, or says so", function()
  t.eq(ask("/short?a=%zz").status, 400)
  t.eq(ask("/short?a=%ff").status, 400)
  t.eq(ask("/short?" .. ("a&"):rep(1001)).status, 400)
  t.eq(ask("/short?a=b&%C3%A9=1").status, 200)
end)

t.test("a drain lets an answer that is being sent end, and cuts events that have no end", function()
  local draining = assert(http.listen("127.0.0.1:0"))
  http.route("GET /parts", function()
    return { stream = function(write)
      for i = 1, 5 do
        write(tostring(i))
        task.sleep "30ms"
      end
    end }
  end)
  http.route("GET /endless", function()
    return http.sse(function(send)
      while send "tick" do
        task.sleep "20ms"
      end
    end)
  end)
  local parts = task.spawn(function() return http.get(draining.url .. "/parts") end)
  local endless = task.spawn(function() return http.get(draining.url .. "/endless") end)
  task.sleep "50ms"
  local before = task.monotonic_ms()
  t.eq(draining:stop "5s", true)
  t.ok(task.monotonic_ms() - before < 2000)
  t.eq(assert(parts:join()).body, "12345")
  local _, _, code = endless:join()
  t.eq(code, "ECONNRESET")
end)

t.test("texts for the binding that cannot be", function()
  t.fails(function() httpd.limiter(0, 1) end, "above 0")
  t.eq(core.decode "%zz", nil)
end)

t.test("a route with a role is for those who have it", function()
  local called = false
  http.route("GET /for-operators", { role = "operator" }, function()
    called = true
    return "secret"
  end)
  t.eq(ask("/for-operators").status, 401)
  t.eq(called, false)
end)
