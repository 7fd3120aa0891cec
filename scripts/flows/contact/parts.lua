--- The observers of a contact: the customer's answer, the team's notice, the CRM's row.
local capture = require "sipeat.capture"
local sipeat = require "sipeat"
local letters = require "flows.contact.letters"
local mailer = require "flows.mailer"
local notices = require "flows.notices"
local scoring = require "flows.contact.scoring"
local store = require "flows.store"

local M = {}

--- How the customer wants to be answered: email, sms, phone or silent.
function M.reach(event)
  local data = event.data
  local wants = data.preferences or {}
  if wants.email ~= false then
    return "email"
  elseif wants.sms and data.phone then
    return "sms"
  elseif wants.phone and data.phone then
    return "phone"
  end
  return "silent"
end

--- Answers the customer in the way that was asked for: a strategy inside of an observer.
function M.customer(kind)
  return sipeat.strategy(M.reach, {
    email = function(event, ctx)
      return mailer.send(letters.reply(kind, event), ctx)
    end,
    sms = function(event, ctx)
      local text = letters.reply(kind, event).subject
      return notices.publish({ channel = "sms", to = event.data.phone, text = text }, ctx)
    end,
    phone = function(event, ctx)
      local score, reasons = scoring.score(event.data)
      local letter = letters.team("Please call", event, score, reasons)
      return notices.publish({
        channel = "email", to = letter.to, text = letter.text,
        subject = ("Please call %s, %s"):format(event.data.name, event.data.phone),
      }, ctx)
    end,
    silent = function(event)
      return { sent = false, reason = event.data.name .. " wants no answer" }
    end,
  })
end

--- Tells a team by mail. `address` gives its address (default: the sales team's).
function M.team(title, address)
  return function(event, ctx)
    local score, reasons = scoring.score(event.data)
    local to = address and address()
    return mailer.send(letters.team(title, event, score, reasons, to), ctx)
  end
end

--- Calls an account manager to the company's Discord.
function M.alarm(event, ctx)
  local score = scoring.score(event.data)
  return notices.publish({
    channel = "discord",
    priority = "high",
    subject = "Enterprise contact",
    text = ("%s of %s (score %d) wants to hear from an account manager."):format(
      event.data.name, event.data.companyName or "an unnamed company", score
    ),
  }, ctx)
end

--- Writes the contact's row: one for each address, with score and reasons.
function M.crm(event)
  local data = event.data
  local score, reasons, grade = scoring.score(data)
  local row = {
    email = data.email:lower(),
    name = data.name,
    phone = data.phone,
    company_name = data.companyName,
    type = (data.type or "general"):lower(),
    message = data.message,
    score = score,
    reasons = table.concat(reasons, "\n"),
    event_id = event.id,
  }
  local ok, problem = store.put("contacts", row)
  if not ok then
    return nil, problem
  end
  capture.record("crm", { table = "contacts", row = row, score = score, reasons = reasons })
  return { score = score, grade = grade }
end

return M
