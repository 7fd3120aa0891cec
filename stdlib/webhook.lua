--- Webhooks in: what Stripe, Slack and Discord send, with its signature checked before anything
--- else is looked at, and each delivery handled once.
--
-- A handler gets (event, req). What it returns is the answer, nothing is "200, received"; when it
-- fails (raises, or returns nil and a message) the sender gets a 500 and sends the event again.
local env = require "sipeat.env"
local json = require "sipeat.json"
local log = require("sipeat.log").new "webhook"
local opts = require "sipeat.opts"
local problem = require("sipeat.http_server").problem
local seen = require "sipeat.webhook_seen"
local signature = require "sipeat.webhook_signature"
local sys = require "sipeat.core.sys"

local M = {}

local DAY_MS = 24 * 60 * 60 * 1000
local STRIPE_KEEP_MS = 7 * DAY_MS -- it repeats for three
local KEEP_MS = DAY_MS

local function now_s()
  return sys.now_ms() // 1000
end

local function refused(status, detail, code)
  return problem(status, detail, { code = code })
end

-- The secret of an option, or of the environment; nil and the answer when there is none.
local function secret_of(given, variable)
  local secret = given or env.secret(variable)
  if not secret then
    return nil, refused(503, variable .. " is not set: nothing can be checked", "NOT_CONFIGURED")
  end
  return env.reveal(secret)
end

-- --- once ---

local function is_refusal(answer, message)
  return answer == nil and message ~= nil
    or type(answer) == "table" and (answer.status or 200) >= 400
end

-- Handles a delivery whose claim is ours; the claim ends with it, however it ends.
local function handle(source, id, handler, event, req)
  local settled = false
  local _ <close> = setmetatable({}, {
    __close = function()
      if not settled then
        seen.release(source, id)
      end
    end,
  })
  local answer, message, code = handler(event, req)
  if is_refusal(answer, message) then
    return answer, message, code
  end
  settled = true
  local ok, why = seen.settle(source, id)
  if not ok then -- handled it is; told again, it waits for the end of this process
    log:error(("%s %s was handled, which cannot be noted: %s"):format(source, id, why))
  end
  return answer
end

-- Handles a delivery, unless it was or is handled.
local function once(source, id, keep_ms, handler, event, req)
  local state, message, code = seen.claim(source, id, keep_ms)
  if not state then
    return refused(503, message, code)
  elseif state == "busy" then
    return refused(409, "this delivery is being handled", "BUSY")
  elseif state == "done" then
    return { status = 200, json = { received = true, repeated = true } }
  end
  local answer
  answer, message, code = handle(source, id, handler, event, req)
  if answer == nil and message == nil then
    return { status = 200, json = { received = true } }
  end
  return answer, message, code
end

local function check_handler(handler, name)
  if not opts.is_callable(handler) then
    error(("webhook.%s: a handler is needed, function(event, req)"):format(name), 3)
  end
end

-- --- Stripe ---

local STRIPE = opts.spec("sipeat.webhook.stripe", {
  secret = { "secret" },
  tolerance = { "duration", default = "5m" },
})

--- A route's handler for events of Stripe: http.route("POST /webhooks/stripe", webhook.stripe(…)).
function M.stripe(options, handler)
  local o = STRIPE(options)
  check_handler(handler, "stripe")
  return function(req)
    local secret, answer = secret_of(o.secret, "STRIPE_WEBHOOK_SECRET")
    if not secret then
      return answer
    end
    local ok, why = signature.stripe(secret, req.headers["stripe-signature"], req.body, now_s(),
      o.tolerance)
    if not ok then
      return refused(400, why, "SIGNATURE")
    end
    local event, message = req:json()
    if type(event) ~= "table" or type(event.id) ~= "string" then
      return refused(400, message or "an event with an id is needed", "BAD_DATA")
    end
    return once("stripe", event.id, STRIPE_KEEP_MS, handler, event, req)
  end
end

-- --- Slack ---

local SLACK = opts.spec("sipeat.webhook.slack", {
  secret = { "secret" },
  tolerance = { "duration", default = "5m" },
})

-- Events come as JSON, slash commands as a form, buttons as JSON in a form.
local function slack_event(req)
  local kind = req.headers["content-type"] or ""
  if not kind:find("^application/x%-www%-form%-urlencoded") then
    return req:json()
  end
  local fields, message = req:form()
  if fields and fields.payload then
    return json.decode(fields.payload)
  end
  return fields, message
end

--- A route's handler for what Slack sends: events, slash commands, buttons.
function M.slack(options, handler)
  local o = SLACK(options)
  check_handler(handler, "slack")
  return function(req)
    local secret, answer = secret_of(o.secret, "SLACK_SIGNING_SECRET")
    if not secret then
      return answer
    end
    local given = req.headers["x-slack-signature"]
    local ok, why = signature.slack(secret, given, req.headers["x-slack-request-timestamp"],
      req.body, now_s(), o.tolerance)
    if not ok then
      return refused(401, why, "SIGNATURE")
    end
    local event, message = slack_event(req)
    if type(event) ~= "table" then
      return refused(400, message or "an event, a command or a button is needed", "BAD_DATA")
    elseif event.type == "url_verification" and type(event.challenge) == "string" then
      return { text = event.challenge }
    end
    local id = type(event.event_id) == "string" and event.event_id or sys.sha256(given)
    return once("slack", id, KEEP_MS, handler, event, req)
  end
end

-- --- Discord ---

local PING, PONG = 1, 1

local DISCORD = opts.spec("sipeat.webhook.discord", {
  public_key = { "string" },
  tolerance = { "duration", default = "5m" },
})

--- A route's handler for interactions of Discord. The buttons of notices about parked chains are
--- acted on by itself; `handler` gets everything else, and answers with `json`.
function M.discord(options, handler)
  local o = DISCORD(options)
  if handler ~= nil then
    check_handler(handler, "discord")
  end
  return function(req)
    local key = o.public_key or env.get "DISCORD_PUBLIC_KEY"
    if not key or not key:find "^%x+$" or #key ~= 64 then
      return refused(503, "DISCORD_PUBLIC_KEY is not set, or is not 64 hex digits",
        "NOT_CONFIGURED")
    end
    local ok, why = signature.discord(key, req.headers["x-signature-ed25519"],
      req.headers["x-signature-timestamp"], req.body, now_s(), o.tolerance)
    if not ok then
      return refused(401, why, "SIGNATURE")
    end
    local event, message = req:json()
    if type(event) ~= "table" or type(event.id) ~= "string" and event.type ~= PING then
      return refused(400, message or "an interaction is needed", "BAD_DATA")
    elseif event.type == PING then
      return { json = { type = PONG } }
    end
    local buttons = require "sipeat.discord_buttons"
    local acts = buttons.is_ours(event) and buttons.press or handler
    if not acts then
      return refused(404, "nobody handles this interaction", "NOT_FOUND")
    end
    return once("discord", event.id, KEEP_MS, acts, event, req)
  end
end

return M
