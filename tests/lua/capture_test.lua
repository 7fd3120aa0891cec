--- What is kept and what the endpoints answer. The routes are called as the HTTP server calls them.
local capture = require "sipeat.capture"
local discord_embed = require "sipeat.discord_embed"
local env = require "sipeat.env"
local json = require "sipeat.json"
local money = require "sipeat.money"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

-- --- a server that only knows routes ---

local routes = {}
local collector = {}

function collector.route(spec, handler, options)
  t.eq(options, { builtin = true })
  local method, path = spec:match("^(%u+) (%S+)$")
  local names = {}
  local pattern = "^" .. path:gsub("%.", "%%.") .. "$"
  pattern = pattern:gsub(":(%a+)", function(name)
    names[#names + 1] = name
    return "([^/]+)"
  end)
  routes[#routes + 1] = { method = method, pattern = pattern, names = names, handler = handler }
end

for _, part in ipairs { "page", "discord", "stripe" } do
  require("sipeat.capture_" .. part).routes(collector)
end

local function request(method, path, options)
  options = options or {}
  for _, route in ipairs(routes) do
    local found = table.pack(path:match(route.pattern))
    if route.method == method and found[1] then
      local req = {
        method = method, path = path, query = options.query or {}, params = {},
        headers = options.headers or {}, body = options.body or "",
      }
      for i, name in ipairs(route.names) do
        req.params[name] = found[i]
      end
      local response = route.handler(req)
      response.json = response.body and json.decode(response.body)
      return response
    end
  end
  error("no route for " .. method .. " " .. path)
end

local JSON = { ["content-type"] = "application/json" }
local HOOK = "/capture/discord/webhooks/1/dev"

local function post_discord(message, query)
  local body = type(message) == "string" and message or json.encode(message)
  return request("POST", HOOK, { headers = JSON, body = body, query = query })
end

-- --- what is kept ---

t.test("nothing is kept before enable", function()
  t.eq(capture.enabled(), false)
  t.eq(capture.record("notice", { a = 1 }), nil)
  t.eq(#capture.entries(), 0)
  capture.enable { page = false }
  t.eq(capture.enabled(), false, "kept, and nobody looks")
end)

t.test("entries come newest first, with number, kind, time and event", function()
  task.set_event_id("e-1")
  t.eq(capture.record("notice", { a = 1 }), 1)
  task.set_event_id("")
  t.eq(capture.record("crm", { b = 2 }), 2)
  local list = capture.entries()
  t.eq({ list[1].number, list[1].kind, list[1].entry }, { 2, "crm", { b = 2 } })
  t.eq(list[2].event_id, "e-1")
  t.ok(list[2].time:find("^%d%d%d%d%-"))
  capture.record("notice", { event_id = "e-2" })
  t.eq(capture.entries()[1].event_id, "e-2")
  capture.record("notice", { event_id = "e-2" }, "e-3")
  t.eq(capture.entries()[1].event_id, "e-3")
  t.eq(#capture.entries("crm"), 1)
end)

t.test("an entry is a copy of what it was", function()
  local row = { name = "before" }
  capture.record("crm", row)
  row.name = "after"
  t.eq(capture.entries()[1].entry.name, "before")
end)

t.test("whatever is in an entry can be shown", function()
  local circle = {}
  circle.me = circle
  capture.record("notice", {
    broken = "a\xFFb", secret = env.conceal("hunter2"), price = money.new(250, "EUR"), f = print,
    circle = circle, nan = 0 / 0, list = { 1, "x" }, empty = {}, null = json.null,
    long = ("x"):rep(300000), [1.5] = "odd key", yes = true,
  })
  local entry = capture.entries()[1].entry
  t.eq({ entry.broken, entry.secret, entry.price, entry.f, entry.yes },
    { "a\u{FFFD}b", "***", "2.50 EUR", "function", true })
  t.eq(entry.list, { 1, "x" })
  t.ok(#entry.long < 270000)
  t.eq(entry["1.5"], "odd key")
end)

t.test("a caller's mistake throws", function()
  t.fails(capture.record, "a word in small letters", "No Kind", {})
  t.fails(capture.record, "an entry is a table", "notice", "text")
  t.fails(capture.enable, "did you mean limit?", { limits = 1 })
end)

t.test("the oldest go when there are too many, or too large ones", function()
  capture.enable { limit = 5, page = false }
  for i = 1, 20 do
    capture.record("notice", { i = i })
  end
  local list = capture.entries()
  t.eq({ #list, list[1].entry.i, list[5].entry.i }, { 5, 20, 16 })
  capture.enable { limit = 1000, max_bytes = "100kb", page = false }
  for _ = 1, 50 do
    capture.record("notice", { text = ("x"):rep(10000) })
  end
  t.ok(#capture.entries() <= 10 and #capture.entries() >= 8)
  capture.enable { page = false }
end)

t.test("clear forgets, and numbers go on", function()
  local before = capture.record("notice", { a = 1 })
  capture.clear()
  t.eq(#capture.entries(), 0)
  t.eq(capture.record("notice", { a = 1 }), before + 1)
  local _, _, clears, counts = capture.state()
  t.eq({ clears, counts }, { 1, { notice = 1 } })
end)

-- --- the page ---

t.test("the page and what it is made of, with a policy that allows no foreign code", function()
  local page = request("GET", "/")
  t.eq(page.status, 200)
  t.has(page.body, "/capture/capture.js")
  local policy = page.headers["content-security-policy"]
  t.has(policy, "default-src 'none'")
  t.ok(not policy:find("unsafe", 1, true))
  t.has(request("GET", "/capture/capture.js").headers["content-type"], "text/javascript")
  t.has(request("GET", "/capture/capture.css").body, "prefers-color-scheme: dark")
end)

t.test("the page's script builds elements from text only", function()
  local script = request("GET", "/capture/capture.js").body
  local ways = { "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(" }
  for _, word in ipairs(ways) do
    local code = script:gsub("//[^\n]*", "")
    t.ok(not code:find(word, 1, true), word)
  end
  t.ok(not request("GET", "/").body:find("<script>", 1, true))
end)

t.test("a mail's HTML is a sandboxed document of its own", function()
  local number = capture.record("mail", { subject = "x", html = "<script>alert(1)</script>" })
  local mail = request("GET", "/capture/mail/" .. number)
  t.eq(mail.body, "<script>alert(1)</script>")
  t.has(mail.headers["content-security-policy"], "sandbox;")
  t.has(mail.headers["content-security-policy"], "default-src 'none'")
  t.ok(not mail.headers["content-security-policy"]:find("allow-scripts", 1, true))
  t.eq(request("GET", "/capture/mail/999999").status, 404)
  t.eq(request("GET", "/capture/mail/abc").status, 404)
  t.eq(request("GET", "/capture/mail/" .. capture.record("notice", { html = "x" })).status, 404)
end)

t.test("a mail's own styles are let in by their hashes, and no others", function()
  local function policy(html)
    local number = capture.record("mail", { subject = "x", html = html })
    return request("GET", "/capture/mail/" .. number).headers["content-security-policy"]
  end
  local one = policy([[<style>p{color:red}</style><p style="color:red">a]]
    .. "<p style='font:&quot;x&quot;'>")
  -- as `printf %s 'color:red' | openssl dgst -sha256 -binary | base64` says
  for _, hash in ipairs { "8f935d27GvUutRyY9yWScUMiFUk4WTdZURISiYfPOeQ=",
    "p0bF+un5yUb9MBO6xRb8kPHlY2BdpHVtLiFkDrZPF64=",
    "S0FwQMtpp09pbY52UN0WcfERlRFdbBt1WzAvp/3fdYU=" } do
    t.has(one, hash)
  end
  t.ok(not one:find("unsafe-inline", 1, true))
  t.has(policy "<p>plain", "style-src 'none'")
  t.ok(#policy(('<p style="a:%d">'):rep(500):gsub("%%d", function()
    return capture.record("notice", {})
  end)) < 10000, "a mail with very many styles")
end)

t.test("entries.json has everything", function()
  capture.clear()
  capture.record("crm", { name = "</script><b>" })
  local response = request("GET", "/capture/entries.json")
  t.eq(response.json.entries[1].entry.name, "</script><b>")
  t.eq(response.json.state.counts, { crm = 1 })
  t.has(response.headers["content-type"], "application/json")
end)

t.test("another site's page cannot clear", function()
  t.eq(request("POST", "/capture/clear").status, 403)
  t.eq(#capture.entries(), 1)
  t.eq(request("POST", "/capture/clear", { headers = { ["x-sipeat"] = "capture" } }).status, 200)
  t.eq(#capture.entries(), 0)
end)

t.test("the stream gives what there is, then what comes, and ends with its reader", function()
  capture.record("notice", { text = "first" })
  local got, open = {}, true
  local stream = request("GET", "/capture/events")
  t.eq(stream.headers["content-type"], "text/event-stream")
  local reader = task.spawn(stream.stream, function(chunk)
    got[#got + 1] = chunk
    return open or nil
  end)
  local function wait_for(part)
    for _ = 1, 2000 do
      if table.concat(got):find(part, 1, true) then
        return true
      end
      task.sleep("1ms")
    end
    error("never came: " .. part .. "\n" .. table.concat(got), 2)
  end
  wait_for('"first"')
  capture.record("notice", { text = "line\nbreak" })
  wait_for("line\\nbreak")
  capture.clear()
  wait_for('"clears":4')
  local id = table.concat(got):match("id: (%S+)\n")
  open = false
  capture.record("notice", { text = "last" })
  t.eq(reader:join("5s"), true)

  got, open = {}, true
  local again = request("GET", "/capture/events", { headers = { ["last-event-id"] = id } })
  reader = task.spawn(again.stream, function(chunk)
    got[#got + 1] = chunk
    return true
  end)
  wait_for('"last"')
  t.ok(not table.concat(got):find('"first"', 1, true))
  reader:kill()
  reader:join("5s")
end)

-- --- Discord ---

t.test("a message is taken as Discord takes it", function()
  capture.clear()
  t.eq(post_discord({ content = "hello" }).status, 204)
  local embed = discord_embed.build { type = "a.b", ok = true }
  local response = post_discord({ embeds = { embed } }, { wait = "true" })
  t.eq(response.status, 200)
  t.ok(response.json.id:find("^%d+$"))
  local list = capture.entries("discord")
  t.eq(#list, 2)
  t.eq(list[1].entry.message.embeds[1].title, "📦 a.b event processed")
end)

local REFUSED = {
  { "not JSON", "{", 50109 },
  { "not an object", '"x"', 50109 },
  { "empty", { content = "" }, 50006 },
  { "a title that is too long", { embeds = { { title = ("x"):rep(257) } } }, 50035 },
  { "an empty value", { embeds = { { fields = { { name = "a", value = "" } } } } }, 50035 },
}
for _, case in ipairs(REFUSED) do
  t.test("a message is refused: " .. case[1], function()
    capture.clear()
    local response = post_discord(case[2])
    t.eq({ response.status, response.json.code }, { 400, case[3] })
    t.eq(#capture.entries(), 0)
  end)
end

t.test("a refusal says where, as Discord does", function()
  local errors = post_discord({ embeds = { { title = ("x"):rep(257) } } }).json.errors
  t.eq(errors.embeds["0"].title._errors[1].code, "BASE_TYPE_MAX_LENGTH")
end)

-- --- payments ---

local BASE = "/capture/stripe/v1/"

local function stripe(method, path, body, key, query)
  local headers = { authorization = "Bearer sk_test_capture", ["idempotency-key"] = key }
  return request(method, BASE .. path, { headers = headers, body = body, query = query })
end

local PAY = "amount=250&currency=eur&payment_method=pm_card_visa&confirm=true"
  .. "&metadata%5Border%5D=o%201"

t.test("a payment succeeds and is shown", function()
  capture.clear()
  local response = stripe("POST", "payment_intents", PAY, "k1")
  t.eq(response.status, 200)
  local paid = response.json
  t.eq({ paid.status, paid.amount, paid.metadata }, { "succeeded", 250, { order = "o 1" } })
  local entry = capture.entries("payment")[1].entry
  t.eq({ entry.amount_minor, entry.currency, entry.status }, { 250, "EUR", "succeeded" })
  t.eq(stripe("GET", "payment_intents/" .. paid.id).json.status, "succeeded")
end)

t.test("the same key pays once", function()
  capture.clear()
  local first = stripe("POST", "payment_intents", PAY, "k2")
  local second = stripe("POST", "payment_intents", PAY, "k2")
  t.eq(first.body, second.body)
  t.eq(second.headers["idempotent-replayed"], "true")
  t.eq(#capture.entries("payment"), 1)
  local other = stripe("POST", "payment_intents", PAY .. "&description=x", "k2")
  t.eq({ other.status, other.json.error.type }, { 400, "idempotency_error" })
end)

for card, reason in pairs {
  pm_card_chargeDeclined = "generic_decline",
  pm_card_chargeDeclinedInsufficientFunds = "insufficient_funds",
} do
  t.test(card .. " declines, also when asked again", function()
    local body = PAY:gsub("pm_card_visa", card)
    for _ = 1, 2 do
      local response = stripe("POST", "payment_intents", body, "k-" .. card)
      t.eq(response.status, 402)
      t.eq({ response.json.error.type, response.json.error.decline_code }, { "card_error", reason })
      t.eq(response.json.error.payment_intent.status, "requires_payment_method")
    end
  end)
end

t.test("a card that asks for its owner requires action, and can be cancelled", function()
  local body = PAY:gsub("visa", "authenticationRequired")
  local made = stripe("POST", "payment_intents", body, "k3").json
  t.eq(made.status, "requires_action")
  t.eq(stripe("POST", "payment_intents/" .. made.id .. "/cancel").json.status, "canceled")
  t.eq(stripe("POST", "payment_intents/" .. made.id .. "/cancel").status, 400)
end)

t.test("a refund gives back at most what was paid", function()
  local paid = stripe("POST", "payment_intents", PAY, "k4").json.id
  local part = stripe("POST", "refunds", "amount=100&payment_intent=" .. paid, "r1")
  t.eq({ part.status, part.json.amount }, { 200, 100 })
  t.eq(stripe("POST", "refunds", "amount=151&payment_intent=" .. paid, "r2").status, 400)
  t.eq(stripe("POST", "refunds", "payment_intent=" .. paid, "r3").json.amount, 150)
  local again = stripe("POST", "refunds", "payment_intent=" .. paid, "r4")
  t.eq({ again.status, again.json.error.code }, { 400, "charge_already_refunded" })
  t.eq(stripe("GET", "payment_intents/" .. paid).json.latest_charge.refunded, true)
end)

t.test("a payment is found by its metadata", function()
  stripe("POST", "payment_intents", PAY:gsub("o%%201", "it%%27s"), "k5")
  local function search(query)
    return stripe("GET", "payment_intents/search", "", nil, { query = query })
  end
  local found = search("metadata['order']:'it\\'s'")
  t.eq(found.json.data[1].metadata.order, "it's")
  t.has(search("metadata['order']:'none'").body, '"data":[]')
end)

local BAD = {
  { "no amount", "currency=eur", "parameter_missing" },
  { "an amount that is no integer", "amount=2.5&currency=eur", "parameter_invalid_integer" },
  { "an amount below one", "amount=0&currency=eur", "parameter_invalid_integer" },
  { "no currency", "amount=1", "parameter_missing" },
}
for _, case in ipairs(BAD) do
  t.test("a payment is refused: " .. case[1], function()
    local response = stripe("POST", "payment_intents", case[2], "bad-" .. case[1])
    t.eq({ response.status, response.json.error.code }, { 400, case[3] })
  end)
end

t.test("what does not exist is 404, and a live key is refused", function()
  t.eq(stripe("GET", "payment_intents/pi_none").status, 404)
  t.eq(stripe("POST", "refunds", "payment_intent=pi_none").json.error.code, "resource_missing")
  local live = { authorization = "Bearer sk_live_x" }
  t.eq(request("POST", BASE .. "payment_intents", { headers = live, body = PAY }).status, 401)
  t.eq(request("POST", BASE .. "payment_intents", { body = PAY }).status, 401)
end)

t.test("thousands of payments are bounded", function()
  for i = 1, 6000 do
    stripe("POST", "payment_intents", PAY, "many-" .. i)
    if i % 500 == 0 then
      task.sleep("0ms")
    end
  end
  local replayed = stripe("POST", "payment_intents", PAY, "many-6000")
  t.eq(replayed.headers["idempotent-replayed"], "true")
  t.eq(stripe("POST", "payment_intents", PAY, "many-1").headers["idempotent-replayed"], nil)
  local _, last = capture.state()
  t.ok(last > 6000 and #capture.entries() <= 2000)
end)
