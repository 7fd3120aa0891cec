--- Mail by SMTP: one message, as text, HTML or both, with attachments, to a server that SMTP_URL
--- names.
local core = require "sipeat.core.smtp"
local env = require "sipeat.env"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local template = require "sipeat.template"

local M = {}

local SEND = opts.spec("sipeat.mail.send", {
  to = { "string|string[]", required = true },
  cc = { "string|string[]" },
  bcc = { "string|string[]" },
  from = { "string" },
  reply_to = { "string" },
  subject = { "string", required = true },
  text = { "string" },
  html = { "string" },
  attachments = { "table" },
  message_id = { "string" },
  headers = { "table" },
  url = { "secret" },
  timeout = { "duration", default = "30s" },
  connect_timeout = { "duration", default = "10s" },
  ca_file = { "string" },
  ca_dir = { "string" },
})

local function list_of(value)
  return type(value) == "table" and value or value and { value } or {}
end

local function not_configured(what)
  local message = "mail: %s (put it into .env.local or the environment)"
  return nil, message:format(what), "NOT_CONFIGURED"
end

local TEMPLATE = opts.spec("sipeat.mail.template", {
  subject = { "string", required = true },
  text = { "string" },
  html = { "string" },
})

local ATTACHMENT = opts.spec("sipeat.mail.attachment", {
  name = { "string", required = true },
  data = { "string", required = true },
  type = { "string", default = "application/octet-stream" },
  content_id = { "string" },
})

local function check_attachments(given)
  local list = {}
  for i, one in ipairs(given or {}) do
    list[i] = ATTACHMENT(one, 3)
  end
  if given and next(given, #given > 0 and #given or nil) ~= nil then
    error("mail.send: attachments are a list, each { name =, data =, type = }", 3)
  end
  return list
end

-- left@right: as given, without its brackets; what cannot be one is hashed, so that the same text
-- gives the same id.
local function message_id_of(given, from)
  local domain = from:match("@([^@]+)$")
  if not given then
    return sys.uuid() .. "@" .. domain
  end
  local id = given:match("^<(.*)>$") or given
  if #id <= 200 and id:find("^[%w!#$%%&'*+/=?^_`{|}~.-]+@[%w.-]+$") and core.address(id) then
    return id
  end
  return sys.sha256(given):sub(1, 32) .. "@" .. domain
end

local function check_headers(headers)
  local names = {}
  for name, value in pairs(headers or {}) do
    local kind = type(value)
    if type(name) ~= "string" or kind ~= "string" and kind ~= "number" then
      error("mail.send: headers are a table of name = \"value\"", 3)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function header_list(o, names)
  local list, automatic = {}, true
  for _, name in ipairs(names) do
    automatic = automatic and name:lower() ~= "auto-submitted"
    list[#list + 1] = { name, tostring(o.headers[name]) }
  end
  if o.reply_to then
    list[#list + 1] = { "Reply-To", o.reply_to }
  end
  if automatic then
    list[#list + 1] = { "Auto-Submitted", "auto-generated" } -- RFC 3834: no holiday replies
  end
  return list
end

-- Checked options as sipeat.core.smtp takes them; or nil, message, code.
local function mail_of(o, names)
  local from = o.from or env.get "MAIL_FROM"
  if not from then
    return not_configured "neither from nor MAIL_FROM is given"
  end
  local sender, message, code = core.address(from)
  if not sender then
    return nil, "mail: from: " .. message, code
  end
  if o.reply_to then
    local reply
    reply, message, code = core.address(o.reply_to)
    if not reply then
      return nil, "mail: reply_to: " .. message, code
    end
  end
  return {
    from = from,
    to = list_of(o.to),
    cc = list_of(o.cc),
    bcc = list_of(o.bcc),
    subject = o.subject,
    text = o.text,
    html = o.html,
    message_id = message_id_of(o.message_id, sender),
    date_ms = sys.now_ms(),
    attachments = o.attachments,
    headers = header_list(o, names),
  }
end

-- What the page says of attachments: not their bytes.
local function shown(attachments)
  local list = {}
  for i, one in ipairs(attachments) do
    list[i] = { name = one.name, type = one.type, bytes = #one.data, content_id = one.content_id }
  end
  return #list > 0 and json.array(list) or nil
end

-- In `dev` the mail is shown instead of sent.
local function capture(mail)
  local mime, message, code = core.render(mail)
  if not mime then
    return nil, message, code
  end
  require("sipeat.capture").record("mail", {
    from = mail.from,
    to = mail.to,
    cc = mail.cc,
    bcc = mail.bcc,
    subject = mail.subject,
    text = mail.text,
    html = mail.html,
    attachments = shown(mail.attachments),
    message_id = mail.message_id,
    mime = mime,
  })
  return { message_id = mail.message_id, refused = {}, captured = true }
end

--- Sends one mail and waits until the server has taken it. A result; or nil, message and a code:
--- "SMTP_TEMPORARY" (4xx, try again), "SMTP_REFUSED" (5xx), "SMTP_AUTH", "INVALID_ADDRESS",
--- "NOT_CONFIGURED", or one of the transport, such as "ECONNREFUSED", "EDNS", "ETLS", "ETIMEDOUT".
--- As a step of a chain it gets the step's context: its key makes the Message-ID, so that a mail
--- that is sent again can be recognised.
---@param options sipeat.mail.SendOptions
---@param ctx table?
---@return sipeat.mail.Sent? sent
---@return string? message
---@return string? code
function M.send(options, ctx)
  local o = SEND(options)
  local names = check_headers(o.headers)
  o.attachments = check_attachments(o.attachments)
  o.message_id = o.message_id or type(ctx) == "table" and ctx.key or nil
  if not o.text and not o.html then
    error("mail.send: text or html is required", 2)
  elseif #list_of(o.to) == 0 then
    error("mail.send: to names nobody", 2)
  end
  local url = o.url or env.secret "SMTP_URL"
  if not url then
    return not_configured "neither url nor SMTP_URL is given"
  end
  local mail, message, code = mail_of(o, names)
  if not mail then
    return nil, message, code
  end
  url = env.reveal(url)
  if url == "capture:" then
    return capture(mail)
  end
  local refused
  refused, message, code = core.send(mail, {
    url = url,
    timeout_ms = math.max(1, o.timeout),
    connect_timeout_ms = math.max(1, o.connect_timeout),
    ca_file = o.ca_file,
    ca_dir = o.ca_dir,
  })
  if not refused then
    return nil, message, code
  end
  return { message_id = mail.message_id, refused = refused }
end

--- Subject, text and HTML of mails as templates (sipeat.template): made once, then called with the
--- values of each mail and the other options of M.send.
---@param parts sipeat.mail.TemplateOptions
function M.template(parts)
  local o = TEMPLATE(parts)
  if not o.text and not o.html then
    error("mail.template: text or html is required", 2)
  end
  local made = {}
  for name, kind in pairs { subject = "line", text = "text", html = "html" } do
    if o[name] then
      local ok, f = pcall(template[kind], o[name])
      made[name] = ok and f or error(("mail.template: %s: %s"):format(name, f), 2)
    end
  end
  return function(values, options)
    local mail = {}
    for key, value in pairs(options or {}) do
      mail[key] = value
    end
    for name, f in pairs(made) do
      mail[name] = tostring(f(values, 2))
    end
    return mail
  end
end

return M
