---@meta sipeat.push
error "sipeat.push: this file describes the module to an editor; it is not run"

---Push messages to apps, through an HTTP gateway of the shape of Firebase Cloud Messaging (v1).
local M = {}

---@class sipeat.push.SendOptions
---@field token? string the device's; either this or topic
---@field topic? string
---@field title? string
---@field body? string
---@field data? table<string, string|number|boolean> for the app; `id` is the step's key; default {}
---@field collapse_key? string a later message with the same one replaces it
---@field ttl? string how long it is kept for a device that is off
---@field url? string the setting PUSH_URL
---@field bearer? sipeat.Secret|string|function the setting PUSH_TOKEN; a function gives that of now
---@field timeout? string default "15s"

---Sends one and waits until the gateway has taken it. Codes: UNREGISTERED (forget the token),
---TOO_BIG, UNAUTHORIZED, REJECTED, NOT_CONFIGURED, RATE_LIMITED, UNAVAILABLE, BAD_ANSWER, and those
---of the network.
---@param options sipeat.push.SendOptions
---@param ctx table?
---@return { id: string }? sent
---@return sipeat.Failure? why
function M.send(options, ctx) end

return M
