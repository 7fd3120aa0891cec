local http = require "sipeat.http"
local signature = require "sipeat.webhook_signature"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local webhook = require "sipeat.webhook"

local AT = 1700000000
local FIVE = 5 * 60 * 1000
local server = assert(http.listen("127.0.0.1:0"))
local handled, gate = {}, task.channel(1)

-- Signatures that other implementations made (Python's hmac and cryptography).
local STRIPE = "c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"
local SLACK = "v0=b6fb1e8096e53687794b21edf336e7e5c628d0413f89e24cf596e59683a4f9b4"
local KEY = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
local DISCORD = "c1098e97d711377f30225d53d94b89d43537f92e5b3afaddc590781b1f9f9d4b"
  .. "2eeab335d370be3b9a090bc61a85b86448bc140dcd195f1569c2bff181257607"

t.test("signatures of other implementations fit, and nothing else does", function()
  local header = ("t=%d,v1=%s,v0=ff"):format(AT, STRIPE)
  local function stripe(secret, given, body, now)
    return signature.stripe(secret, given, body, now or AT, FIVE)
  end
  t.ok(stripe("whsec_test", header, '{"id":"evt_1"}'))
  t.ok(stripe("whsec_test", ("t=%d,v1=%s,v1=%s"):format(AT, ("0"):rep(64), STRIPE),
    '{"id":"evt_1"}'), "one of several is enough")
  t.eq(stripe("whsec_test", header, '{"id":"evt_2"}'), nil, "another body")
  t.eq(stripe("whsec_other", header, '{"id":"evt_1"}'), nil, "another secret")
  t.eq(stripe("whsec_test", ("t=%d,v1=%s"):format(AT + 1, STRIPE), '{"id":"evt_1"}', AT + 1), nil,
    "another time")
  t.eq(stripe("whsec_test", ("t=%d,v0=%s"):format(AT, STRIPE), '{"id":"evt_1"}'), nil, "v0")
  for _, bad in ipairs { "", "t=1", "v1=" .. STRIPE, "t=x,v1=" .. STRIPE, ("t"):rep(9999) } do
    t.eq(stripe("whsec_test", bad, '{"id":"evt_1"}'), nil, bad:sub(1, 20))
  end
  t.ok(stripe("whsec_test", header, '{"id":"evt_1"}', AT + 300))
  t.eq(stripe("whsec_test", header, '{"id":"evt_1"}', AT + 301), nil, "too old")
  t.eq(stripe("whsec_test", header, '{"id":"evt_1"}', AT - 301), nil, "of the future")

  t.ok(signature.slack("slack", SLACK, tostring(AT), "a=b", AT + 300, FIVE))
  t.eq(signature.slack("slack", SLACK, tostring(AT), "a=b", AT + 301, FIVE), nil)
  t.eq(signature.slack("slack", SLACK, tostring(AT), "a=c", AT, FIVE), nil)
  t.eq(signature.slack("slack", SLACK:gsub("^v0", "v1"), tostring(AT), "a=b", AT, FIVE), nil)
  t.eq(signature.slack("slack", nil, nil, "a=b", AT, FIVE), nil)

  t.ok(signature.discord(KEY, DISCORD, tostring(AT), '{"type":1}', AT, FIVE))
  t.eq(signature.discord(KEY, DISCORD, tostring(AT), '{"type":2}', AT, FIVE), nil)
  t.eq(signature.discord(KEY, DISCORD, tostring(AT + 1), '{"type":1}', AT, FIVE), nil)
  t.eq(signature.discord(KEY, DISCORD:sub(1, -3), tostring(AT), '{"type":1}', AT, FIVE), nil)
  t.eq(signature.discord(("0"):rep(64), DISCORD, tostring(AT), '{"type":1}', AT, FIVE), nil)
  t.eq(signature.discord(KEY, DISCORD, tostring(AT), '{"type":1}', AT + 3600, FIVE), nil)
end)

-- --- over HTTP ---

http.route("POST /stripe", webhook.stripe({ secret = "whsec_test" }, function(event)
  handled[#handled + 1] = event.id
  if event.id == "evt_slow" then
    gate:recv()
  elseif event.id == "evt_fails" and #handled == 1 then
    return nil, "not now"
  end
end))

local function stripe(event, options)
  options = options or {}
  local body = ('{"id":"%s"}'):format(event)
  local at = sys.now_ms() // 1000 - (options.age or 0)
  local signed = sys.hmac_sha256(options.secret or "whsec_test", ("%d.%s"):format(at, body))
  return assert(http.post(server.url .. "/stripe", {
    body = body, headers = { ["stripe-signature"] = ("t=%d,v1=%s"):format(at, signed) },
  }))
end

t.test("a forged, an old and an unsigned delivery reach no handler", function()
  handled = {}
  t.eq(stripe("evt_0", { secret = "whsec_wrong" }).status, 400)
  t.eq(stripe("evt_0", { age = 301 }).status, 400)
  t.eq(assert(http.post(server.url .. "/stripe", { body = '{"id":"evt_0"}' })):json().code,
    "SIGNATURE")
  t.eq(handled, {})
end)

t.test("a delivery is handled once, however often it is sent", function()
  handled = {}
  t.eq(stripe("evt_1"):json(), { received = true })
  t.eq(stripe("evt_1"):json(), { received = true, repeated = true })
  t.eq(handled, { "evt_1" })
end)

t.test("what fails is handled again; what is being handled is not", function()
  handled = {}
  t.eq(stripe("evt_fails").status, 500)
  t.eq(stripe("evt_fails").status, 200)
  t.eq(handled, { "evt_fails", "evt_fails" })
  handled = {}
  local first = task.spawn(stripe, "evt_slow")
  while #handled == 0 do
    task.sleep "5ms"
  end
  t.eq(stripe("evt_slow").status, 409)
  gate:send(true)
  t.eq(first:join().status, 200)
  t.eq(handled, { "evt_slow" })
end)

t.test("without a secret nothing is taken", function()
  http.route("POST /unset", webhook.stripe({}, function() end))
  t.eq(assert(http.post(server.url .. "/unset", { body = "{}" })):json().code, "NOT_CONFIGURED")
  http.route("POST /unset-discord", webhook.discord {})
  t.eq(assert(http.post(server.url .. "/unset-discord", { body = "{}" })).status, 503)
end)

local got
http.route("POST /slack", webhook.slack({ secret = "slack" }, function(event)
  got = event
  return { json = { text = "done" } }
end))

local function slack(body, kind)
  local at = sys.now_ms() // 1000
  return assert(http.post(server.url .. "/slack", { body = body, headers = {
    ["content-type"] = kind,
    ["x-slack-request-timestamp"] = at,
    ["x-slack-signature"] = "v0=" .. sys.hmac_sha256("slack", ("v0:%d:%s"):format(at, body)),
  } }))
end

t.test("Slack's events, commands and buttons are read, and its question is answered", function()
  local form = "application/x-www-form-urlencoded"
  t.eq(slack('{"type":"url_verification","challenge":"abc"}', "application/json").body, "abc")
  t.eq(slack('{"type":"event_callback","event_id":"Ev1"}', "application/json"):json().text, "done")
  t.eq(got.event_id, "Ev1")
  slack("command=%2Fmachines&text=M1", form)
  t.eq(got.command, "/machines")
  local body = "payload=" .. http.encode '{"type":"block_actions","n":1}'
  slack(body, form)
  t.eq(got.n, 1)
  t.eq(slack(body, form):json().repeated, true, "the same request again")
end)
