--- sipeat.sms and sipeat.push against the gateways of `sipeat dev`, and against a server that
--- answers as told.
local capture = require "sipeat.capture"
local http = require "sipeat.http"
local push = require "sipeat.push"
local sms = require "sipeat.sms"
local t = require "sipeat.luatest"

local answers, seen = {}, nil
local function scripted(req)
  seen = { body = req.body, headers = req.headers, path = req.path }
  return table.remove(answers, 1)
end
http.route("POST /2010-04-01/Accounts/:account/Messages.json", scripted)
http.route("POST /push", scripted)
capture.enable()
local base = "http://" .. t.ok(http.listen "127.0.0.1:0").address

local function merged(defaults, changes)
  for key, value in pairs(changes or {}) do
    defaults[key] = value
  end
  return defaults
end

local function text(changes)
  return merged({
    url = base, account = "AC1", token = "secret", from = "+15005550006", to = "+491701234567",
    text = "Your Mate & Cola + 1 is ready",
  }, changes)
end

t.test("a short message: what the gateway gets, and what it says", function()
  local sent = t.ok(sms.send(text { url = base .. "/capture/sms" }))
  t.ok(sent.id:find "^SM%x+$" and sent.status == "queued" and sent.segments == 1)
  t.eq(capture.entries "sms"[1].entry, {
    to = "+491701234567", from = "+15005550006", text = "Your Mate & Cola + 1 is ready",
    segments = 1, alphabet = "gsm7",
  })
  answers = { { status = 201, json = { sid = "SM1", status = "accepted" } } }
  t.eq(sms.send(text { from = "MG0123abcd" }, { key = "e1/sms" }),
    { id = "SM1", status = "accepted", segments = 1 })
  t.eq(seen.body, "Body=Your%20Mate%20%26%20Cola%20%2B%201%20is%20ready&"
    .. "MessagingServiceSid=MG0123abcd&To=%2B491701234567")
  t.eq({ seen.headers.authorization, seen.headers["idempotency-key"] },
    { "Basic QUMxOnNlY3JldA==", "e1/sms" })
end)

t.test("what a text is billed as", function()
  for _, row in ipairs {
    { "", 1, "gsm7" }, { ("a"):rep(160), 1, "gsm7" }, { ("a"):rep(161), 2, "gsm7" },
    { ("a"):rep(307), 3, "gsm7" }, { ("€"):rep(80), 1, "gsm7" }, { ("€"):rep(81), 2, "gsm7" },
    { "ñÄß@£Ω", 1, "gsm7" }, { "日本", 1, "ucs2" }, { ("я"):rep(71), 2, "ucs2" },
    { ("🥤"):rep(35), 1, "ucs2" }, { ("🥤"):rep(36), 2, "ucs2" }, { ("ç"):rep(3), 1, "ucs2" },
  } do
    t.eq({ sms.segments(row[1]) }, { row[2], row[3] }, row[1])
  end
  t.eq({ sms.segments "\xff" }, { nil, "the text is not UTF-8" })
end)

t.test("a short message that nobody can send is not tried", function()
  for _, row in ipairs {
    { { to = "0170 1234567" }, "INVALID_NUMBER" }, { { to = "+0170123456" }, "INVALID_NUMBER" },
    { { to = "+4917012345671234567" }, "INVALID_NUMBER" },
    { { to = "+1\n2345678" }, "INVALID_NUMBER" },
    { { text = ("x"):rep(1601) }, "TOO_BIG" }, { { text = "" }, "TOO_BIG" },
    { { text = "\xff" }, "BAD_DATA" },
  } do
    local sent, why = sms.send(text(row[1]))
    t.eq({ sent, why.code, why.kind }, { nil, row[2], "permanent" })
  end
  local bare = text()
  bare.token = nil
  t.eq(select(2, sms.send(bare)).code, "NOT_CONFIGURED")
end)

t.test("refusals of the gateway", function()
  for _, row in ipairs {
    { 400, 21211, "INVALID_NUMBER", "permanent" }, { 400, 21610, "UNSUBSCRIBED", "permanent" },
    { 401, 20003, "UNAUTHORIZED", "permanent" }, { 403, 1, "UNAUTHORIZED", "permanent" },
    { 400, 99999, "REJECTED", "permanent" }, { 429, 20429, "RATE_LIMITED", "transient" },
    { 503, 20503, "UNAVAILABLE", "transient" },
  } do
    answers = { { status = row[1], json = { code = row[2], message = "sorry" } } }
    local sent, why = sms.send(text())
    t.eq({ sent, why.code, why.kind }, { nil, row[3], row[4] })
    t.has(why.message, "sorry (code " .. row[2] .. ")")
  end
  answers = { { status = 200, body = "ok" } }
  t.eq(select(2, sms.send(text())).code, "BAD_ANSWER")
  t.eq(select(2, sms.send(text { url = "http://127.0.0.1:1" })).code, "ECONNREFUSED")
end)

local function note(changes)
  return merged({
    url = base .. "/push", bearer = "tok", token = "device", title = "Ready", body = "Slot 4",
  }, changes)
end

t.test("a push message: what the gateway gets, and what it says", function()
  local sent = t.ok(push.send(note { url = base .. "/capture/push", data = { slot = 4 } },
    { key = "e1/push" }))
  t.has(sent.id, "projects/dev/messages/")
  t.eq(capture.entries "push"[1].entry.data, { slot = "4", id = "e1/push" })
  answers = { { status = 200, json = { name = "projects/p/messages/1" } } }
  t.eq(push.send(note {
    ttl = "1h", collapse_key = "order-1", bearer = function() return "of now" end,
  }), { id = "projects/p/messages/1" })
  t.eq(seen.headers.authorization, "Bearer of now")
  t.eq(require("sipeat.json").decode(seen.body), { message = {
    token = "device", notification = { title = "Ready", body = "Slot 4" },
    android = { collapse_key = "order-1", ttl = "3600s" },
    apns = { headers = { ["apns-collapse-id"] = "order-1" } },
  } })
end)

t.test("refusals of push messages, by the gateway and before it", function()
  for _, row in ipairs {
    { 404, "UNREGISTERED", "UNREGISTERED", "permanent" },
    { 400, "INVALID_ARGUMENT", "REJECTED", "permanent" },
    { 401, "UNAUTHENTICATED", "UNAUTHORIZED", "permanent" },
    { 429, "QUOTA_EXCEEDED", "RATE_LIMITED", "transient" },
    { 503, "UNAVAILABLE", "UNAVAILABLE", "transient" },
  } do
    answers = { { status = row[1], json = { error = { status = row[2], message = "sorry" } } } }
    local sent, why = push.send(note())
    t.eq({ sent, why.code, why.kind }, { nil, row[3], row[4] })
    t.has(why.message, "sorry")
  end
  answers = { { status = 400, json = { error = { status = "INVALID_ARGUMENT", message = "x",
    details = { { errorCode = "UNREGISTERED" } } } } } }
  t.eq(select(2, push.send(note())).code, "UNREGISTERED")
  answers = { { status = 200, body = "[]" } }
  t.eq(select(2, push.send(note())).code, "BAD_ANSWER")
  t.eq(select(2, push.send(note { body = ("x"):rep(4096) })).code, "TOO_BIG")
  t.eq(select(2, push.send { token = "d", title = "x" }).code, "NOT_CONFIGURED")
  t.fails(push.send, "either token or topic", note { topic = "t" })
  t.fails(push.send, "title, body or data", { token = "d" })
  t.fails(push.send, "name = text", note { data = { a = {} } })
end)
