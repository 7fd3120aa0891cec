--- Pacing, retries, batches and the digest, against a scripted server and a clock that is moved by
--- hand.
local json = require "sipeat.json"
local limits = require "sipeat.discord_limits"
local pacing = require "sipeat.discord_pacing"
local queue = require "sipeat.discord_queue"
local webhook = require "sipeat.discord_webhook"
local t = require "sipeat.luatest"

local URL = "https://discord.com/api/webhooks/123/secret_Token-1"
local OK = { status = 200, headers = {}, body = '{"id":"77"}' }

--- Answers with `answers` in turn, then OK; keeps what it is asked.
local function transport(w, answers)
  return function(request)
    w.requests[#w.requests + 1] = {
      at = w.now,
      url = request.url,
      headers = request.headers,
      message = json.decode(request.body),
      body = request.body,
    }
    local answer = table.remove(answers, 1) or OK
    if type(answer) == "function" then
      answer = answer(w, request)
    end
    if answer.code then
      return nil, answer.message, answer.code
    elseif answer.streamed then
      w.enough = request.stream(answer.body) == false
    end
    local body = not answer.streamed and answer.body or ""
    return { status = answer.status, headers = answer.headers or {}, body = body }
  end
end

--- A server, and a clock that only sleeping moves. The sender's task runs when the test says so.
local function world(answers, options)
  local w = { now = 1000, requests = {}, slept = {}, counts = {}, gone = nil }
  w.pacing = pacing.new(function()
    return w.now
  end)
  local function sleep(ms)
    w.slept[#w.slept + 1] = ms
    w.now = math.ceil(w.now + ms)
    if w.on_sleep then
      return w.on_sleep(ms)
    end
    return true
  end
  local message
  w.webhook, message = webhook.new {
    url = URL, name = "DISCORD_WEBHOOK", pacing = w.pacing, counts = w.counts, sleep = sleep,
    timeout_ms = 10000, attempts = 3, backoff_ms = { 1000, 60000 },
    transport = transport(w, answers or {}),
  }
  t.ok(w.webhook, message)
  local o = { webhook = w.webhook, capacity = 1000, batch = 10, counts = w.counts }
  function o.spawn(f)
    w.started = f
    return { join = function() end }
  end
  function o.on_gone(_, entries, omitted)
    w.gone = { entries = entries, omitted = omitted }
  end
  for key, given in pairs(options or {}) do
    o[key] = given
  end
  w.queue = queue.new(o)
  function w.run()
    local f = w.started
    w.started = nil
    if f then
      f()
    end
  end
  function w.push(n, entry)
    for _ = 1, n or 1 do
      local copy = { type = "a.b", outcome = "done", rank = 2, embed = { title = "t" } }
      for key, given in pairs(entry or {}) do
        copy[key] = given
      end
      w.queue:push(copy)
    end
  end
  return w
end

local function embeds(w, i)
  return #w.requests[i].message.embeds
end

t.test("a notice goes as one message that pings nobody", function()
  local w = world()
  w.push()
  w.run()
  t.eq(#w.requests, 1)
  t.eq(w.requests[1].url, URL .. "?wait=true")
  t.has(w.requests[1].body, '"allowed_mentions":{"parse":[]}')
  t.has(w.requests[1].headers["user-agent"], "DiscordBot (https://")
  t.eq(w.requests[1].headers["content-type"], "application/json")
  t.eq(w.counts.sent, 1)
  t.eq(w.queue:len(), 0)
  t.eq(w.queue.sender, nil)
end)

t.test("what waits goes in messages of up to ten embeds, in order", function()
  local w = world()
  for i = 1, 23 do
    w.push(1, { embed = { title = "n" .. i } })
  end
  w.run()
  t.eq({ embeds(w, 1), embeds(w, 2), embeds(w, 3) }, { 10, 10, 3 })
  t.eq(w.requests[3].message.embeds[3].title, "n23")
end)

t.test("a batch counts at most 6,000 characters", function()
  local w = world()
  w.push(7, { embed = { description = ("ö"):rep(2500) } })
  w.run()
  t.eq({ embeds(w, 1), embeds(w, 2), embeds(w, 3), embeds(w, 4) }, { 2, 2, 2, 1 })
end)

t.test("the rate-limit headers are obeyed before Discord has to say no", function()
  local left = 2
  local function answer()
    left = left > 0 and left - 1 or 1
    return { status = 200, body = "{}", headers = {
      ["x-ratelimit-limit"] = "2", ["x-ratelimit-remaining"] = tostring(left),
      ["x-ratelimit-bucket"] = "b", ["x-ratelimit-reset-after"] = "1.5",
    } }
  end
  local w = world({ answer, answer, answer, answer, answer }, { batch = 1 })
  w.push(4)
  w.run()
  t.eq(#w.requests, 4)
  t.eq(w.requests[2].at, 1000)
  t.ok(w.requests[3].at >= 2500 and w.requests[3].at < 2600, "at " .. w.requests[3].at)
  t.eq(w.counts.limited, nil)
end)

local LIMITED = {
  { "the body's retry_after", { retry_after = 2.345 }, { ["retry-after"] = "1" }, 2345 },
  { "the header when it is larger", { retry_after = 0.5 }, { ["retry-after"] = "3" }, 3000 },
  { "the header when the body is HTML", "<html>error 1015", { ["retry-after"] = "7" }, 7000 },
  { "reset-after when nothing else is said", "", { ["x-ratelimit-remaining"] = "0",
    ["x-ratelimit-reset-after"] = "4" }, 4000 },
  { "five seconds when nothing at all is said", "", {}, 5000 },
  { "an hour at most", { retry_after = 1e12 }, {}, 3600000 },
  { "the header when the body is nonsense", { retry_after = "soon" }, { ["retry-after"] = "2" },
    2000 },
}
for _, case in ipairs(LIMITED) do
  t.test("a 429 waits for " .. case[1], function()
    local body = type(case[2]) == "table" and json.encode(case[2]) or case[2]
    local w = world { { status = 429, headers = case[3], body = body } }
    w.push()
    w.run()
    t.eq(#w.requests, 2)
    local waited = w.requests[2].at - w.requests[1].at
    t.ok(waited >= case[4] and waited <= case[4] + 50, "waited " .. waited)
    t.eq({ w.counts.limited, w.counts.sent, w.counts.failures }, { 1, 1, nil })
  end)
end

t.test("a global 429 holds every webhook", function()
  local w = world { { status = 429, headers = {}, body = '{"retry_after":1.0,"global":true}' } }
  w.push()
  w.queue.webhook.sleep = function()
    t.ok(w.pacing:wait_ms("another/webhook") >= 1000)
    w.now = w.now + 2000
    return true
  end
  w.run()
  t.eq(#w.requests, 2)
end)

t.test("a server that says 429 for ever is given up on", function()
  local answers = {}
  for i = 1, 60 do
    answers[i] = { status = 429, headers = {}, body = '{"retry_after":0}' }
  end
  local w = world(answers)
  local verdict, detail = w.webhook:deliver("{}")
  t.eq(verdict, "failed")
  t.eq(detail.code, "RATE_LIMITED")
  t.eq(#w.requests, 20)
  t.ok(w.now > 60000, "asked again and again within " .. w.now)
end)

t.test("with patience a message begins at once, and ends in time", function()
  local w = world { { status = 500 }, { status = 500 }, { status = 500 } }
  w.webhook:deliver("{}")
  local before = w.now
  t.eq(w.webhook:deliver("{}", 1000), "sent")
  t.eq(w.now, before)
  w.webhook.failures = 5
  w.webhook.transport = function(request)
    w.timeout = request.timeout
    w.now = w.now + 800
    return nil, "took too long", "ETIMEDOUT"
  end
  local verdict, detail = w.webhook:deliver("{}", 1000)
  t.eq({ verdict, detail.code, w.timeout }, { "failed", "ETIMEDOUT", "1000ms" })
  t.eq(w.now, before + 800)
end)

t.test("patience ends a wait that is too long", function()
  local w = world { { status = 429, headers = {}, body = '{"retry_after":600}' } }
  local verdict, detail = w.webhook:deliver("{}", 30000)
  t.eq({ verdict, detail.code, #w.slept }, { "failed", "RATE_LIMITED", 0 })
end)

for _, answer in ipairs {
  { status = 500 }, { status = 502 }, { status = 503 }, { status = 408 },
  { code = "ETIMEDOUT", message = "took too long" },
  { code = "ENOTFOUND", message = "no such host" },
} do
  t.test("tries again after " .. (answer.code or answer.status), function()
    local w = world { answer, answer }
    w.push()
    w.run()
    t.eq(#w.requests, 3)
    t.eq({ w.counts.sent, w.counts.failures }, { 1, 2 })
    t.ok(w.slept[1] >= 800 and w.slept[1] <= 1200, "first " .. w.slept[1])
    t.ok(w.slept[2] >= 1600 and w.slept[2] <= 2400, "second " .. w.slept[2])
  end)
end

t.test("after the last attempt a digest counts the notice, and the backoff goes on", function()
  local bad = { status = 500 }
  local w = world { bad, bad, bad, bad }
  w.push(1, { type = "contact.created" })
  w.run()
  t.eq(#w.requests, 5)
  t.eq(w.requests[5].message.embeds[1].title, "📋 1 notices left out")
  t.eq(w.requests[5].message.embeds[1].fields[1].name, "contact.created")
  t.ok(w.requests[4].at - w.requests[3].at >= 3200)
  t.eq(w.counts.left_out, 1)
end)

t.test("a rejected batch is split until the bad one is found", function()
  local function judge(_, request)
    local bad = request.body:find("bad", 1, true)
    return bad and { status = 400, body = '{"code":50035,"message":"Invalid Form Body"}' } or OK
  end
  local answers = {}
  for i = 1, 30 do
    answers[i] = judge
  end
  local w = world(answers)
  for i = 1, 10 do
    w.push(1, { embed = { title = (i == 7 and "bad" or "n") .. i } })
  end
  w.run()
  t.eq({ w.counts.sent, w.counts.rejected }, { 9, 1 })
  local got = {}
  for _, request in ipairs(w.requests) do
    if not request.body:find("bad", 1, true) then
      for _, one in ipairs(request.message.embeds) do
        got[#got + 1] = one.title
      end
    end
  end
  t.eq(got, { "n1", "n2", "n3", "n4", "n5", "n6", "n8", "n9", "n10" })
  t.ok(#w.requests <= 9, "took " .. #w.requests)
end)

for _, status in ipairs { 401, 403, 404 } do
  t.test(("a webhook that answers %d is left alone for good"):format(status), function()
    local w = world { { status = status, body = '{"code":10015,"message":"Unknown Webhook"}' } }
    w.push(25)
    w.run()
    t.eq(#w.requests, 1)
    t.eq(#w.gone.entries, 25)
    w.push(5)
    t.eq(w.started, nil)
    t.eq(#w.requests, 1)
  end)
end

t.test("what comes while the webhook is being lost is handed over as well", function()
  local w
  w = world { function()
    w.push(3)
    return { status = 404 }
  end }
  w.push(2)
  w.run()
  t.eq(#w.gone.entries, 5)
  t.eq(w.queue:len(), 0)
end)

t.test("beyond its capacity the queue counts, and a digest tells", function()
  local w = world(nil, { capacity = 20 })
  w.push(20, { type = "contact.created" })
  w.push(7, { type = "contact.created", outcome = "done" })
  w.push(3, { type = "request.created", outcome = "done" })
  t.eq(w.queue:len(), 20)
  w.run()
  t.eq(#w.requests, 3)
  local digest = w.requests[3].message.embeds[1]
  t.eq(digest.title, "📋 10 notices left out")
  t.eq(digest.fields[1].value, "✅ 7 processed")
  t.eq(digest.fields[2].value, "✅ 3 processed")
  t.eq(w.counts.left_out, 10)
  t.eq(w.counts.sent, 21)
end)

t.test("a failure takes the place of a success that waits", function()
  local w = world(nil, { capacity = 3 })
  w.push(3)
  w.push(1, { rank = 3, outcome = "dead", embed = { title = "failure" } })
  t.eq(w.queue:len(), 3)
  w.run()
  t.eq(embeds(w, 1), 3)
  t.eq(w.requests[1].message.embeds[3].title, "failure")
  t.eq(w.requests[2].message.embeds[1].fields[1].value, "✅ 1 processed")
end)

t.test("an embed is not even made when there is no room", function()
  local w = world(nil, { capacity = 1 })
  w.push()
  local taken = w.queue:push { type = "a.b", outcome = "done", rank = 2, build = function()
    error("was built")
  end }
  t.eq(taken, false)
end)

t.test("while the queue stays full, a digest comes after half a minute", function()
  local w = world(nil, { capacity = 2, batch = 2 })
  local left = 50
  w.webhook.transport = function(request)
    w.requests[#w.requests + 1] = { message = json.decode(request.body) }
    w.now = w.now + 10000
    left = left - 1
    if left > 0 then
      w.push(4)
    end
    return OK
  end
  w.push(4)
  w.run()
  local digests = 0
  for i = 1, 40 do
    for _, one in ipairs(w.requests[i].message.embeds) do
      digests = digests + (one.title:find("left out", 1, true) and 1 or 0)
    end
  end
  t.ok(digests >= 5, "digests: " .. digests)
end)

t.test("a thousand types in a digest are bounded", function()
  local w = world(nil, { capacity = 1 })
  w.push()
  for i = 1, 1000 do
    w.push(1, { type = "type" .. i })
  end
  w.run()
  local digest = w.requests[2].message.embeds[1]
  t.eq(digest.title, "📋 1000 notices left out")
  t.ok(limits.check { embeds = { digest } })
end)

t.test("a sender that is stopped gives back what it held", function()
  local w = world { { status = 500 } }
  w.on_sleep = function()
    return nil
  end
  w.push(3, { embed = { title = "kept" } })
  w.run()
  t.eq(w.queue:len(), 3)
  t.eq(w.queue.sender, nil)
  w.on_sleep = nil
  w.push()
  w.run()
  t.eq(embeds(w, 2), 4)
end)

t.test("a digest that could not be sent is told later, with the same count", function()
  local w = world({ OK, { status = 500 } }, { capacity = 1 })
  w.push(4)
  w.on_sleep = function()
    return nil
  end
  w.run()
  t.eq(#w.requests, 2)
  w.on_sleep = nil
  w.push()
  w.run()
  t.eq(w.requests[4].message.embeds[1].title, "📋 3 notices left out")
  t.eq(w.counts.left_out, 3)
end)

t.test("a sender that fails in itself can be started again", function()
  local w = world()
  w.webhook.transport = function()
    error("a mistake of ours")
  end
  w.push()
  t.fails(w.run, "a mistake of ours")
  t.eq(w.queue.sender, nil)
  t.eq(w.queue:len(), 0)
end)

t.test("an answer of ten megabytes is not read to its end", function()
  local w = world { { status = 200, streamed = true, body = ("x"):rep(10 * 1024 * 1024) } }
  w.push()
  w.run()
  t.eq(w.enough, true)
  t.eq(#w.requests, 1)
  t.eq(w.counts.sent, 1)
end)

t.test("neither the token nor the address gets into a message", function()
  local w = world {
    { status = 400, body = '{"message":"see secret_Token-1","code":1}' },
    { code = "ENOTFOUND", message = "POST " .. URL .. ": no such host" },
    { code = "ENOTFOUND", message = "POST " .. URL .. ": no such host" },
    { code = "ENOTFOUND", message = "POST " .. URL .. ": no such host" },
  }
  for _ = 1, 2 do
    local _, detail = w.webhook:deliver("{}")
    t.ok(not detail.message:find("secret_Token", 1, true), detail.message)
    t.has(detail.message, "***")
  end
end)

local ADDRESSES = {
  { URL, true },
  { " " .. URL .. "\n", true },
  { URL .. "/", true },
  { URL .. "?thread_id=99", true },
  { "https://discord.com/api/v10/webhooks/1/tok", true },
  { "http://127.0.0.1:3000/capture/discord/webhooks/1/dev", true },
  { "discord.com/api/webhooks/1/tok", "does not begin with https://" },
  { "ftp://discord.com/api/webhooks/1/tok", "neither https:// nor http://" },
  { "https://discord.com/api/webhooks/1", "lacks /webhooks/" },
  { "https://discord.com/channels/1/2", "lacks /webhooks/" },
  { "https://discord.com/api/webhooks/abc/tok", "not a number" },
  { "https://discord.com/api/webhooks/1/to k", "blanks" },
  { "https://discord.com/api/webhooks/1/tok%0d", "characters that Discord does not use" },
  { "https://discord.com/api/webhooks/1/tok/slack", "something follows" },
  { "https://me:secret_Token-1@discord.com/api/webhooks/1/tok", "user name" },
  { "your-discord-webhook-url", "does not begin with" },
}
for i, case in ipairs(ADDRESSES) do
  t.test(("address %d: %s"):format(i, case[2] == true and "is taken" or case[2]), function()
    local parts, message, code = webhook.parse(case[1], "DISCORD_WEBHOOK")
    if case[2] == true then
      t.ok(parts, message)
    else
      t.eq(parts, nil)
      t.has(message, "DISCORD_WEBHOOK is not a Discord webhook")
      t.has(message, case[2])
      t.eq(code, "INVALID_WEBHOOK")
      t.ok(not message:find("secret_Token", 1, true))
    end
  end)
end

t.test("a thread's id stays in the address", function()
  t.eq(webhook.parse(URL .. "?thread_id=99&x=1", "X").url, URL .. "?wait=true&thread_id=99")
end)

t.test("a sender that died does not stop its queue", function()
  local w = world()
  local spawn, senders = w.queue.spawn, {}
  function w.queue.spawn(f)
    spawn(f)
    local sender = { dead = false, done = function(self) return self.dead end }
    senders[#senders + 1] = sender
    return sender
  end
  w.push(1)
  t.ok(w.started)
  w.started = nil -- it never ran to its end
  t.eq(w.queue:busy(), true)
  t.eq(w.started, nil)
  senders[1].dead = true
  t.eq(w.queue:busy(), true) -- what waits has a new one
  t.eq(#senders, 2)
  w.run()
  t.eq(#w.requests, 1)
  t.eq(w.queue:busy(), false)
end)
