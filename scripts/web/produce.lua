--- POST /api/kafka/produce: one message into a topic, for programs and for curl.
local access = require "sipeat.access"
local capture = require "sipeat.capture"
local http = require "sipeat.http"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "web"
local resource = require "sipeat.resource"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local settings = require "flows.settings"
local who = require "web.who"

local M = {}

local MAX_HEADERS = 100
local KEPT = 10000 -- states of messages that can still be asked for
local WINDOW = "1m" -- in which what a program sends to a topic is one row of the audit

local BODY = {
  topic = "text(249)",
  key = "string(10000)?",
  headers = "object?",
  message = "any",
}

local REPORT = {
  topic = "string", partition = "integer?", offset = "integer?", queued = "boolean?",
}

local ID = { "string(64)", pattern = "^[A-Za-z0-9-]+$" }
local TAKEN = { id = "string", topic = "string", queued = "boolean", status = "string" }

local STATE = {
  id = "string", topic = "string", state = { "sending", "written", "queued", "failed" },
  partition = "integer?", offset = "integer?", why = "string?",
}

-- Patterns of the topics that may be written: all of them in dev, else those of the flows.
local function patterns()
  local said = settings.produce_topics()
  local list = {}
  if said then
    for part in said:gmatch "[^,%s]+" do
      list[#list + 1] = part
    end
  elseif capture.enabled() then
    list[1] = "*"
  else
    for _, topics in pairs(settings.topics) do
      table.move(topics, 1, #topics, #list + 1, list)
    end
  end
  return list
end

-- Kafka's own topics are never written.
local function is_allowed(topic)
  if topic:find "^__" then
    return false
  end
  for _, pattern in ipairs(patterns()) do
    local text = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
    if topic:find("^" .. text .. "$") then
      return true
    end
  end
  return false
end

-- Headers as a list of { name, text }, or nil and what is wrong.
local function headers_of(given)
  local list = {}
  for name, value in pairs(given or {}) do
    if type(value) ~= "string" then
      local field = "headers." .. tostring(name)
      return nil, { field = field, message = "expected string", code = "type" }
    end
    list[#list + 1] = { name, value }
  end
  if #list > MAX_HEADERS then
    local text = ("more than %d headers"):format(MAX_HEADERS)
    return nil, { field = "headers", message = text, code = "too_long" }
  end
  table.sort(list, function(a, b)
    return a[1] < b[1]
  end)
  return list
end

-- A text goes as it is, anything else as JSON.
local function value_of(message)
  return type(message) == "string" and message or json.encode(message)
end

-- Answers of the broker that are about this message; all others are "not now".
local STATUS = {
  UNKNOWN_TOPIC_OR_PART = 404, _UNKNOWN_TOPIC = 404, TOPIC_EXCEPTION = 422, _INVALID_ARG = 422,
  MSG_SIZE_TOO_LARGE = 413, INVALID_MSG_SIZE = 413, TOPIC_AUTHORIZATION_FAILED = 403,
}

local function refused(message, code)
  local answer = http.problem(STATUS[code] or 503, message, { code = code })
  if answer.status == 503 then
    answer.headers["retry-after"] = "10"
  end
  return answer
end

-- What became of the messages that nobody waited for, by id; the oldest ones are forgotten.
local states, ids, newest = {}, {}, 0

local function remember(id, topic)
  newest = newest % KEPT + 1
  if ids[newest] then
    states[ids[newest]] = nil
  end
  ids[newest] = id
  states[id] = { id = id, topic = topic, state = "sending" }
  return states[id]
end

-- Nobody waits for it: what becomes of it is in its state, and what fails in the log, too.
local function watch(sent, state)
  local report, message = sent:wait()
  if report then
    state.state = report.queued and "queued" or "written"
    state.partition, state.offset = report.partition, report.offset
    return
  end
  state.state, state.why = "failed", message
  log:error(("a message for %s was taken and could not be sent: %s"):format(state.topic, message))
end

local function show(req)
  local state = states[req.params.id]
  return state and { json = state } or http.problem(404, "no such message, or it was forgotten")
end

local counted = {} -- user and topic -> messages since the last row of the audit

-- Who writes what is in the audit: each message of a person, and of a program the first one and
-- then a count.
local function note(req, body)
  local user = { name = req.user.name, role = req.user.role, via = req.user.via }
  local place = user.name .. "\0" .. body.topic
  if user.via == "token" and counted[place] then
    counted[place] = counted[place] + 1
    return true
  end
  local noted, message = access.audit(req, "kafka.produce", { topic = body.topic, key = body.key })
  if noted and user.via == "token" then
    counted[place] = 0
    task.spawn(function()
      task.sleep(WINDOW)
      local count = counted[place]
      counted[place] = nil
      if count > 0 then
        access.audit(user, "kafka.produce", { topic = body.topic, messages = count })
      end
    end)
  end
  return noted, message
end

local function send(record, outbox)
  return kafka.producer({ outbox = outbox }):send(record)
end

local function acknowledged(record, outbox)
  local report, message, code = task.with_timeout(settings.web_patience(), send, record, outbox)
  if not report then
    return refused(message, code)
  end
  return { json = report }
end

local function produce(req, body)
  local topic, outbox = body.topic, settings.web_outbox()
  if not topic:find "^[%w._-]+$" or topic == "." or topic == ".." then
    return resource.refuse { {
      field = "topic", message = "a topic's name is letters, digits, point, dash and underscore",
      code = "type",
    } }
  elseif not is_allowed(topic) then
    return http.problem(403, ("the topic %s may not be written here"):format(topic), {
      code = "TOPIC_NOT_ALLOWED",
    })
  end
  local headers, wrong = headers_of(body.headers)
  if not headers then
    return resource.refuse { wrong }
  elseif not outbox and not kafka.connected() then
    return refused("no broker answers", "NOT_CONNECTED")
  end
  if req.user.via ~= "dev" then
    local noted, message = note(req, body)
    if not noted then
      return refused(message, "UNAVAILABLE")
    end
  end
  local record = {
    topic = topic, key = body.key, headers = headers, value = value_of(body.message),
  }
  if req.args.wait == "acked" then
    return acknowledged(record, outbox)
  end
  local sent, message, code = kafka.producer({ outbox = outbox }):start(record)
  if not sent then
    return refused(message, code)
  end
  local state = remember(sys.uuid(), topic)
  task.spawn(watch, sent, state)
  local place = "/api/kafka/produce/" .. state.id
  return {
    status = 202, headers = { location = place },
    json = { id = state.id, topic = topic, queued = true, status = place },
  }
end

function M.routes()
  resource.route("POST /api/kafka/produce", {
    summary = "Write one message into a topic",
    description = "A text is written as it is, anything else as JSON. Answers before the broker "
      .. "does, unless wait=acked asks for its partition and offset.",
    tags = { "kafka" },
    role = "operator",
    guard = who.only,
    query = { ["wait?"] = { "acked" } },
    body = BODY,
    answers = {
      [200] = { text = "The broker has it", body = REPORT },
      [202] = {
        text = "Taken, and on its way: Location says where to look", body = TAKEN,
        links = { status = { "GET /api/kafka/produce/:id", id = "$response.body#/id" } },
        headers = { Location = "Where its state is" },
      },
      [404] = "The broker has no such topic",
      [503] = "No broker answers, or not in time",
    },
  }, produce)
  resource.route("GET /api/kafka/produce/:id", {
    summary = "What became of a message that nobody waited for",
    description = "Of the last 10,000 messages of this process.",
    tags = { "kafka" }, role = "operator", guard = who.only, params = { id = ID },
    answers = { [200] = { text = "Its state", body = STATE }, [404] = true },
  }, show)
end

return M
