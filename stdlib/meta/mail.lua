---@meta sipeat.mail
error("type stubs: require \"sipeat.mail\" in a script instead")

--- Mail by SMTP: one message, as text, HTML or both, to a server that SMTP_URL names.
local M = {}

---@class sipeat.mail.SendOptions
---@field to string|string[] "ada@example.com" or "Ada <ada@example.com>", or several
---@field cc? string|string[]
---@field bcc? string|string[] in no header
---@field from? string the setting MAIL_FROM when it is not given
---@field reply_to? string
---@field subject string
---@field text? string text or html, or both: the text then comes first
---@field html? string
---@field attachments? sipeat.mail.AttachmentOptions[] up to 100
---@field message_id? string left@right, or any text to make one of; made up when absent
---@field headers? table<string, string|number> further ones
---@field url? sipeat.Secret|string the setting SMTP_URL when it is not given
---@field timeout? string for all of it; default "30s"
---@field connect_timeout? string default "10s"
---@field ca_file? string PEM file of trusted certificates, instead of the system's
---@field ca_dir? string

---@class sipeat.mail.AttachmentOptions
---@field name string the file's name, in any language, without folders
---@field data string its bytes
---@field type? string default "application/octet-stream"
---@field content_id? string what src="cid:…" in the html says: then it is shown there

---@class sipeat.mail.TemplateOptions
---@field subject string a template.line
---@field text? string a template.text
---@field html? string a template.html

---@class sipeat.mail.Refusal
---@field address string
---@field status integer 4xx: may work later; 5xx: will not
---@field text string the server's words

---@class sipeat.mail.Sent
---@field message_id string
---@field refused sipeat.mail.Refusal[] who got nothing, while others did
---@field captured? boolean shown by `sipeat dev` instead of sent

--- Sends one mail and waits until the server has taken it. Codes: SMTP_TEMPORARY (4xx, try again),
--- SMTP_REFUSED (5xx), SMTP_AUTH, INVALID_ADDRESS, NOT_CONFIGURED, EINVAL, TOO_BIG, QUEUE_FULL, or
--- one of the transport: ECONNREFUSED, ECONNRESET, EDNS, ETLS, ETIMEDOUT, INVALID_URL, ECANCELED.
---@param options sipeat.mail.SendOptions
---@param ctx table? of a step: its key makes the Message-ID when there is none
---@return sipeat.mail.Sent? sent
---@return string? message
---@return string? code
function M.send(options, ctx) end

--- Mails as templates: a function of the values of one mail, and of the other options of M.send.
---@param parts sipeat.mail.TemplateOptions
---@return fun(values: table, options: table): sipeat.mail.SendOptions
function M.template(parts) end

return M
