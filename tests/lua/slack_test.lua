--- sipeat.slack against the endpoints of `sipeat dev`, which refuse what Slack refuses, and against
--- a server that answers as told.
local capture = require "sipeat.capture"
local http = require "sipeat.http"
local slack = require "sipeat.slack"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"

local answers, calls = {}, {}
local function scripted(req)
  calls[#calls + 1] = { at = sys.monotonic_ms(), body = req:json(), headers = req.headers }
  return table.remove(answers, 1) or { status = 200, body = "ok" }
end
http.route("POST /hook", scripted)
http.route("POST /api/chat.postMessage", scripted)
capture.enable()
local base = "http://" .. t.ok(http.listen "127.0.0.1:0").address
local hook, api = base .. "/hook", base .. "/api/"

local function json_answer(value, headers)
  return { status = 200, json = value, headers = headers }
end

t.test("a webhook takes a message, and dev shows it", function()
  t.eq(slack.send { webhook = base .. "/capture/slack/services/T/B/x", text = "Hi <!channel>" },
    { sent = true })
  t.eq(capture.entries "slack"[1].entry.text, "Hi <!channel>")
  local posted = t.ok(slack.post {
    url = base .. "/capture/slack/api", token = "xoxb-1", channel = "#ops", text = "Hi",
    thread_ts = "1.2",
  })
  t.eq(posted.channel, "#ops")
  t.ok(posted.ts:find "^%d+%.%d%d%d%d%d%d$", posted.ts)
  t.eq(capture.entries "slack"[1].entry,
    { channel = "#ops", text = "Hi", thread_ts = "1.2" })
end)

t.test("text from outside is no markup, and is cut to what Slack takes", function()
  t.eq(slack.escape "<!channel> <@U1> a & b \xff",
    "&lt;!channel&gt; &lt;@U1&gt; a &amp; b \u{fffd}")
  local long = ("<"):rep(5000)
  local notice = slack.notice {
    title = long, text = long, footer = long, fields = {
      { "Order", "<o-1>" }, { 2, true }, { 3, 3 }, { 4, 4 }, { 5, 5 }, { 6, 6 }, { 7, 7 }, { 8, 8 },
      { 9, 9 }, { 10, long }, { 11, "left out" },
    },
  }
  local header, section, fields, footer = table.unpack(notice.blocks)
  t.eq({ utf8.len(header.text.text), header.text.type }, { 149, "plain_text" })
  t.ok(utf8.len(section.text.text) <= 3000)
  t.ok(header.text.text:find "^[&lt;]*…$" and section.text.text:find "&lt;…$")
  t.eq({ #fields.fields, fields.fields[1].text }, { 10, "*Order*\n&lt;o-1&gt;" })
  t.eq(footer.type, "context")
  t.ok(slack.send { webhook = base .. "/capture/slack/services/T/B/x", text = notice.text,
    blocks = notice.blocks })
  t.eq(slack.notice { title = "A" }.text, "A")
end)

t.test("what Slack would refuse for its size is not sent", function()
  local before, many = #calls, {}
  for i = 1, 51 do
    many[i] = { type = "divider" }
  end
  for _, blocks in ipairs {
    { { type = "section", text = { type = "mrkdwn", text = ("x"):rep(3001) } } },
    { { type = "header", text = { type = "plain_text", text = ("x"):rep(151) } } },
    { { type = "section", fields = { { text = ("x"):rep(2001) } } } },
    { { type = "section", fields = { {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {} } } },
    many,
  } do
    local sent, why = slack.send { webhook = hook, text = "x", blocks = blocks }
    t.eq({ sent, why.code, why.kind }, { nil, "TOO_BIG", "permanent" })
  end
  t.eq({ slack.notify { webhook = hook, text = ("x"):rep(40001) } },
    { false, "slack: the text is longer than 40000 characters" })
  t.eq(#calls, before)
end)

t.test("refusals of a webhook", function()
  for _, row in ipairs {
    { 400, "invalid_payload", "REJECTED", "permanent" },
    { 403, "action_prohibited", "UNAUTHORIZED", "permanent" },
    { 404, "no_service", "WEBHOOK_GONE", "permanent" },
    { 410, "channel_is_archived", "WEBHOOK_GONE", "permanent" },
    { 500, "rollup_error", "UNAVAILABLE", "transient" },
    { 503, "<html>", "UNAVAILABLE", "transient" },
    { 200, "<html>a proxy</html>", "BAD_ANSWER", "transient" },
  } do
    answers = { { status = row[1], body = row[2] } }
    local sent, why = slack.send { webhook = hook, text = "x" }
    t.eq({ sent, why.code, why.kind }, { nil, row[3], row[4] }, row[2])
  end
  answers = { { status = 429, headers = { ["retry-after"] = "30" } } }
  local _, why = slack.send { webhook = hook, text = "x" }
  t.eq({ why.code, why.kind }, { "RATE_LIMITED", "transient" })
  t.ok(why.retry_at_ms > sys.monotonic_ms() + 20000)
  _, why = slack.send { webhook = "http://127.0.0.1:1/", text = "x" }
  t.eq(why.code, "ECONNREFUSED")
end)

t.test("refusals of chat.postMessage, which come with status 200", function()
  local function post()
    return slack.post { url = api, token = "xoxb-1", channel = "C1", text = "x" }
  end
  for word, expected in pairs {
    channel_not_found = "REJECTED", msg_too_long = "TOO_BIG", invalid_auth = "UNAUTHORIZED",
    ratelimited = "RATE_LIMITED", internal_error = "UNAVAILABLE", ["?"] = "REJECTED",
  } do
    answers = { json_answer({ ok = false, error = word }, { ["retry-after"] = "1" }) }
    local sent, why = post()
    t.eq({ sent, why.code }, { nil, expected }, word)
    t.has(why.message, word)
  end
  answers = { { status = 200, body = "null" } }
  t.eq(select(2, post()).code, "BAD_ANSWER")
  answers = { json_answer { ok = true, ts = "1.000001", channel = "C1" } }
  t.eq(post(), { ts = "1.000001", channel = "C1" })
  t.eq(calls[#calls].headers.authorization, "Bearer xoxb-1")
  t.eq(select(2, slack.post { url = api, channel = "C1", text = "x" }).code, "NOT_CONFIGURED")
end)

t.test("notify waits for nobody, keeps the order, and obeys Retry-After", function()
  answers = { { status = 429, headers = { ["retry-after"] = "0.1" } } }
  local before = #calls
  for _, text in ipairs { "one", "two", "three" } do
    t.ok(slack.notify { webhook = hook, text = text })
  end
  t.eq(#calls, before)
  t.ok(require("sipeat.batch").flush "10s")
  local texts = {}
  for i = before + 1, #calls do
    texts[#texts + 1] = calls[i].body.text
  end
  t.eq(texts, { "one", "one", "two", "three" })
  t.ok(calls[before + 2].at - calls[before + 1].at >= 100)
end)
