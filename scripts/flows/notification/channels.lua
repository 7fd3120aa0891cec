--- The ways in which a notification reaches somebody, by the name of its channel.
local capture = require "sipeat.capture"
local discord = require "sipeat.discord"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local http = require "sipeat.http"
local mailer = require "flows.mailer"

local M = {}

local function need_address(event, what)
  if (event.data.to or ""):find("%S") then
    return true
  end
  local text = ("a notification by %s needs `to`: %s"):format(event.data.channel, what)
  return nil, failure.permanent(text, "INVALID_EVENT")
end

function M.email(event, ctx)
  local ok, problem = need_address(event, "an e-mail address")
  if not ok then
    return nil, problem
  end
  local data = event.data
  return mailer.send({
    to = data.to, subject = data.subject or "A notice from SipEat", text = data.text .. "\n",
  }, ctx)
end

--- Queued at once and sent in the background, as every notice to Discord.
function M.discord(event)
  local data = event.data
  discord.notify {
    type = "notification",
    title = data.subject,
    description = data.text,
    priority = data.priority,
    event_id = event.id,
  }
  return { queued = true }
end

--- To SLACK_WEBHOOK, or to the given one.
function M.slack(event, _, webhook)
  webhook = webhook or env.secret "SLACK_WEBHOOK"
  if not webhook then
    local text = "SLACK_WEBHOOK is not set (put SLACK_WEBHOOK=https://… into .env.local)"
    return nil, failure.permanent(text, "NOT_CONFIGURED")
  end
  local data = event.data
  local text = (data.subject and "*" .. data.subject .. "*\n" or "") .. data.text
  local response, message, code = http.post(env.reveal(webhook), {
    json = { text = text }, timeout = "10s",
  })
  if not response then
    return nil, "slack: " .. message, code
  elseif response.status == 429 or response.status >= 500 then
    local why = ("slack: busy (status %d)"):format(response.status)
    return nil, failure.transient(why, "UNAVAILABLE")
  elseif response.status ~= 200 then
    local why = ("slack: refused with status %d"):format(response.status)
    return nil, failure.permanent(why, "REJECTED")
  end
  return { sent = true }
end

--- No gateway for text messages is connected yet: the message is logged, and shown by `sipeat dev`.
function M.sms(event, ctx)
  local ok, problem = need_address(event, "a telephone number")
  if not ok then
    return nil, problem
  end
  capture.record("notice", { channel = "sms", to = event.data.to, text = event.data.text })
  ctx.log:info("a text message, not sent for want of a gateway", { to = event.data.to })
  return { sent = false, reason = "no gateway" }
end

return M
