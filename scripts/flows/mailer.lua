--- Mail as a step: the same mail for the same event has the same Message-ID, so that a repeated one
--- is recognised. Without SMTP_URL nothing is sent; that is said once.
local env = require "sipeat.env"
local log = require("sipeat.log").new "mailer"
local mail = require "sipeat.mail"
local sys = require "sipeat.core.sys"
local settings = require "flows.settings"

local M = {}

local told = false
local transport = mail.send

--- Sends by f instead of sipeat.mail from now on: for tests.
function M.use(f)
  transport = f
end

--- Text from outside as one line of a header.
function M.one_line(text)
  return (text:gsub("%c+", " "))
end

--- Sends letter = { to, subject, text, html? }. { sent, message_id?, to } or nil and why not.
function M.send(letter, ctx)
  if transport == mail.send and not env.get "SMTP_URL" then
    if not told then
      told = true
      log:warn "SMTP_URL is not set: no mail is sent (put it into .env.local, or use sipeat dev)"
    end
    return { sent = false, to = letter.to, reason = "SMTP_URL is not set" }
  end
  local message_id = ("<%s@sipeat>"):format(sys.sha256(ctx.key):sub(1, 32))
  local sent, message, code = transport {
    from = settings.mail_from(),
    to = letter.to,
    subject = M.one_line(letter.subject),
    text = letter.text,
    html = letter.html,
    message_id = message_id,
  }
  if not sent then
    return nil, message, code
  end
  return { sent = true, to = letter.to, message_id = message_id }
end

return M
