---@meta sipeat.discord
error("type stubs: require \"sipeat.discord\" in a script instead")

--- Tells Discord how events ended. Notices are queued at once and sent in the background: a slow,
--- failing or absent Discord never delays or fails an event. Where to: DISCORD_WEBHOOK, then
--- DISCORD_WEBHOOK_FALLBACK.
local M = {}

---@class sipeat.discord.ConfigureOptions
---@field webhook (string|sipeat.Secret)? default: DISCORD_WEBHOOK
---@field fallback (string|sipeat.Secret)? when it is gone; default: DISCORD_WEBHOOK_FALLBACK
---@field queue integer? notices that wait at most; default: DISCORD_QUEUE, or 1000
---@field batch integer? embeds in one message at most; default 10
---@field username string? shown instead of the webhook's own name
---@field timeout string? of one request; default "10s"
---@field attempts integer? for one message, after failures of the network or the server; default 5
---@field backoff string[]? first and longest pause after a failure; default {"1s", "60s"}
---@field only string[]? event types that are told, "*" stands for anything; default: all
---@field except string[]? event types that are not told; default {}
---@field outcomes ("done"|"dead"|"info")[]? what is told; default {"done", "dead", "info"}
---@field min_priority ("low"|"normal"|"high")? default "low"
---@field events table<string, sipeat.discord.Look>? how events are shown, by type
---@field transport function? in the place of sipeat.http.request

---@class sipeat.discord.Look
---@field icon string? before title and description; default "📦"
---@field description string? default: the type in words
---@field order string[]? keys of the data that come first
---@field names table<string, string>? names of keys; default: "machineId" is "Machine ID"

---@class sipeat.discord.NotifyOptions
---@field type string? event type
---@field ok boolean? true: green, false: red, nil: blue, neither
---@field error any? shown in the field "Error"
---@field data any? every field of it is shown
---@field fields table[]? {name = …, value = …, inline = …} or {name, value}
---@field title string?
---@field description string?
---@field footer string?
---@field color integer? 0xRRGGBB
---@field time string? ISO 8601; default: now
---@field event_id string?
---@field attempts integer?
---@field topic string?
---@field partition integer?
---@field offset integer?
---@field priority ("low"|"normal"|"high")? default: "high" when ok is false, else "normal"
---@field webhook (string|sipeat.Secret)? its own webhook

---@class sipeat.discord.NotifiedOptions
---@field priority ("low"|"normal"|"high")?
---@field outcomes ("done"|"dead")[]? default {"done", "dead"}
---@field webhook (string|sipeat.Secret)?

---@class sipeat.discord.SendOptions
---@field webhook (string|sipeat.Secret)?
---@field patience string? for one message, pauses included; default "30s"

--- Replaces the settings; what waits goes on under the new ones. Throws on a mistake, and never
--- shows a token.
---@param options sipeat.discord.ConfigureOptions
function M.configure(options) end

--- The same handler; Discord is told how each event ended, once, after its last attempt.
---@param handler function
---@param options sipeat.discord.NotifiedOptions?
---@return function handler
function M.notified(handler, options) end

--- For a flow's on_dead: a red notice of an event that reached no handler.
---@param event table
---@param failure sipeat.Failure
---@param ctx table?
function M.on_dead(event, failure, ctx) end

--- Queues a notice and returns at once.
---@param notice sipeat.discord.NotifyOptions
---@return boolean taken false: filtered out, no webhook, or left out because the queue is full
function M.notify(notice) end

--- The seed's sendKafkaEventNotification: queues the notice of an event and returns at once.
---@param event table
---@param ok boolean
---@param err any?
---@return boolean taken
function M.send_kafka_event_notification(event, ok, err) end

--- Sends a message {content, embeds, username, …} and waits for the answer. It never pings anybody.
--- Codes: "NOT_CONFIGURED", "INVALID_WEBHOOK", "INVALID_MESSAGE", "WEBHOOK_GONE", "REJECTED",
--- "RATE_LIMITED", "UNAVAILABLE" and those of the network.
---@param message table
---@param options sipeat.discord.SendOptions?
---@return {status: integer, id: string?}? sent
---@return string? message
---@return string? code
function M.send(message, options) end

---@class sipeat.discord.TestResult
---@field name string
---@field ok boolean
---@field status integer?
---@field id string?
---@field message string?
---@field code string?
---@field ms integer

--- Sends five messages, one after the other: text, rich embeds, a processed contact.created, a
--- failed request.created, a processed machine.created.
---@param options sipeat.discord.SendOptions?
---@return sipeat.discord.TestResult[]? results
---@return string? message
---@return string? code
function M.test(options) end

--- Whether there is a webhook to send to.
---@return true? ok
---@return string? message
---@return string? code
function M.check() end

--- Waits until everything that was queued is sent.
---@param timeout string? default "5s"
---@return true? ok
---@return string? message
---@return string? code "ETIMEDOUT" or "ECANCELED"
function M.flush(timeout) end

--- Counters since the start: queued, sent (notices), messages, requests, limited (429s), failures,
--- rejected (400s), left_out (in a digest), dropped (no webhook), filtered; webhook: the setting
--- that is in use, or "none".
---@return table<string, integer|string>
function M.stats() end

return M
