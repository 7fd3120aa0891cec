--- The functions of the SipEat guides under their names (in snake_case), over this runtime.
--
-- send_message, create_kafka_event, create_topic_consumer (sipeat-kafka-worker), get_producer,
-- create_consumer (invoices-guide), send_kafka_event_notification (sipeat-discord-flow).
local background = require "sipeat.background"
local event = require "sipeat.event"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local log = require "sipeat.log".new "sipeat.seeds"
local opts = require "sipeat.opts"
local publish = require "sipeat.publish"

local M = {}

local function need_text(value, what, level)
  if type(value) ~= "string" or value == "" then
    error(("%s: expected text, got %s"):format(what, opts.show(value)), level + 1)
  end
end

--- Makes an event with an id and the time. A topic's name stands for the type that it is named
--- after: "contact-created" gives "contact.created".
function M.create_kafka_event(topic_or_type, data)
  need_text(topic_or_type, "create_kafka_event: the topic or type", 2)
  local kind = topic_or_type
  if not kind:find(".", 1, true) then
    kind = kind:gsub("%-", ".")
  end
  return event.untyped(kind, data)
end

--- Writes an event, as { id, type, data, occurredAt, version }, or any other table as JSON, or text
--- as it is, and waits for the acknowledgement. { topic, partition, offset } or nil, message, code.
function M.send_message(topic, message)
  need_text(topic, "send_message: the topic", 2)
  if type(message) == "table" and message.type and message.id then
    return publish.send(message, topic, "plain")
  end
  local value, why, code = message, nil, nil
  if type(message) ~= "string" then
    value, why, code = json.encode(message)
  end
  if not value then
    return nil, why, code
  end
  return kafka.producer():send { topic = topic, value = value }
end

--- Starts a consumer group that hands each event of a topic to handler(event, ctx), with retries
--- and dead letters. To be called while the script loads.
function M.create_topic_consumer(group, topic, handler)
  need_text(group, "create_topic_consumer: the group", 2)
  need_text(topic, "create_topic_consumer: the topic", 2)
  return require "sipeat.flow" { topic = topic, group = group, on = { ["*"] = handler } }
end

local Producer = {}
Producer.__index = Producer

local SEND = opts.spec("sipeat.producer.send", {
  topic = { "string", required = true },
  messages = { "table", required = true },
})

local MESSAGE = opts.spec("sipeat.producer.message", {
  key = { "string" },
  value = { "any" },
  headers = { "table" },
  partition = { "integer" },
  timestamp = { "integer" },
})

--- Writes the messages { key, value, headers, partition, timestamp } to a topic and waits for all.
--- A value that is no text is written as JSON. A list of reports; or nil, message, code when one of
--- them was not written.
function Producer:send(options)
  local o = SEND(options)
  local records = {}
  for i, message in ipairs(o.messages) do
    local record = MESSAGE(message)
    record.topic = o.topic
    if record.value ~= nil and type(record.value) ~= "string" then
      local text, why, code = json.encode(record.value)
      if not text then
        return nil, ("producer send: message %d: %s"):format(i, why), code
      end
      record.value = text
    end
    records[i] = record
  end
  local reports, why, code = self.producer:send_many(records)
  if not reports then
    return nil, why, code
  end
  for i, report in ipairs(reports) do
    if report.code then
      return nil, ("producer send: message %d: %s"):format(i, report.message), report.code
    end
  end
  return reports
end

--- There is nothing to disconnect: the process has one producer, flushed when it ends.
function Producer:disconnect()
  return self.producer ~= nil
end

--- The process's producer: send { topic = …, messages = { { key = …, value = … } } }.
function M.get_producer()
  return setmetatable({ producer = kafka.producer() }, Producer)
end

local Consumer = {}
Consumer.__index = Consumer

local SUBSCRIBE = opts.spec("sipeat.consumer.subscribe", {
  topic = { "string", required = true },
  from_beginning = { "boolean", default = false },
})

local RUN = opts.spec("sipeat.consumer.run", {
  each_message = { "function", required = true },
})

local PAUSES = { attempts = 8, backoff = { "1s", "30s" } }

--- Adds a topic, to be called before run.
function Consumer:subscribe(options)
  local o = SUBSCRIBE(options)
  if self.running then
    error("consumer: subscribe comes before run", 2)
  end
  self.topics[#self.topics + 1] = o.topic
  self.from = o.from_beginning and "beginning" or "end"
end

local function payload_of(record)
  local headers = {}
  for _, header in ipairs(record.headers or {}) do
    headers[header.name or header[1]] = header.value or header[2]
  end
  return {
    topic = record.topic,
    partition = record.partition,
    message = {
      key = record.key, value = record.value, headers = headers,
      offset = record.offset, timestamp = record.timestamp,
    },
  }
end

-- Hands one record over until it is taken: a failing one holds its consumer and is never skipped.
local function deliver(self, job, record, each_message)
  local pause = opts.backoff(PAUSES)
  local n = 0
  repeat
    local ok, why = failure.catch(each_message, payload_of(record))
    if ok then
      return self.consumer:commit(record)
    end
    n = n + 1
    log:error(("%s: %s[%d]@%d failed, held and tried again: %s"):format(
      self.group, record.topic, record.partition, record.offset, why.message
    ))
  until not job:rest(pause(math.min(n, PAUSES.attempts)))
end

local function consume(self, job, each_message)
  while not job.stopped do
    local record, message, code = self.consumer:next "1s"
    if record then
      deliver(self, job, record, each_message)
    elseif code == "ECANCELED" or code == "CLOSED" then
      break
    elseif code ~= "ETIMEDOUT" then
      log:warn(("%s: %s"):format(self.group, message))
    end
  end
  self.consumer:close()
end

--- Calls each_message { topic, partition, message = { key, value, headers, offset, timestamp } }
--- for one record after the other, in the background, and commits each once it has returned.
function Consumer:run(options)
  local o = RUN(options)
  if #self.topics == 0 then
    error("consumer: run comes after subscribe", 2)
  elseif self.running then
    error("consumer: it runs already", 2)
  end
  self.running = background.run("consumer " .. self.group, function(job)
    local message, code
    self.consumer, message, code = kafka.consumer {
      group = self.group, topics = self.topics, from = self.from,
    }
    if not self.consumer then
      return nil, message, code
    end
    consume(self, job, o.each_message)
  end)
  return true
end

--- Stops after the record that is being handled, and waits for that.
function Consumer:disconnect()
  if self.running then
    self.running:stop()
    self.running:join()
  end
  return true
end

--- A consumer of a group: subscribe { topic = …, from_beginning = true }, then run { each_message
--- = function(payload) … end }. For retries, dead letters and order by key use sipeat.flow.
function M.create_consumer(group)
  need_text(group, "create_consumer: the group", 2)
  return setmetatable({ group = group, topics = {}, from = "end" }, Consumer)
end

--- Tells Discord how an event ended. See sipeat.discord.
function M.send_kafka_event_notification(ev, ok, err)
  return require "sipeat.discord".send_kafka_event_notification(ev, ok, err)
end

return M
