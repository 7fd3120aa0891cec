---@meta sipeat.sms
error "sipeat.sms: this file describes the module to an editor; it is not run"

---Short messages through an HTTP gateway of Twilio's shape.
local M = {}

---@class sipeat.sms.SendOptions
---@field to string as in "+491701234567"
---@field text string 1 to 1,600 characters
---@field from? string a number, a name or "MG…", a messaging service; the setting SMS_FROM
---@field url? string the setting SMS_URL, else https://api.twilio.com
---@field account? string the setting SMS_ACCOUNT
---@field token? sipeat.Secret|string the setting SMS_TOKEN
---@field timeout? string default "15s"

---How many messages a text is billed as, and its alphabet.
---@param text string
---@return integer? segments nil when the text is not UTF-8
---@return "gsm7"|"ucs2"|string alphabet
function M.segments(text) end

---Sends one and waits until the gateway has taken it. Codes: INVALID_NUMBER, TOO_BIG, UNSUBSCRIBED,
---UNAUTHORIZED, REJECTED, NOT_CONFIGURED, RATE_LIMITED, UNAVAILABLE, BAD_ANSWER, and those of the
---network.
---@param options sipeat.sms.SendOptions
---@param ctx table? of a step: its key goes as Idempotency-Key
---@return { id: string, status: string, segments: integer }? sent
---@return sipeat.Failure? why
function M.send(options, ctx) end

return M
