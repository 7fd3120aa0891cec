--- Events of requests on their way to Kafka: sent at once, in their order, and noted as sent when
--- the brokers have them. What a process that died has left behind is sent by whoever comes next.
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "orders"
local settings = require "orders.settings"
local store = require "orders.store"
local task = require "sipeat.task"

local M = {}

local AT_ONCE = 500

local function record_of(event)
  return { topic = settings.topic(), key = event.order_id, value = event.body }
end

-- Waits for the acknowledgements and notes them; what fails stays unsent.
local function wait(sent)
  for _, one in ipairs(sent) do
    local report, message = one.report:wait()
    local noted, problem
    if report then
      noted, problem = store.sent(one.event.order_id, one.event.sequence)
    end
    if not noted then
      log:warn(("event %d of %s is sent again later: %s"):format(one.event.sequence,
        one.event.order_id, tostring(message or problem)))
      return
    end
  end
end

--- Hands events over, and does not wait for Kafka.
function M.send(events)
  local sent = {}
  for _, event in ipairs(events) do
    local report, message = kafka.producer():start(record_of(event))
    if not report then
      log:warn(("event %d of %s is sent again later: %s"):format(event.sequence, event.order_id,
        message))
      break
    end
    sent[#sent + 1] = { report = report, event = event }
  end
  if sent[1] then
    task.spawn(wait, sent)
  end
end

--- Sends what was left behind. How many there were, or nil, message, code.
function M.send_rest()
  local rest, message, code = store.unsent(settings.unsent_after(), AT_ONCE)
  if not rest then
    return nil, message, code
  elseif rest[1] then
    log:info(("%d events of requests were left behind: sending them"):format(#rest))
    M.send(rest)
  end
  return #rest
end

return M
