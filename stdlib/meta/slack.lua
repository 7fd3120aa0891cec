---@meta sipeat.slack
error "sipeat.slack: this file describes the module to an editor; it is not run"

---Slack: messages by an incoming webhook or by chat.postMessage.
local M = {}

---What Slack takes, in characters and blocks.
---@type table<string, integer>
M.LIMITS = {}

---@class sipeat.slack.SendOptions
---@field text string what notifications show; all of the message when there are no blocks
---@field blocks? table[] Block Kit
---@field webhook? sipeat.Secret|string the setting SLACK_WEBHOOK when it is not given
---@field timeout? string default "10s"

---@class sipeat.slack.PostOptions
---@field channel string its id, or "#name"
---@field text string
---@field blocks? table[]
---@field thread_ts? string the `ts` of the message that this one answers
---@field token? sipeat.Secret|string the setting SLACK_BOT_TOKEN when it is not given
---@field url? string the setting SLACK_API_URL, else https://slack.com/api
---@field timeout? string default "10s"

---@class sipeat.slack.NoticeOptions
---@field title string
---@field text? string
---@field fields? table[] { name, value }, of which the first ten are shown
---@field footer? string

---Text from outside as Slack shows it as it is: no link, no mention.
---@param text any
---@return string
function M.escape(text) end

---A message of texts from outside, escaped and cut to what Slack takes.
---@param options sipeat.slack.NoticeOptions
---@return { text: string, blocks: table[] }
function M.notice(options) end

---Posts to a webhook and waits for Slack. Codes: RATE_LIMITED, UNAVAILABLE, REJECTED, UNAUTHORIZED,
---WEBHOOK_GONE, TOO_BIG, NOT_CONFIGURED, BAD_ANSWER, and those of the network.
---@param options sipeat.slack.SendOptions
---@return { sent: true }? sent
---@return sipeat.Failure? why
function M.send(options) end

---Posts to a channel with a bot's token and waits for Slack.
---@param options sipeat.slack.PostOptions
---@return { ts: string, channel: string }? posted
---@return sipeat.Failure? why
function M.post(options) end

---Puts a message for a webhook into a bounded buffer, at once.
---@param options sipeat.slack.SendOptions
---@return boolean taken
---@return string? why
function M.notify(options) end

return M
