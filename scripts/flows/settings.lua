--- What the flows take from the environment, and the names of topics and groups.
local env = require "sipeat.env"
local opts = require "sipeat.opts"

local M = {}

--- Topics of each flow: the names of the Discord flow, and those of the Kafka worker.
M.topics = {
  contact = { "sipeat.contact.events", "contact-created" },
  request = { "sipeat.request.events", "request-created" },
  machine = { "sipeat.machine.events", "machine-created" },
  health = { "sipeat.machine.health" },
  notification = { "notification" },
}

M.groups = {
  contact = "sipeat-contact",
  request = "sipeat-request",
  machine = "sipeat-machine",
  health = "sipeat-health",
  notification = "sipeat-notification",
}

--- Who sends and who reads the company's own mail.
function M.mail_from()
  return env.get("MAIL_FROM", "SipEat <no-reply@sipeat.example>")
end

function M.sales_email()
  return env.get("SALES_EMAIL", "sales@sipeat.example")
end

function M.support_email()
  return env.get("SUPPORT_EMAIL", M.sales_email())
end

--- The SQLite file of the store when there is no Supabase, and of the ledger of motor commands.
function M.database()
  return env.get("SIPEAT_DB", "./sipeat.db")
end

--- Where SipEat itself is reached from outside, for links in mails.
function M.public_url()
  return (env.get("PUBLIC_URL", "http://localhost:3000"):gsub("/+$", ""))
end

--- Whether what comes by the web is kept on the disk while no broker is there.
function M.web_outbox()
  return env.get("SIPEAT_WEB_OUTBOX", "0") == "1"
end

-- A duration of the environment; raises when it is none.
local function duration(name, default)
  local text = env.get(name, default)
  local ms, message = opts.duration_ms(text)
  if not ms then
    error(("%s: %s"):format(name, message), 0)
  end
  return text, ms
end

--- How long who comes by the web waits for Kafka before it is told that it is away.
function M.web_patience()
  return (duration("SIPEAT_WEB_PATIENCE", "10s"))
end

--- How long what came in by the web is remembered, in ms.
function M.submissions_keep_ms()
  return select(2, duration("SIPEAT_SUBMISSIONS_KEEP", "30d"))
end

--- Topics that POST /api/kafka/produce may write: names, or patterns with *, parted by commas.
function M.produce_topics()
  return env.get "SIPEAT_PRODUCE_TOPICS"
end

--- The payment method for a card payment whose event names none.
function M.default_payment_method()
  return env.get("STRIPE_DEFAULT_PAYMENT_METHOD", "pm_card_visa")
end

return M
