--- What stands in for the engine's ticket of an event that comes out of the journal.
--
-- What it emits goes through a producer, and its attempts are measured as the engine measures those
-- of other events (flow/meter.c), in the same histogram.
local core = require "sipeat.core.metrics"
local kafka = require "sipeat.kafka"
local metrics = require "sipeat.metrics"
local sys = require "sipeat.core.sys"

local M = {}

local TYPES = 100 -- of a group that are told apart, as in flow/meter.c

local duration = sys.getenv "SIPEAT_METRICS" ~= "off" and metrics.histogram(
  "messaging_process_duration_seconds",
  "How long attempts of handlers took, what they waited for included.",
  { "messaging_consumer_group_name", "cloudevents_event_type", "outcome" }, { limit = 2000 }
) or nil
local known = {} -- group -> { count, [type] = true }

-- The type as a label.
local function label_of(group, kind)
  local types = known[group] or { count = 0 }
  known[group] = types
  if not types[kind] and types.count < TYPES then
    types.count, types[kind] = types.count + 1, true
  end
  return types[kind] and kind or "other"
end

local function ignored() end

local Ticket = { keep = ignored, followers = ignored, fails = ignored, span = ignored }
Ticket.__index = Ticket

--- The handler is called now, for an event of that type.
function Ticket:handles(kind)
  self.type, self.began, self.how = kind, core.seconds(), nil
end

--- How the attempt ends when the verdict does not say so: "parked" or "left".
function Ticket:ends_as(how)
  self.how = how
end

--- The attempt has ended: what dispatch answered, and the context that it was recorded in, or nil.
function Ticket:ended(verdict, dead, context)
  local began = self.began
  self.began = nil
  if not (duration and began) or self.how == "left" then
    return
  end
  local outcome = self.how or math.type(verdict) and "retried" or not verdict and "stopped"
    or dead and "dead" or "ok"
  local seconds, kind = core.seconds() - began, label_of(self.group, self.type)
  if context then
    duration:observe_traced(context:sub(4, 35), seconds, self.group, kind, outcome)
  else
    duration:observe(seconds, self.group, kind, outcome)
  end
end

function Ticket:emit(topic, key, value, headers, partition, timestamp, again_number)
  local ok, message, code = kafka.producer { outbox = self.outbox }:send {
    topic = topic, key = key, value = value, headers = headers, partition = partition,
    timestamp = timestamp,
  }
  if not ok then
    return nil, message, code
  end
  self.count = self.count + (again_number and 0 or 1)
  return true, again_number or self.count
end

--- Its task is stopped only when the process ends.
function Ticket.stopped()
  return true
end

--- A ticket for an event of that flow.
function M.ticket(flow)
  return setmetatable({ count = 0, outbox = flow.outbox, group = flow.group }, Ticket)
end

return M
