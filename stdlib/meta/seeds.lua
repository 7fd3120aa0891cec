---@meta sipeat.seeds
error "sipeat.seeds: this file describes the module to an editor; it is not run"

---The functions of the SipEat guides.
---@class sipeat.seeds
local M = {}

---@param topic_or_type string "contact-created" gives the type contact.created
---@param data any
---@return sipeat.Event
function M.create_kafka_event(topic_or_type, data) end

---@param topic string
---@param message sipeat.Event|table|string
---@return table? report
---@return string? message
---@return string? code
function M.send_message(topic, message) end

---@param group string
---@param topic string
---@param handler sipeat.Handler
function M.create_topic_consumer(group, topic, handler) end

---@class sipeat.SeedsProducer
local Producer = {}

---@class sipeat.producer.SendOptions
---@field topic string
---@field messages sipeat.producer.MessageOptions[]

---@class sipeat.producer.MessageOptions
---@field key? string
---@field value? any text, or what is written as JSON
---@field headers? table<string, string>
---@field partition? integer
---@field timestamp? integer ms since 1970

---@param options sipeat.producer.SendOptions
---@return table[]? reports
---@return string? message
---@return string? code
function Producer:send(options) end

---@return boolean
function Producer:disconnect() end

---@return sipeat.SeedsProducer
function M.get_producer() end

---@class sipeat.SeedsConsumer
local Consumer = {}

---@class sipeat.consumer.SubscribeOptions
---@field topic string
---@field from_beginning? boolean default false

---@class sipeat.consumer.RunOptions
---@field each_message fun(payload: table) { topic, partition, message = { key, value, headers,
---offset, timestamp } }

---@param options sipeat.consumer.SubscribeOptions
function Consumer:subscribe(options) end

---@param options sipeat.consumer.RunOptions
---@return true?
function Consumer:run(options) end

---@return true
function Consumer:disconnect() end

---@param group string
---@return sipeat.SeedsConsumer
function M.create_consumer(group) end

---@param ev sipeat.Event
---@param ok boolean
---@param err any
function M.send_kafka_event_notification(ev, ok, err) end

return M
