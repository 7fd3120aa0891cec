--- The public functions, against a transport that plays Discord.
local discord = require "sipeat.discord"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local number = 0

--- Settings with a webhook of its own, so that tests do not meet: {sent = messages, embeds()}.
local function fake(options, answer)
  number = number + 1
  local w = { sent = {}, urls = {} }
  local o = { webhook = ("https://discord.com/api/webhooks/%d/tok-en_%d"):format(number, number) }
  o.backoff = { "1ms", "5ms" }
  function o.transport(request)
    task.sleep("1ms")
    w.urls[#w.urls + 1] = request.url
    local message = json.decode(request.body)
    local response, why, code = nil, nil, nil
    if answer then
      response, why, code = answer(#w.urls, message, request)
    end
    if why then
      return nil, why, code
    end
    response = response or { status = 200, headers = {}, body = '{"id":"42"}' }
    if response.status == 200 then
      w.sent[#w.sent + 1] = message
    end
    return response
  end
  for key, given in pairs(options or {}) do
    o[key] = given
  end
  discord.configure(o)
  function w.embeds()
    local list = {}
    for _, message in ipairs(w.sent) do
      table.move(message.embeds, 1, #message.embeds, #list + 1, list)
    end
    return list
  end
  return w
end

local function field(made, name)
  for _, one in ipairs(made.fields) do
    if one.name == name then
      return one.value
    end
  end
end

local CONTACT = { id = "e-1", type = "contact.created", data = { name = "John Doe" } }

--- A ctx as a flow makes it: finish() ends the event.
local function context()
  local ctx = { attempt = 1, callbacks = {} }
  function ctx:on_end(f)
    self.callbacks[#self.callbacks + 1] = f
  end
  function ctx:finish(outcome)
    for _, f in ipairs(self.callbacks) do
      f(outcome)
    end
  end
  return ctx
end

t.test("without a webhook notices are dropped and nothing fails", function()
  if env.get("DISCORD_WEBHOOK") then
    return
  end
  local before = discord.stats().dropped
  t.eq(discord.notify { title = "hello" }, false)
  t.eq(discord.stats().dropped, before + 1)
  t.eq(discord.stats().webhook, "none")
  local ok, message, code = discord.check()
  t.eq({ ok, message, code }, { nil, "DISCORD_WEBHOOK is not set", "NOT_CONFIGURED" })
  t.eq(select(3, discord.test()), "NOT_CONFIGURED")
  t.eq(select(3, discord.send { content = "x" }), "NOT_CONFIGURED")
  t.eq(discord.flush("1s"), true)
end)

t.test("notified tells of the end, not of the handler's return", function()
  local w = fake()
  local ctx = context()
  local handler = discord.notified(function(event, given)
    t.eq(event, CONTACT)
    t.eq(given, ctx)
    return "result"
  end)
  t.eq(handler(CONTACT, ctx), "result")
  t.eq(#ctx.callbacks, 1)
  t.eq(discord.stats().queued, 0)
  ctx:finish { status = "done", event = CONTACT, attempts = 2 }
  t.eq(discord.stats().queued, 1)
  t.eq(discord.flush("5s"), true)
  local made = w.embeds()[1]
  t.eq(made.title, "📝 contact.created event processed")
  t.eq(field(made, "Event ID"), "e-1")
  t.eq(field(made, "Attempts"), "2")
end)

t.test("notified passes on what the handler returns or raises", function()
  fake()
  local bad = discord.notified(function()
    return nil, "no", "CODE"
  end)
  t.eq(table.pack(bad(CONTACT, context())), { nil, "no", "CODE", n = 3 })
  t.fails(discord.notified(function()
    error("raised")
  end), "raised", CONTACT, context())
end)

t.test("a dead event is red, with what its failure says", function()
  local w = fake()
  local ctx = context()
  discord.notified(function() end)(CONTACT, ctx)
  local why = failure.permanent("Payment processing failed")
  ctx:finish { status = "dead", failure = why, attempts = 1 }
  t.eq(discord.flush("5s"), true)
  local made = w.embeds()[1]
  t.eq(made.title, "📝 contact.created event failed")
  t.eq(field(made, "Error"), "Payment processing failed")
end)

t.test("notified can be kept to one outcome", function()
  local w = fake()
  local ctx = context()
  discord.notified(function() end, { outcomes = { "dead" } })(CONTACT, ctx)
  ctx:finish { status = "done", event = CONTACT }
  discord.flush("5s")
  t.eq(#w.embeds(), 0)
  t.fails(discord.notified, "must be from done, dead", print, { outcomes = { "well" } })
  t.fails(function() discord.notified(print, { outcome = {} }) end, "did you mean outcomes?")
end)

t.test("an event that could not be parsed shows its place and its bytes", function()
  local w = fake()
  discord.on_dead({
    topic = "sipeat.contact.events", partition = 2, offset = 17, key = "k", value = '{"broken\xFF',
  }, failure.permanent("json decode: not valid UTF-8", "BAD_DATA"), { attempt = 1 })
  discord.flush("5s")
  local made = w.embeds()[1]
  t.eq(made.title, "📦 sipeat.contact.events event failed")
  t.eq(field(made, "Partition"), "2")
  t.eq(field(made, "Offset"), "17")
  t.eq(field(made, "Key"), "k")
  t.eq(field(made, "Value"), '{"broken\u{FFFD}')
  t.eq(field(made, "Error"), "json decode: not valid UTF-8")
end)

t.test("the seed's function works", function()
  local w = fake()
  t.eq(discord.send_kafka_event_notification(CONTACT, true), true)
  t.eq(discord.send_kafka_event_notification(CONTACT, false, "nope"), true)
  discord.flush("5s")
  t.eq(#w.embeds(), 2)
  t.eq(field(w.embeds()[2], "Error"), "nope")
  t.fails(discord.send_kafka_event_notification, "an event is needed", "contact.created", true)
end)

local FILTERS = {
  { "only, by name", { only = { "contact.created" } }, { "contact.created" } },
  { "only, by pattern", { only = { "*.created" } }, { "contact.created", "request.created" } },
  { "a dot is a dot", { only = { "contact?created", "contactxcreated" } }, {} },
  { "except", { except = { "contact.*" } }, { "request.created", "order.paid" } },
  { "outcomes", { outcomes = { "dead" } }, { "request.created" } },
  { "priority", { min_priority = "high" }, { "request.created" } },
}
for _, case in ipairs(FILTERS) do
  t.test("filter: " .. case[1], function()
    local w = fake(case[2])
    discord.notify { type = "contact.created", ok = true }
    discord.notify { type = "request.created", ok = false, error = "x" }
    discord.notify { type = "order.paid", ok = true, priority = "low" }
    discord.flush("5s")
    local got = {}
    for i, made in ipairs(w.embeds()) do
      got[i] = made.title:match("%S+ (%S+) event")
    end
    t.eq(got, case[3])
  end)
end

t.test("a notice with a mistake in it throws at the caller", function()
  fake()
  t.fails(function() discord.notify { priorty = "low" } end, "did you mean priority?")
  t.fails(function() discord.notify { title = 1 } end, "discord_test.lua")
  t.fails(function() discord.notify { priority = "urgent", title = "x" } end, "must be one of")
end)

local MISTAKES = {
  { { webhook = "your-discord-webhook-url" }, "discord option webhook is not a Discord webhook" },
  { { webhook = env.conceal("https://x/secret-stuff") }, "lacks /webhooks/" },
  { { fallback = "http://x/webhooks/a/b" }, "discord option fallback" },
  { { queue = 0 }, "at least 1" },
  { { batch = 11 }, "at most 10" },
  { { username = "Discord helper" }, "cannot contain" },
  { { outcomes = { "good" } }, "must be from done, dead, info" },
  { { backoff = { "soon" } }, "no duration" },
  { { weebhook = "x" }, "did you mean webhook?" },
}
for _, case in ipairs(MISTAKES) do
  t.test("configure refuses: " .. case[2], function()
    local err = t.fails(function() discord.configure(case[1]) end, case[2])
    t.has(err, "discord_test.lua")
    t.ok(not err:find("secret-stuff", 1, true))
  end)
end

t.test("send waits and says what came back", function()
  local w = fake()
  t.eq(discord.send { content = "hello @everyone" }, { status = 200, id = "42" })
  t.eq(w.sent[1].content, "hello @everyone")
  t.eq(json.encode(w.sent[1].allowed_mentions), '{"parse":[]}')
  local ok, message, code = discord.send { content = ("x"):rep(2001) }
  t.eq({ ok, code }, { nil, "INVALID_MESSAGE" })
  t.has(message, "content: Must be 2000 or fewer")
  t.eq(#w.urls, 1)
  t.eq(select(3, discord.send { content = "\xFF" }), "INVALID_MESSAGE")
  t.fails(function() discord.send("text") end, "a message is a table")
  discord.send { content = "x", allowed_mentions = { parse = { "everyone" } } }
  t.eq(json.encode(w.sent[2].allowed_mentions), '{"parse":[]}')
end)

t.test("test sends the five messages and says for each what came back", function()
  local w = fake({}, function(i)
    if i == 2 then
      return { status = 400, headers = {}, body = '{"message":"Invalid Form Body","code":50035}' }
    end
  end)
  local results = discord.test()
  local seen = {}
  for i, result in ipairs(results) do
    seen[i] = { result.name, result.ok, result.status, result.code }
    t.ok(result.ms >= 0)
  end
  t.eq(seen, {
    { "simple text", true, 200 },
    { "rich embeds", false, 400, "REJECTED" },
    { "successful contact.created", true, 200 },
    { "failed request.created", true, 200 },
    { "successful machine.created", true, 200 },
  })
  t.has(results[2].message, "Invalid Form Body")
  t.eq(w.sent[2].embeds[1].title, "📝 contact.created event processed")
  t.eq(w.sent[3].embeds[1].title, "🥤 request.created event failed")
  t.eq(w.sent[4].embeds[1].title, "🏭 machine.created event processed")
end)

t.test("test stops at a webhook that does not exist", function()
  local w = fake({}, function()
    return { status = 404, headers = {}, body = '{"message":"Unknown Webhook","code":10015}' }
  end)
  local results = discord.test()
  t.eq(#results, 5)
  t.eq({ results[1].status, results[1].code }, { 404, "WEBHOOK_GONE" })
  t.has(results[5].message, "not tried")
  t.eq(#w.urls, 1)
  t.eq(select(3, discord.check()), "WEBHOOK_GONE")
end)

t.test("when the webhook is gone, what waits and what comes goes to the fallback", function()
  local fallback = "https://discord.com/api/webhooks/555/fall-back"
  local w = fake({ fallback = fallback }, function(_, _, request)
    if not request.url:find("/555/", 1, true) then
      return { status = 404, headers = {}, body = "" }
    end
  end)
  for _ = 1, 3 do
    discord.notify { title = "before" }
  end
  t.eq(discord.flush("5s"), true)
  discord.notify { title = "after" }
  t.eq(discord.flush("5s"), true)
  t.eq(#w.embeds(), 4)
  t.eq(#w.urls, 3)
  t.has(w.urls[3], "/555/")
  t.eq(discord.stats().webhook, "discord option fallback")
end)

t.test("a Discord that hangs costs the sender of a notice nothing, and flush ends", function()
  fake({ transport = function()
    local ok, message, code = task.sleep("1h")
    return ok and {} or nil, message, code
  end })
  local before = task.monotonic_ms()
  for _ = 1, 1500 do
    discord.notify { type = "a.b", ok = true }
  end
  t.ok(task.monotonic_ms() - before < 1500)
  local ok, message, code = discord.flush("30ms")
  t.eq({ ok, code }, { nil, "ETIMEDOUT" })
  t.has(message, "1000 notices were not delivered")
  t.ok(discord.stats().left_out >= 490)
end)

t.test("a notice can have its own webhook", function()
  local w = fake()
  discord.notify { title = "x", webhook = env.conceal("https://discord.com/api/webhooks/777/own") }
  t.eq(discord.flush("50ms"), nil) -- the hanging one of the test before is still there
  t.has(w.urls[1], "/777/own")
end)

t.test("the log line of the sender's task carries no event's id", function()
  local seen
  fake({ transport = function()
    seen = task.event_id()
    return { status = 204, headers = {}, body = "" }
  end })
  task.set_event_id("evt-1")
  discord.notify { title = "x" }
  discord.flush("50ms")
  t.eq(seen, "")
  task.set_event_id("")
end)
