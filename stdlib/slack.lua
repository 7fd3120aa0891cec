--- Slack: messages by an incoming webhook or by chat.postMessage, with text from outside escaped.
--
-- Sends wait for Slack; notify never does: it puts a message into a bounded buffer that goes out in
-- order, no faster than Slack allows. Codes: RATE_LIMITED, UNAVAILABLE (transient); REJECTED,
-- UNAUTHORIZED, WEBHOOK_GONE, TOO_BIG, NOT_CONFIGURED (permanent), and those of the network.
local answer = require "sipeat.answer"
local batch = require "sipeat.batch"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

-- What Slack takes, in characters.
M.LIMITS = { blocks = 50, text = 40000, section = 3000, header = 150, fields = 10, field = 2000 }

local SEND = opts.spec("sipeat.slack.send", {
  text = { "string", required = true },
  blocks = { "table" },
  webhook = { "secret" },
  timeout = { "duration", default = "10s" },
})

local POST = opts.spec("sipeat.slack.post", {
  channel = { "string", required = true },
  text = { "string", required = true },
  blocks = { "table" },
  thread_ts = { "string" },
  token = { "secret" },
  url = { "string" },
  timeout = { "duration", default = "10s" },
})

local NOTICE = opts.spec("sipeat.slack.notice", {
  title = { "string", required = true },
  text = { "string" },
  fields = { "table" },
  footer = { "string" },
})

local GONE = {
  no_service = true, no_service_id = true, no_team = true, no_active_hooks = true,
  invalid_token = true, channel_is_archived = true, channel_not_found = true,
}
local UNAUTHORIZED = {
  invalid_auth = true, not_authed = true, account_inactive = true, token_revoked = true,
  token_expired = true, missing_scope = true, not_allowed_token_type = true, no_permission = true,
}
local PASSING = {
  ratelimited = "RATE_LIMITED", rate_limited = "RATE_LIMITED",
  message_limit_exceeded = "RATE_LIMITED", internal_error = "UNAVAILABLE",
  fatal_error = "UNAVAILABLE", service_unavailable = "UNAVAILABLE",
  request_timeout = "UNAVAILABLE", rollup_error = "UNAVAILABLE",
}

-- --- text ---

--- Text from outside as Slack shows it as it is: no link, no mention, no channel.
---@param text any
---@return string
function M.escape(text)
  text = sys.utf8_clean(tostring(text))
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

-- Escaped and no longer than the limit; an entity is never cut in two.
local function cut(text, limit)
  local escaped = M.escape(text)
  if utf8.len(escaped) <= limit then
    return escaped
  end
  local kept = escaped:sub(1, utf8.offset(escaped, limit) - 1)
  return kept:gsub("&%a*$", "") .. "…"
end

