--- Push messages to apps, through an HTTP gateway of the shape of Firebase Cloud Messaging (v1).
--
-- Codes: UNREGISTERED (the app is gone from the device: forget its token), TOO_BIG, UNAUTHORIZED,
-- REJECTED, NOT_CONFIGURED (permanent); RATE_LIMITED, UNAVAILABLE, BAD_ANSWER (transient), and
-- those of the network. A gateway has no idempotency key: `data.id` tells an app of a repeated one.
local answer = require "sipeat.answer"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"

local M = {}

local SEND = opts.spec("sipeat.push.send", {
  token = { "string" },
  topic = { "string" },
  title = { "string" },
  body = { "string" },
  data = { "table", default = {} },
  collapse_key = { "string" },
  ttl = { "duration" },
  url = { "string" },
  bearer = { "secret|handler" },
  timeout = { "duration", default = "15s" },
})

local MOST = 4096 -- bytes of a message's payload

-- Values of data are texts on the wire.
local function data_of(o, ctx)
  local data = {}
  for name, value in pairs(o.data) do
    local kind = type(value)
    if type(name) ~= "string" or kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      error("push.send: data is a table of name = text", 3)
    end
    data[name] = tostring(value)
  end
  data.id = data.id or type(ctx) == "table" and ctx.key or nil
  return next(data) and data or nil
end

local function message_of(o, ctx)
  local shown = (o.title or o.body) and { title = o.title, body = o.body } or nil
  local android = (o.collapse_key or o.ttl) and {
    collapse_key = o.collapse_key, ttl = o.ttl and ("%ds"):format(o.ttl // 1000) or nil,
  } or nil
  local apns = o.collapse_key and { headers = { ["apns-collapse-id"] = o.collapse_key } } or nil
  return {
    token = o.token, topic = o.topic, notification = shown, data = data_of(o, ctx),
    android = android, apns = apns,
  }
end

local function not_configured(name)
  local text = "push: %s is not set (put it into .env.local; `sipeat dev` needs none)"
  return failure.permanent(text:format(name), "NOT_CONFIGURED")
end

-- The words and the code of an error of the gateway.
local function error_of(body)
  local found = type(body) == "table" and type(body.error) == "table" and body.error or {}
  local code = found.status
  for _, detail in ipairs(type(found.details) == "table" and found.details or {}) do
    code = type(detail) == "table" and detail.errorCode or code
  end
  return type(found.message) == "string" and found.message or nil, code
end

local function refused(response, body)
  local words, said = error_of(body)
  local why = answer.failure("push", response, words)
  if not why then
    return nil
  elseif said == "UNREGISTERED" or response.status == 404 then
    why.code, why.kind = "UNREGISTERED", "permanent"
  elseif response.status == 401 or response.status == 403 then
    why.code = "UNAUTHORIZED"
  end
  return why
end

--- Sends one message to a device (`token`) or to all of a `topic`, and waits until the gateway has
--- taken it: { id = }. Settings that are not given: PUSH_URL, PUSH_TOKEN. `bearer` may be a
--- function that gives the token of now.
---@param options sipeat.push.SendOptions
---@param ctx table?
function M.send(options, ctx)
  local o = SEND(options)
  if (o.token == nil) == (o.topic == nil) then
    error("push.send: either token or topic is required", 2)
  elseif not o.title and not o.body and next(o.data) == nil then
    error("push.send: title, body or data is required", 2)
  end
  local message = message_of(o, ctx)
  local url, bearer = o.url or env.get "PUSH_URL", o.bearer or env.secret "PUSH_TOKEN"
  if not url or not bearer then
    return nil, not_configured(url and "PUSH_TOKEN" or "PUSH_URL")
  elseif #json.encode { message.notification, message.data } > MOST then
    return nil, failure.permanent(("push: larger than %d bytes"):format(MOST), "TOO_BIG")
  end
  bearer = opts.is_callable(bearer) and bearer() or bearer
  local response, text, code = require("sipeat.http").post(url, {
    json = { message = message }, timeout = o.timeout .. "ms",
    headers = { authorization = "Bearer " .. env.reveal(bearer) },
  })
  if not response then
    return nil, failure.of("push: " .. text, code)
  end
  local body = json.decode(response.body or "")
  local why = refused(response, body)
  if why then
    return nil, why
  elseif type(body) ~= "table" or type(body.name) ~= "string" then
    return nil, failure.new("push: the gateway's answer names no message", "BAD_ANSWER")
  end
  return { id = body.name }
end

return M
