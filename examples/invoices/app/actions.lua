--- What is done for an invoice's event: each answers true, a text that says why there was nothing
--- to do, or nil and why it failed. Done again for the same event, none of them does more.
local analytics = require "sipeat.analytics"
local env = require "sipeat.env"
local html = require "sipeat.html"
local log = require("sipeat.log").new "invoices"
local mail = require "sipeat.mail"
local slack = require "sipeat.slack"
local sys = require "sipeat.core.sys"
local dollars = require "app.money"
local settings = require "app.settings"
local store = require "app.store"

local M = {}

local h = html.tags

-- --- the customer ---

local SUBJECTS = { created = "Invoice Created", updated = "Invoice Updated" }

local function body_of(data, customer)
  return tostring(h.div {
    h.p { ("Hello %s,"):format(customer.name) },
    h.p {
      ("your invoice %s over %s is %s."):format(
        data.invoiceId, dollars(data.amount or 0), data.status or "open"),
    },
  })
end

--- The same event makes the same Message-ID, so that a second copy is recognised.
function M.mail(data, ctx)
  if not env.get "SMTP_URL" then
    return "no mail server (SMTP_URL)"
  end
  local customer, message, code = store.customer(data.customerId)
  if customer == nil then
    return nil, message, code
  elseif not customer then
    return "the customer is not known"
  end
  local sent
  sent, message, code = mail.send {
    to = customer.email, from = env.get("MAIL_FROM", "invoices@example.com"),
    subject = ("%s: %s"):format(SUBJECTS[data.action], data.invoiceId),
    html = body_of(data, customer),
    text = ("Invoice %s: %s, %s"):format(
      data.invoiceId, dollars(data.amount or 0), data.status or "open"),
    message_id = ctx.id .. "@invoices.example.com",
  }
  if not sent then
    return nil, message, code
  end
  return true
end

-- --- figures, tasks, books ---

--- The dashboard counts what was processed; the service is told, too, where there is one.
function M.analytics(data, ctx)
  local taken, why = analytics.track({
    event = "invoice_" .. data.action,
    user_id = data.customerId or "unknown",
    properties = { invoice = data.invoiceId, amount = data.amount, customer = data.customerId },
  }, ctx)
  if not taken and why ~= "not_configured" then
    log:warn(("analytics: event %s was not taken: %s"):format(ctx.id, why))
  end
  return true
end

local function noted(statement, ...)
  local ok, message, code = store.note(statement, ...)
  if not ok then
    return nil, message, code
  end
  return true
end

function M.follow_up(data, ctx)
  local due = sys.iso_time(sys.now_ms() + 7 * 24 * 3600 * 1000)
  return noted("INSERT INTO follow_ups VALUES (?, ?, ?, ?)", ctx.id, data.invoiceId,
    "Ask about the payment", due)
end

function M.accounting(data, ctx)
  return noted("INSERT INTO accounting VALUES (?, ?, ?, ?)", ctx.id, data.invoiceId, data.action,
    data.amount or 0)
end

function M.audit(data, ctx)
  return noted("INSERT INTO audit_log VALUES (?, ?, ?)", ctx.id, data.timestamp or sys.iso_time(),
    ("%s %s by %s"):format(data.invoiceId, data.action, data.customerId or "unknown"))
end

-- --- people ---

-- By the bot where there is one, else by the webhook. Nothing fails because of it.
local function tell(channel, message)
  if env.secret "SLACK_BOT_TOKEN" then
    local posted, why = slack.post {
      channel = channel, text = message.text, blocks = message.blocks,
    }
    if not posted then
      log:warn(("%s: %s"):format(channel, why))
    end
  elseif env.secret "SLACK_WEBHOOK" then
    local taken, why = slack.notify(message)
    if not taken then
      log:warn("Slack: " .. tostring(why))
    end
  end
  return true
end

function M.sales(data)
  local words = { created = "New invoice %s: %s", deleted = "Invoice %s over %s was deleted" }
  return tell(settings.sales, {
    text = slack.escape(words[data.action]:format(data.invoiceId, dollars(data.amount or 0))),
  })
end

--- An event that cannot be processed is in the topic of dead letters by now.
function M.notify_engineering(event, failure)
  tell(settings.engineering, slack.notice {
    title = "An invoice event could not be processed",
    text = failure.message,
    fields = {
      { "Event", event.id }, { "Key", event.key or "none" }, { "Reason", failure.code or "none" },
      { "Place", ("%s:%d:%d"):format(event.topic, event.partition, event.offset) },
    },
    footer = ("sipeat dlq show %s-dlt"):format(event.topic),
  })
end

return M
