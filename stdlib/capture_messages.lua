--- Slack, a gateway for short messages, one for push messages and a sink of analytics, for `sipeat
--- dev`: each takes what the real one takes, refuses what that refuses, and keeps the rest for the
--- capture page.
local capture = require "sipeat.capture"
local json = require "sipeat.json"
local slack = require "sipeat.slack"
local sms = require "sipeat.sms"
local sys = require "sipeat.core.sys"

local M = {}

local taken = 0

local function answer(status, value)
  return { status = status, headers = { ["content-type"] = "application/json" },
    body = json.encode(value) }
end

local function plain(status, text)
  return { status = status, headers = { ["content-type"] = "text/plain" }, body = text }
end

local function next_id(prefix)
  taken = taken + 1
  return ("%s%016x"):format(prefix, taken)
end

-- --- Slack ---

local function length(value)
  return type(value) == "string" and (utf8.len(value) or #value) or 0
end

-- What Slack says of a message that it does not take, or nil.
local function slack_problem(message)
  local blocks, limits = message.blocks, slack.LIMITS
  if blocks ~= nil and type(blocks) ~= "table" then
    return "invalid_blocks"
  elseif length(message.text) == 0 and #(blocks or {}) == 0 then
    return "no_text"
  elseif length(message.text) > limits.text then
    return "msg_too_long"
  end
  for _, block in ipairs(blocks or {}) do
    local text = type(block) == "table" and type(block.text) == "table" and block.text.text
    local limit = type(block) == "table" and block.type == "header" and limits.header
      or limits.section
    if type(block) ~= "table" or type(block.type) ~= "string" or length(text) > limit then
      return "invalid_blocks"
    end
  end
  return #(blocks or {}) > limits.blocks and "invalid_blocks" or nil
end

local function webhook(req)
  local message = json.decode(req.body or "")
  if type(message) ~= "table" then
    return plain(400, "invalid_payload")
  end
  local problem = slack_problem(message)
  if problem then
    return plain(400, problem)
  end
  capture.record("slack", { channel = "of the webhook", text = message.text,
    blocks = message.blocks }, "")
  return plain(200, "ok")
end

local function post_message(req)
  local message = json.decode(req.body or "")
  if not (req.headers.authorization or ""):find "^Bearer %S" then
    return answer(200, { ok = false, error = "not_authed" })
  elseif type(message) ~= "table" then
    return answer(200, { ok = false, error = "invalid_json" })
  end
  local problem = length(message.channel) == 0 and "channel_not_found" or slack_problem(message)
  if problem then
    return answer(200, { ok = false, error = problem })
  end
  capture.record("slack", { channel = message.channel, text = message.text,
    blocks = message.blocks, thread_ts = message.thread_ts }, "")
  taken = taken + 1
  local ts = ("%d.%06d"):format(sys.now_ms() // 1000, taken % 1000000)
  return answer(200, { ok = true, channel = message.channel, ts = ts })
end

-- --- short messages ---

local function unescape(text)
  return (text:gsub("%+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function form_of(body)
  local form = {}
  for name, value in (body or ""):gmatch "([^&=]+)=([^&]*)" do
    form[unescape(name)] = unescape(value)
  end
  return form
end

local function sms_error(status, code, message)
  return answer(status, { code = code, message = message, status = status })
end

local function short_message(req)
  local form = form_of(req.body)
  if not (req.headers.authorization or ""):find "^Basic %S" then
    return sms_error(401, 20003, "Authenticate")
  elseif not (form.To or ""):find "^%+%d+$" then
    return sms_error(400, 21211, "Invalid 'To' Phone Number: " .. tostring(form.To))
  elseif length(form.Body) == 0 then
    return sms_error(400, 21602, "Message body is required.")
  elseif length(form.Body) > 1600 then
    return sms_error(400, 21617, "The concatenated message body exceeds the 1600 character limit")
  end
  local segments, alphabet = sms.segments(form.Body)
  local from = form.From or form.MessagingServiceSid
  capture.record("sms", { to = form.To, from = from, text = form.Body, segments = segments,
    alphabet = alphabet }, "")
  return answer(201, { sid = next_id "SM0000000000000000", status = "queued", to = form.To,
    from = form.From, body = form.Body, num_segments = tostring(segments) })
end

-- --- push messages ---

local function push_error(status, word, message)
  return answer(status, { error = { code = status, status = word, message = message } })
end

local function push_message(req)
  local body = json.decode(req.body or "")
  local message = type(body) == "table" and body.message
  if not (req.headers.authorization or ""):find "^Bearer %S" then
    return push_error(401, "UNAUTHENTICATED", "Request is missing a bearer token.")
  elseif type(message) ~= "table" or (message.token == nil) == (message.topic == nil) then
    return push_error(400, "INVALID_ARGUMENT", "Exactly one of token and topic is required.")
  end
  for _, value in pairs(message.data or {}) do
    if type(value) ~= "string" then
      return push_error(400, "INVALID_ARGUMENT", "Values of data are strings.")
    end
  end
  local shown = message.notification or {}
  capture.record("push", { title = shown.title, text = shown.body, token = message.token,
    topic = message.topic, data = message.data }, "")
  return answer(200, { name = "projects/dev/messages/" .. next_id "" })
end

-- --- analytics ---

local function analytics(req)
  local body = json.decode(req.body or "")
  if type(body) ~= "table" or type(body.batch) ~= "table" then
    return answer(400, { success = false, message = "batch is required" })
  end
  for _, call in ipairs(body.batch) do
    capture.record("analytics", call, "")
  end
  return answer(200, { success = true })
end

--- Registers the endpoints with the HTTP server.
---@param http {route: function}
function M.routes(http)
  local builtin = { builtin = true }
  http.route("POST /capture/slack/services/:team/:service/:token", webhook, builtin)
  http.route("POST /capture/slack/api/chat.postMessage", post_message, builtin)
  http.route("POST /capture/sms/2010-04-01/Accounts/:account/Messages.json", short_message, builtin)
  http.route("POST /capture/push", push_message, builtin)
  http.route("POST /capture/analytics/v1/batch", analytics, builtin)
end

return M
