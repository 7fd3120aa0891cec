--- notification: delivers by the channel that the event names. An unknown channel has no strategy,
--- and goes to the dead letters.
local sipeat = require "sipeat"
local channels = require "flows.notification.channels"

local M = {}

M.handler = sipeat.strategy(function(event)
  return event.data.channel
end, {
  email = channels.email,
  discord = channels.discord,
  slack = channels.slack,
  sms = channels.sms,
})

return M
