--- Topics that stand beside another one, with as many partitions: dead letters, retries.
local core = require "sipeat.core.task"
local failure = require "sipeat.failure"
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "topic"
local sys = require "sipeat.core.sys"

local M = {}

local AGAIN_AFTER_MS = 2000

local there = {} -- topics that exist, as far as this process knows
local making = {} -- those that are being made
local failed = {} -- those that could not be made: { at_ms, why }

local function make(topic, original, least, config)
  local admin = kafka.admin()
  local like, message, code = admin:describe_topic(original)
  if code == "ECANCELED" or not like and not least then
    return nil, failure.of(message, code)
  end
  local ok
  ok, message, code = admin:create_topic {
    name = topic, partitions = like and #like.partitions or least, config = config,
  }
  if ok then
    log:info("created the topic " .. topic)
  elseif code ~= "TOPIC_ALREADY_EXISTS" then
    if code ~= "ECANCELED" then
      log:warn(("cannot create the topic %s: %s"):format(topic, message), { code = code })
    end
    return nil, failure.of(message, code)
  end
  there[topic] = true
  return true
end

local Making = {}
Making.__index = Making

function Making:__close()
  making[self.topic] = nil
  self.done:wake()
end

--- Makes the topic unless it is there, with the partitions of `original`, or `least` of them when
--- that one cannot be asked. true; or nil and a failure, which is logged unless the task was
--- stopped. One task makes it, others wait for that.
--- What failed is not tried again for a while.
function M.ensure(topic, original, least, config)
  local other = making[topic]
  if other then
    local waited, message, code = other.done:wait()
    if not waited then
      return nil, failure.of(message, code)
    end
    return other.ok, other.why
  end
  local before = failed[topic]
  if there[topic] then
    return true
  elseif before and sys.monotonic_ms() - before.at_ms < AGAIN_AFTER_MS then
    return nil, before.why
  end
  local one <close> = setmetatable({ topic = topic, done = core.signal() }, Making)
  making[topic] = one
  one.ok, one.why = make(topic, original, least, config)
  failed[topic] = not one.ok and one.why.kind ~= "cancelled"
    and { at_ms = sys.monotonic_ms(), why = one.why } or nil
  if not one.ok and one.why.kind == "cancelled" then -- of this task alone
    local why = one.why
    one.why = failure.transient("the task that made the topic was stopped")
    return nil, why
  end
  return one.ok, one.why
end

--- It was not there when it was needed: it is made again.
function M.forget(topic)
  there[topic] = nil
end

return M
