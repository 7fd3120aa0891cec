--- Asks the notification flow to tell somebody something: publishes a `notification` event.
local sys = require "sipeat.core.sys"
local events = require "flows.events"

local M = {}

--- Publishes notice = { channel, to?, subject?, text, priority? }. The same handler asking again
--- for the same event makes an event with the same id.
function M.publish(notice, ctx)
  notice.about = ctx.id
  local id = sys.sha256("notice:" .. ctx.key):sub(1, 32)
  local event, message, code = events.Notification:new(notice, { id = id, key = ctx.id })
  if not event then
    return nil, message, code
  end
  local ok
  ok, message, code = ctx:publish(event)
  if ok == nil and message then
    return nil, message, code
  end
  return { id = id, channel = notice.channel, to = notice.to }
end

return M
