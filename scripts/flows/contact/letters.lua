--- What customers and the teams are written when a contact form comes in.
local html = require "sipeat.html"
local settings = require "flows.settings"

local M = {}

local REPLIES = {
  enterprise = {
    "Your account manager will call you",
    "thank you for considering SipEat for your company. An account manager of ours will contact "
      .. "you within one working day with an offer made for you.",
  },
  support = {
    "We are looking into it",
    "thank you for telling us. Our support team has your message and answers within four hours on "
      .. "working days. Your reference is %s.",
  },
  partnership = {
    "Thank you for your offer",
    "thank you for proposing a partnership. Our partnership desk reads every offer and answers "
      .. "within a week.",
  },
  default = {
    "Thank you for your message",
    "thank you for your message. We answer within two working days.",
  },
}

--- What the customer gets: one letter for each kind of contact.
function M.reply(kind, event)
  local subject, body = table.unpack(REPLIES[kind])
  local data = event.data
  body = body:format(event.id)
  return {
    to = data.email,
    subject = "SipEat: " .. subject,
    text = ("Hello %s,\n\n%s\n\nYou wrote:\n%s\n\nSipEat\n"):format(data.name, body, data.message),
    html = ("<p>Hello %s,</p><p>%s</p><blockquote>%s</blockquote><p>SipEat</p>"):format(
      html.escape(data.name), html.escape(body), html.escape(data.message)
    ),
  }
end

--- What a team gets: who, what, and how promising.
function M.team(title, event, score, reasons, to)
  local data = event.data
  local lines = {
    ("%s: %s <%s>"):format(title, data.name, data.email),
    "Company: " .. (data.companyName or "none given"),
    "Phone: " .. (data.phone or "none given"),
    ("Score: %d of 100"):format(score),
  }
  for _, reason in ipairs(reasons) do
    lines[#lines + 1] = "  " .. reason
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = data.message
  return {
    to = to or settings.sales_email(),
    subject = ("[%d] %s: %s"):format(score, title, data.name),
    text = table.concat(lines, "\n") .. "\n",
  }
end

return M
