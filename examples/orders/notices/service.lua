--- What customers are told of their orders: by mail, SMS and push, as they want it, and in any case
--- as a row that their page can show. Once each: what is sent again after a crash has the same
--- Message-ID, key or collapse key.
local events = require "orders.events"
local failure = require "sipeat.failure"
local http = require "sipeat.http"
local json = require "sipeat.json"
local log = require("sipeat.log").new "notices"
local mail = require "sipeat.mail"
local operators = require "orders.operators"
local push = require "sipeat.push"
local resource = require "sipeat.resource"
local settings = require "orders.settings"
local sipeat = require "sipeat"
local sms = require "sipeat.sms"
local store = require "notices.store"
local sys = require "sipeat.core.sys"

local M = {}

local TEXTS = {
  [events.CREATED] = function(data)
    local count = #data.items
    return ("We have your order of %d %s."):format(count, count == 1 and "dish" or "dishes")
  end,
  [events.STATE_CHANGED] = function(data)
    local told = { on_hold = "being checked", confirmed = "confirmed", preparing = "being cooked" }
    return ("Your order is %s."):format(told[data.to] or data.to)
  end,
  [events.PAYMENT_PROCESSED] = function(data)
    local told = { captured = "received", declined = "declined", refunded = "given back" }
    local amount = sipeat.money.new(data.amountMinor, data.currency)
    return ("Your payment of %s was %s."):format(sipeat.money.format(amount), told[data.status])
  end,
}

-- What is known of a user -> how to send there.
local CHANNELS = {
  { "email", function(notice, to)
    return mail.send {
      to = to, subject = "Your order " .. notice.order_id, text = notice.text,
      message_id = notice.event_id .. "@orders",
    }
  end },
  { "phone", function(notice, to)
    return sms.send({ to = to, text = notice.text }, { key = notice.event_id .. ":sms" })
  end },
  { "push_token", function(notice, to)
    return push.send({
      token = to, title = "Your order", body = notice.text, collapse_key = notice.order_id,
    }, { key = notice.event_id .. ":push" })
  end },
}

-- Sends a notice by every channel; one that refuses for good is left out. The names of those that
-- took it, or nil and a failure that may pass.
local function send(notice, contact)
  local names = {}
  for _, channel in ipairs(CHANNELS) do
    local name, to = channel[1], contact[channel[1]]
    if to then
      local sent, message, code = channel[2](notice, to)
      local why = not sent and failure.of(message, code)
      if why and why.kind ~= "permanent" then
        return nil, why
      elseif why then
        log:warn(("%s: %s"):format(name, why.message), { user = notice.user_id, code = why.code })
      else
        names[#names + 1] = name
      end
    end
  end
  return names
end

local function notify(event)
  local user = event.attributes.userId
  local contact, message, code = {}, nil, nil
  if user then
    contact, message, code = store.contact(user)
  end
  if not contact then
    return nil, message, code
  end
  local notice = {
    event_id = event.id, order_id = events.order_id(event), user_id = user, kind = event.type,
    text = TEXTS[event.type](event.data), at = event.time or sys.iso_time(),
  }
  local channels, problem = send(notice, contact)
  if channels then
    notice.channels = table.concat(channels, " ")
    channels, problem = store.add(notice)
  end
  return channels and notice.text, problem
end

local function unavailable(message, code)
  return http.problem(503, message, { code = code })
end

local function list(req)
  local found, message, code = store.list(req.params.id)
  if not found then
    return unavailable(message, code)
  end
  return { json = { orderId = req.params.id, notices = json.array(found) } }
end

local CONTACT = { email = "email?", phone = "string(20)?", pushToken = "text(500)?" }

local function set_contact(req, body)
  local ok, message, code = store.set_contact(req.params.id, body)
  if not ok then
    return unavailable(message, code)
  end
  return { json = { userId = req.params.id } }
end

--- Declares the flow and the routes. `alone`: the group may be named by the environment.
function M.start(alone)
  sipeat.flow {
    topic = settings.topic(), group = settings.group("notification-service", alone),
    concurrency = 256, timeout = "30s",
    on = {
      [events.Created] = notify,
      [events.StateChanged] = notify,
      [events.PaymentProcessed] = notify,
      ["order.*"] = function() return "nobody is told of this" end,
    },
  }
  http.route("GET /api/v1/notices/:id", list)
  resource.route("PUT /api/v1/users/:id/contact", {
    summary = "How a user wants to be told", role = "operator", guard = operators, body = CONTACT,
  }, set_contact)
end

return M
