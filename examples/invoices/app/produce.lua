--- POST /api/kafka/produce: writes a message about an invoice into the topic, as the guide does.
local http = require "sipeat.http"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local resource = require "sipeat.resource"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local settings = require "app.settings"

local M = {}

local BODY = { topic = "text(249)", key = "string(1000)?", message = "object" }
local REPORT = { success = "boolean", topic = "string", partition = "integer", offset = "integer" }

local function send(record)
  return kafka.producer():send(record)
end

local function produce(_, body)
  if body.topic ~= settings.topic then
    return http.problem(403, ("only the topic %s is written here"):format(settings.topic), {
      code = "TOPIC_NOT_ALLOWED",
    })
  end
  local message = body.message
  local value, text = json.encode(message)
  if not value then
    return http.problem(422, text)
  end
  local key, action = body.key or message.invoiceId, message.action
  local headers = { { "event-id", sys.uuid() } }
  if type(action) == "string" then
    headers[2] = { "event-type", action }
  end
  local report, why, code = task.with_timeout("10s", send, {
    topic = body.topic, key = type(key) == "string" and key or nil, value = value,
    headers = headers,
  })
  if not report then
    return http.problem(503, why, { code = code })
  end
  return { json = {
    success = true, topic = report.topic, partition = report.partition, offset = report.offset,
  } }
end

function M.routes()
  resource.route("POST /api/kafka/produce", {
    summary = "Write one message into the topic", tags = { "kafka" }, body = BODY,
    answers = {
      [200] = { text = "The broker has it", body = REPORT },
      [403] = "Another topic", [503] = "No broker answers, or not in time",
    },
  }, produce)
end

return M