local function is_too_long(text, limit)
  return type(text) == "string" and (utf8.len(text) or #text) > limit
end

-- What of a message Slack would refuse, or nil.
local function excess(text, blocks)
  local limits = M.LIMITS
  if is_too_long(text, limits.text) then
    return ("the text is longer than %d characters"):format(limits.text)
  elseif #(blocks or {}) > limits.blocks then
    return ("more than %d blocks"):format(limits.blocks)
  end
  for i, block in ipairs(blocks or {}) do
    local inner = type(block) == "table" and type(block.text) == "table" and block.text.text
    local limit = type(block) == "table" and (block.type == "header" and limits.header
      or limits.section)
    local fields = type(block) == "table" and block.fields or {}
    if is_too_long(inner, limit) then
      return ("the text of block %d is longer than %d characters"):format(i, limit)
    elseif #fields > limits.fields then
      return ("block %d has more than %d fields"):format(i, limits.fields)
    end
    for _, field in ipairs(fields) do
      if is_too_long(field.text, limits.field) then
        return ("a field of block %d is longer than %d characters"):format(i, limits.field)
      end
    end
  end
end

local function too_big(text, blocks)
  local why = excess(text, blocks)
  return why and failure.permanent("slack: " .. why, "TOO_BIG")
end

local function mrkdwn(text)
  return { type = "mrkdwn", text = text }
end

--- A message of texts from outside: { text =, blocks = }, escaped, and cut to what Slack takes.
--- fields is a list of { name, value }, of which the first ten are shown.
---@param options sipeat.slack.NoticeOptions
function M.notice(options)
  local o, limits = NOTICE(options), M.LIMITS
  local title = { type = "plain_text", text = cut(o.title, limits.header), emoji = true }
  local blocks = { { type = "header", text = title } }
  if o.text and o.text ~= "" then
    blocks[#blocks + 1] = { type = "section", text = mrkdwn(cut(o.text, limits.section)) }
  end
  local fields = {}
  for i, field in ipairs(o.fields or {}) do
    if i <= limits.fields then
      local name, value = cut(field[1], 200), cut(field[2], limits.field - 210)
      fields[i] = mrkdwn(("*%s*\n%s"):format(name, value))
    end
  end
  if #fields > 0 then
    blocks[#blocks + 1] = { type = "section", fields = fields }
  end
  if o.footer then
    blocks[#blocks + 1] = { type = "context", elements = { mrkdwn(cut(o.footer, limits.field)) } }
  end
  return { text = cut(o.text and o.title .. ": " .. o.text or o.title, 3000), blocks = blocks }
end

-- --- sending ---

local function not_configured(name)
  local text = "slack: %s is not set (put it into .env.local; `sipeat dev` needs none)"
  return failure.permanent(text:format(name), "NOT_CONFIGURED")
end

local function refused(what, response, word)
  local why = answer.failure(what, response, word)
  if why and GONE[word] and response.status ~= 200 then
    why.code, why.kind = "WEBHOOK_GONE", "permanent"
  elseif why and response.status == 403 then
    why.code = "UNAUTHORIZED"
  end
  return why
end

local function send(o)
  local webhook = o.webhook or env.secret "SLACK_WEBHOOK"
  local problem = not webhook and not_configured "SLACK_WEBHOOK" or too_big(o.text, o.blocks)
  if problem then
    return nil, problem
  end
  local response, message, code = require("sipeat.http").post(webhook, {
    json = { text = o.text, blocks = o.blocks }, timeout = o.timeout .. "ms",
  })
  if not response then
    return nil, failure.of("slack: " .. message, code)
  end
  local word = (response.body or ""):sub(1, 100):match "^[%l_]+$"
  local why = refused("slack webhook", response, word)
  if not why and response.body ~= "ok" then
    why = failure.new("slack webhook: the answer is not Slack's (is SLACK_WEBHOOK right?)",
      "BAD_ANSWER")
  end
  return not why and { sent = true } or nil, why
end

--- Posts one message to an incoming webhook (the setting SLACK_WEBHOOK when none is given) and
--- waits for Slack.
---@param options sipeat.slack.SendOptions
function M.send(options)
  return send(SEND(options))
end

-- What chat.postMessage says of a failure, which comes with status 200.
local function said(word, response)
  word = type(word) == "string" and word or "no reason"
  local text = "slack chat.postMessage: " .. word
  if PASSING[word] then
    local why = failure.transient(text, PASSING[word])
    local wait = answer.retry_after_ms(response.headers["retry-after"])
    why.retry_at_ms = wait and sys.monotonic_ms() + wait or nil
    return why
  elseif UNAUTHORIZED[word] then
    return failure.permanent(text .. " (is SLACK_BOT_TOKEN right?)", "UNAUTHORIZED")
  end
  return failure.permanent(text, word == "msg_too_long" and "TOO_BIG" or "REJECTED")
end

--- Posts one message to a channel with a bot's token (the setting SLACK_BOT_TOKEN) and waits for
--- Slack: { ts =, channel = }. `thread_ts` answers the message of that ts.
---@param options sipeat.slack.PostOptions
function M.post(options)
  local o = POST(options)
  local token = o.token or env.secret "SLACK_BOT_TOKEN"
  local problem = not token and not_configured "SLACK_BOT_TOKEN" or too_big(o.text, o.blocks)
  if problem then
    return nil, problem
  end
  local base = o.url or env.get("SLACK_API_URL", "https://slack.com/api")
  local response, message, code = require("sipeat.http").post(base:gsub("/+$", "")
    .. "/chat.postMessage", {
    json = { channel = o.channel, text = o.text, blocks = o.blocks, thread_ts = o.thread_ts },
    headers = {
      authorization = "Bearer " .. env.reveal(token),
      ["content-type"] = "application/json; charset=utf-8",
    },
    timeout = o.timeout .. "ms",
  })
  if not response then
    return nil, failure.of("slack: " .. message, code)
  end
  local why = answer.failure("slack chat.postMessage", response)
  if why then
    return nil, why
  end
  local body = json.decode(response.body)
  if type(body) ~= "table" then
    return nil, failure.new("slack chat.postMessage: the answer is no JSON object", "BAD_ANSWER")
  elseif body.ok ~= true then
    return nil, said(body.error, response)
  end
  return { ts = body.ts, channel = body.channel }
end

local outgoing -- the buffer of notify: one for the process

--- Puts a message for an incoming webhook into the buffer, at once: true, or false and "full".
--- What comes of it is in the log and in /metrics (the batch "slack").
---@param options sipeat.slack.SendOptions
function M.notify(options)
  local o = SEND(options)
  local problem = too_big(o.text, o.blocks)
  if problem then
    return false, problem.message
  end
  outgoing = outgoing or batch.new {
    name = "slack", max_items = 1000, batch_items = 1, batch_bytes = "1mb", flush = "1ms",
    send = function(items)
      return send(items[1])
    end,
  }
  return outgoing:add(o, #json.encode { o.text, o.blocks })
end

return M
