--- notification: each channel, and what has none.
local events = require "flows.events"
local http = require "sipeat.http"
local mailer = require "flows.mailer"
local notification = require "flows.notification"
local t = require "sipeat.luatest"

local mails = {}
mailer.use(function(letter)
  mails[#mails + 1] = letter
  return true
end)

local function run(data)
  local event = t.ok(events.Notification:new(data, { id = "n1" }))
  return notification.handler(event, {
    id = "n1", key = "n1", memory = {}, log = require("sipeat.log").new "test",
  })
end

t.test("email is sent to the address that it names", function()
  t.ok(run { channel = "email", to = "a@b.example", subject = "Hi", text = "There" })
  t.eq({ #mails, mails[1].to, mails[1].subject, mails[1].text },
    { 1, "a@b.example", "Hi", "There\n" })
end)

t.test("discord is queued", function()
  local result = run { channel = "discord", subject = "Hi", text = "There", priority = "high" }
  t.eq(t.ok(result).queued, true)
end)

t.test("sms is not sent for want of a gateway, and says so", function()
  t.eq(t.ok(run { channel = "sms", to = "+123", text = "There" }).sent, false)
end)

for _, case in ipairs {
  { { channel = "pigeon", text = "x" }, "UNKNOWN_STRATEGY", "discord, email, slack, sms" },
  { { channel = "email", text = "x" }, "INVALID_EVENT", "needs `to`" },
  { { channel = "sms", text = "x" }, "INVALID_EVENT", "needs `to`" },
  { { channel = "slack", text = "x" }, "NOT_CONFIGURED", "SLACK_WEBHOOK" },
} do
  t.test(case[1].channel .. " that cannot be delivered fails for good: " .. case[2], function()
    local result, why = run(case[1])
    t.eq({ result, why.code, why.kind }, { nil, case[2], "permanent" })
    t.has(why.message, case[3])
  end)
end

t.test("slack answers decide whether it is tried again", function()
  local channels = require "flows.notification.channels"
  local status
  http.route("POST /slack", function(req)
    t.eq(req:json(), { text = "*Hi*\nThere" })
    return { status = status, body = "ok" }
  end)
  local url = "http://" .. t.ok(http.listen "127.0.0.1:0").address .. "/slack"
  local event = t.ok(events.Notification:new { channel = "slack", subject = "Hi", text = "There" })
  for code, kind in pairs { [200] = "sent", [429] = "transient", [500] = "transient",
    [404] = "permanent" } do
    status = code
    local result, why = channels.slack(event, {}, url)
    t.eq(result and "sent" or why.kind, kind, tostring(code))
  end
end)
