---@meta sipeat.webhook
error("type stubs: require \"sipeat.webhook\" in a script instead")

--- Webhooks in: the signature is checked first, and each delivery is handled once.
local M = {}

---@alias sipeat.webhook.Handler fun(event: table, req: sipeat.http.Request): any, string?

---@class sipeat.webhook.StripeOptions
---@field secret? sipeat.Secret|string default: STRIPE_WEBHOOK_SECRET
---@field tolerance? string how far its time may be from ours; default "5m"

--- A route's handler for events of Stripe; a delivery is known by the event's id.
---@param options sipeat.webhook.StripeOptions?
---@param handler sipeat.webhook.Handler
---@return fun(req: sipeat.http.Request): sipeat.http.Answer?
function M.stripe(options, handler) end

---@class sipeat.webhook.SlackOptions
---@field secret? sipeat.Secret|string default: SLACK_SIGNING_SECRET
---@field tolerance? string default "5m"

--- A route's handler for events, slash commands and buttons of Slack; its question for the address
--- (url_verification) is answered by itself.
---@param options sipeat.webhook.SlackOptions?
---@param handler sipeat.webhook.Handler
---@return fun(req: sipeat.http.Request): sipeat.http.Answer?
function M.slack(options, handler) end

---@class sipeat.webhook.DiscordOptions
---@field public_key? string 64 hex digits; default: DISCORD_PUBLIC_KEY
---@field tolerance? string default "5m"

--- A route's handler for interactions of Discord. Pings, and the buttons under notices of parked
--- chains, are answered by itself; `handler` gets the others.
---@param options sipeat.webhook.DiscordOptions?
---@param handler sipeat.webhook.Handler?
---@return fun(req: sipeat.http.Request): sipeat.http.Answer?
function M.discord(options, handler) end

return M
