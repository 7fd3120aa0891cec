--- HTTP in `sipeat test`: rules, answers that come late or not at all.
local http = require "sipeat.http"
local t = require "sipeat.testing"

t.test("answers by method and URL", function()
  t.http.on("GET", "https://a.example/items/*", { json = { id = 1 }, headers = { ETag = "x" } })
  t.http.on("*", "/anywhere", { status = 404, body = "none" })
  local answer = t.ok(http.get "https://a.example/items/7?full=1")
  t.eq({ answer.status, answer:json(), answer.headers.etag }, { 200, { id = 1 }, "x" })
  t.eq(t.ok(http.delete "http://b.example:81/anywhere").status, 404)
  local calls = t.http.calls()
  t.eq(#calls, 2)
  t.eq({ calls[1].path, calls[1].query.full }, { "/items/7", "1" })
  t.eq(#t.http.calls "/anywhere", 1)
end)

t.test("the body and the headers of a request choose the rule", function()
  t.http.on("POST", "/x", { body = "one" }, { body = { n = 1 } })
  t.http.on("POST", "/x", { body = "two" }, { body = function(r) return r.json.n == 2 end })
  t.http.on("POST", "/x", { body = "three" }, { headers = { ["X-N"] = "3" } })
  t.eq(t.ok(http.post("http://h/x", { json = { n = 1 } })).body, "one")
  t.eq(t.ok(http.post("http://h/x", { json = { n = 2 } })).body, "two")
  local third = { json = { n = 3 }, headers = { ["x-n"] = "3" } }
  t.eq(t.ok(http.post("http://h/x", third)).body, "three")
end)

t.test("a list of answers, and a function", function()
  t.http.on("GET", "/list", { { status = 500 }, { status = 503 }, { status = 200 } })
  local seen = {}
  for i = 1, 4 do
    seen[i] = t.ok(http.get "http://h/list").status
  end
  t.eq(seen, { 500, 503, 200, 200 })
  t.http.on("POST", "/echo", function(request)
    return { status = 201, body = request.form.a }
  end)
  local answer = t.ok(http.post("http://h/echo", { form = { a = "b c&d" } }))
  t.eq({ answer.status, answer.body }, { 201, "b c&d" })
end)

t.test("failures have the codes of the real client, and take their time", function()
  t.http.on("GET", "/refused", { fail = "refused" })
  t.http.on("GET", "/half", { fail = "half", delay = "3s" })
  t.http.on("GET", "/reset", { fail = "reset" })
  t.http.on("GET", "/none", { fail = "no answer" })
  t.http.on("GET", "/late", { delay = "10s", body = "too late" })
  local function code_of(path)
    local began = t.now_ms()
    local answer, _, code = http.get("http://h" .. path, { timeout = "5s" })
    t.eq(answer, nil)
    return { code, t.now_ms() - began }
  end
  t.eq(code_of "/refused", { "ECONNREFUSED", 0 })
  t.eq(code_of "/half", { "ECONNRESET", 3000 })
  t.eq(code_of "/reset", { "ECONNRESET", 0 })
  t.eq(code_of "/none", { "ETIMEDOUT", 5000 })
  t.eq(code_of "/late", { "ETIMEDOUT", 5000 })
  t.eq(t.ok(http.get("http://h/late", { timeout = "11s" })).body, "too late")
end)

t.test("a body that is streamed, and one that is too large", function()
  t.http.on("GET", "/big", { body = ("x"):rep(1000) })
  local bytes = 0
  t.ok(http.get("http://h/big", { stream = function(part)
    bytes = bytes + #part
  end }))
  t.eq(bytes, 1000)
  local answer, _, code = http.get("http://h/big", { max_body_bytes = "999b" })
  t.eq({ answer, code }, { nil, "TOO_BIG" })
end)

t.test("a flow's retries against a service that recovers", function()
  t.load "scripts/flows.lua"
  t.http.expect("PUT", "https://s.example/v1", { { status = 502 }, { fail = "refused" },
    { body = "fine" } }, { times = 3, body = { a = 1 } })
  local outcome = t.deliver("calls", nil, {
    type = "call", data = { method = "PUT", url = "https://s.example/v1", body = { a = 1 } },
  })
  t.eq(outcome.result, { status = 200, body = "fine" })
  t.eq(outcome.attempts, 3)
end)

t.test("a mistake in a rule is the test's", function()
  t.raises(function()
    t.http.on("GET", "/x", { stauts = 200 })
  end, "stauts")
  t.raises(function()
    t.http.on("GET", "/x", 200)
  end, "an answer is a table")
  t.raises(function()
    t.http.on("/x", {})
  end, "a method and a URL are needed")
end)

t.test("the script's own routes are called without a port", function()
  http.route("POST /orders/:id", function(req)
    if req:form().fail then
      error "on purpose"
    end
    local by = req.headers["x-by"]
    return { status = 201, json = { id = req.params.id, n = req.query.n, by = by } }
  end)
  http.route("GET /lines", function()
    return { stream = function(write)
      write "a"
      write "b"
    end }
  end)
  local server = t.ok(http.listen "127.0.0.1:0")
  t.has(server.url, "http://127.0.0.1:")
  local answer = t.request("POST", "/orders/7?n=2", {
    form = { a = "b" }, headers = { ["X-By"] = "me" },
  })
  t.eq({ answer.status, answer.json }, { 201, { id = "7", n = "2", by = "me" } })
  t.eq(answer.headers["content-type"], "application/json")
  t.eq(t.request("POST", "/orders/7", { form = { fail = 1 } }).status, 500)
  t.eq(t.request("GET", "/orders/7").status, 405)
  t.eq(t.request("GET", "/nothing").json.title, "Not Found")
  t.eq(t.request("GET", "/lines").body, "ab")
  t.raises(function()
    t.request("GET", "lines")
  end, "a method and a path are needed")
end)
