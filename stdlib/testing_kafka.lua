--- Kafka in a test: sipeat.kafka and sipeat.publish on the log of events in memory. Every topic has
--- one partition.
local memory = require "sipeat.core.memory"
local permissions = require "sipeat.core.permissions"

local M = {}

local function exists(name)
  for _, topic in ipairs(memory.topics()) do
    if topic == name then
      return true
    end
  end
  return false
end

local Sent = {}
Sent.__index = Sent

function Sent:wait()
  return { topic = self.topic, partition = 0, offset = self.offset }
end

local function send(topic, key, value, headers, _, timestamp)
  permissions.permit("topics", topic)
  local offset, message, code = memory.append(topic, key, value, headers, timestamp)
  if not offset then
    return nil, message, code
  end
  return setmetatable({ topic = topic, offset = offset }, Sent)
end

local ADMIN = {}

function ADMIN.create_topic(name)
  if exists(name) then
    return nil, ("create topic %s: it is there already"):format(name), "TOPIC_ALREADY_EXISTS"
  end
  local ok, message, code = memory.create(name)
  if not ok then
    return nil, message, code
  end
  return { name = name, partitions = 1 }
end

function ADMIN.describe_topic(name)
  if not exists(name) then
    return nil, ("topic %s: there is none"):format(name), "UNKNOWN_TOPIC_OR_PART"
  end
  local partition = { id = 0, leader = 1, replicas = { 1 }, in_sync = { 1 } }
  partition.low, partition.high = 0, #memory.records(name)
  return { name = name, partitions = { partition } }
end

function ADMIN.topics()
  local list = {}
  for i, name in ipairs(memory.topics()) do
    list[i] = ADMIN.describe_topic(name)
  end
  table.sort(list, function(a, b)
    return a.name < b.name
  end)
  return list
end

local function admin(what, name, ...)
  local f = ADMIN[what]
  if not f then
    return nil, ("%s: there is no such thing in a test"):format(what), "NOT_SUPPORTED"
  end
  if name then
    permissions.permit("topics", name)
  end
  return f(name, ...)
end

-- As send, of a record; with headers as a table of names the caller makes a list of them first.
local function post(record)
  if type(record) ~= "table" or record.headers and record.headers[1] == nil then
    return false
  end
  local sent, message, code = send(record.topic, record.key, record.value, record.headers,
    record.partition, record.timestamp)
  if not sent then
    return nil, message, code
  end
  return true
end

local Reader = {}
Reader.__index = Reader

function Reader:next()
  local record = memory.records(self.topic, self.at)[1]
  if not record then
    return nil, "everything was read", "END"
  end
  self.at = self.at + 1
  return record
end

function Reader:take(max)
  local records = memory.records(self.topic, self.at)
  records = table.move(records, 1, math.min(max, #records), 1, {})
  self.at = self.at + #records
  if #records == 0 then
    return nil, "everything was read", "END"
  end
  return records
end

function Reader.close()
  return true
end

local function reader(topic, from, spans)
  permissions.permit("topics", topic)
  local at = spans and spans[1] and spans[1][1] or from == "end" and #memory.records(topic) or 0
  return setmetatable({ topic = topic, at = at }, Reader)
end

local function consumer()
  return nil, "a consumer without a flow: there is none in a test", "NOT_SUPPORTED"
end

--- What sipeat.core.kafka is in a test.
function M.open()
  return {
    send = send,
    post = post,
    admin = admin,
    reader = reader,
    consumer = consumer,
    connected = function()
      return true
    end,
    pending = function()
      return 0
    end,
    processing_ms = function() end,
  }
end

return M
