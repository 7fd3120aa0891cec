--- Short messages through an HTTP gateway of Twilio's shape.
--
-- Such a gateway knows no idempotency key that can be relied on: when an answer is lost, a message
-- may have gone out. Codes: INVALID_NUMBER, TOO_BIG, UNSUBSCRIBED, UNAUTHORIZED, REJECTED,
-- NOT_CONFIGURED (permanent); RATE_LIMITED, UNAVAILABLE, BAD_ANSWER (transient), and those of the
-- network.
local answer = require "sipeat.answer"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local SEND = opts.spec("sipeat.sms.send", {
  to = { "string", required = true },
  text = { "string", required = true },
  from = { "string" },
  url = { "string" },
  account = { "string" },
  token = { "secret" },
  timeout = { "duration", default = "15s" },
})

local MOST = 1600 -- characters that a gateway takes
-- Characters of GSM 03.38 that are not ASCII, and those that take two places.
local GSM = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
  .. "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
local GSM_TWICE = "\f^{}\\[~]|€"
local CODES = { -- of the gateway's errors
  [20003] = "UNAUTHORIZED", [20429] = "RATE_LIMITED", [21211] = "INVALID_NUMBER",
  [21614] = "INVALID_NUMBER", [21610] = "UNSUBSCRIBED", [21617] = "TOO_BIG",
}

local places = {} -- code point -> places of an alphabet of seven bits
for text, n in pairs { [GSM] = 1, [GSM_TWICE] = 2 } do
  for _, point in utf8.codes(text) do
    places[point] = n
  end
end

--- How many messages a text is billed as, and its alphabet: "gsm7" (160 characters, or 153 of each
--- part) or "ucs2" (70, or 67).
---@param text string
---@return integer? segments
---@return string alphabet
function M.segments(text)
  if not utf8.len(text) then
    return nil, "the text is not UTF-8"
  end
  local seven, wide = 0, 0
  for _, point in utf8.codes(text) do
    seven = seven and places[point] and seven + places[point]
    wide = wide + (point > 0xffff and 2 or 1)
  end
  local length, alone, part = seven or wide, seven and 160 or 70, seven and 153 or 67
  local segments = length <= alone and 1 or (length + part - 1) // part
  return segments, seven and "gsm7" or "ucs2"
end

-- Settings and data that nothing can be sent without, or nil and a failure.
local function checked(o)
  local use = {
    account = o.account or env.get "SMS_ACCOUNT",
    token = o.token or env.secret "SMS_TOKEN",
    from = o.from or env.get "SMS_FROM",
  }
  local missing = not use.account and "SMS_ACCOUNT" or not use.token and "SMS_TOKEN"
    or not use.from and "SMS_FROM"
  local length = utf8.len(o.text)
  if missing then
    local text = "sms: %s is not set (put it into .env.local; `sipeat dev` needs none)"
    return nil, failure.permanent(text:format(missing), "NOT_CONFIGURED")
  elseif not o.to:find "^%+[1-9]%d%d%d%d%d%d%d*$" or #o.to > 16 then
    local text = "sms: %s is no number (expected +, country and number, as in +491701234567)"
    return nil, failure.permanent(text:format(opts.show(o.to)), "INVALID_NUMBER")
  elseif not length or length == 0 or length > MOST then
    local text = "sms: the text has 1 to %d characters of UTF-8"
    return nil, failure.permanent(text:format(MOST), length and "TOO_BIG" or "BAD_DATA")
  end
  return use
end

local function refused(response)
  local body = json.decode(response.body or "")
  body = type(body) == "table" and body or {}
  local words = type(body.message) == "string" and ("%s (code %s)"):format(body.message, body.code)
  local why = answer.failure("sms", response, words or nil)
  local code = why and CODES[math.tointeger(body.code)]
  if code then
    why.code = code
    why.kind = code == "RATE_LIMITED" and "transient" or "permanent"
  elseif why and (response.status == 401 or response.status == 403) then
    why.code = "UNAUTHORIZED"
  end
  return why, body
end

--- Sends one message and waits until the gateway has taken it: { id =, status =, segments = }.
--- Settings that are not given: SMS_URL (https://api.twilio.com), SMS_ACCOUNT, SMS_TOKEN, SMS_FROM.
--- The key of a step's context goes as Idempotency-Key, for gateways that know it.
---@param options sipeat.sms.SendOptions
---@param ctx table?
function M.send(options, ctx)
  local o = SEND(options)
  local use, problem = checked(o)
  if not use then
    return nil, problem
  end
  local base = o.url or env.get("SMS_URL", "https://api.twilio.com")
  local http = require "sipeat.http"
  local path = "/2010-04-01/Accounts/" .. http.encode(use.account) .. "/Messages.json"
  local sender = use.from:find "^MG%x+$" and "MessagingServiceSid" or "From"
  local response, message, code = http.post(base:gsub("/+$", "") .. path, {
    form = { To = o.to, [sender] = use.from, Body = o.text },
    headers = {
      authorization = "Basic " .. sys.base64(use.account .. ":" .. env.reveal(use.token)),
      ["idempotency-key"] = type(ctx) == "table" and ctx.key or nil,
    },
    timeout = o.timeout .. "ms",
  })
  if not response then
    return nil, failure.of("sms: " .. message, code)
  end
  local why, body = refused(response)
  if why then
    return nil, why
  elseif type(body.sid) ~= "string" then
    return nil, failure.new("sms: the gateway's answer names no message", "BAD_ANSWER")
  end
  return { id = body.sid, status = body.status, segments = (M.segments(o.text)) }
end

return M
