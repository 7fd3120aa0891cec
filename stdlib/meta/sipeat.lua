---@meta sipeat
error "sipeat: this file describes the module to an editor; it is not run"

---What a script starts from. Every module is loaded when it is first used.
---@class sipeat
---@field access sipeat.access
---@field analytics sipeat.analytics
---@field batch sipeat.batch
---@field bench sipeat.bench
---@field breaker sipeat.breaker
---@field bulkhead sipeat.bulkhead
---@field capture sipeat.capture
---@field cloudevents sipeat.cloudevents
---@field deadletter sipeat.deadletter
---@field discord sipeat.discord
---@field env sipeat.env
---@field event sipeat.event
---@field eventsource sipeat.eventsource
---@field failure sipeat.failure
---@field flow sipeat.flow
---@field http sipeat.http
---@field json sipeat.json
---@field kafka sipeat.kafka
---@field log sipeat.log
---@field metrics sipeat.metrics
---@field trace sipeat.trace
---@field sentry sipeat.sentry
---@field mail sipeat.mail
---@field money sipeat.money
---@field opts sipeat.opts
---@field push sipeat.push
---@field permissions sipeat.permissions
---@field rate_limit sipeat.rate_limit
---@field retry_budget sipeat.retry_budget
---@field slack sipeat.slack
---@field serial sipeat.serial
---@field relay table the module `sipeat.relay`
---@field postgres sipeat.postgres
---@field testing table the module `sipeat.testing`
---@field sms sipeat.sms
---@field seal sipeat.seal
---@field sql sipeat.sql
---@field states sipeat.states
---@field stripe sipeat.stripe
---@field supabase sipeat.supabase
---@field task sipeat.task
---@field topics sipeat.topics
---@field template sipeat.template
---@field vending sipeat.vending
---@field webhook sipeat.webhook
---@field worker integer number of the worker that runs this, from 1
---@field workers integer how many there are (`--workers`)
---@field version string
local M = {}

M.chain = require "sipeat.chain"
M.commands = require "sipeat.commands"
M.factory = require "sipeat.factory"
M.observers = require "sipeat.observers"
M.strategy = require "sipeat.strategy"
M.table = require "sipeat.table"
M.timeout = require "sipeat.timeout"
M.every = require("sipeat.background").every
M.permanent = require("sipeat.failure").permanent
M.transient = require("sipeat.failure").transient
M.projection = require "sipeat.projection"
M.publish = require("sipeat.publish").publish
M.secret = require("sipeat.env").secret
M.create_consumer = require("sipeat.seeds").create_consumer
M.create_kafka_event = require("sipeat.seeds").create_kafka_event
M.create_topic_consumer = require("sipeat.seeds").create_topic_consumer
M.get_producer = require("sipeat.seeds").get_producer
M.send_kafka_event_notification = require("sipeat.seeds").send_kafka_event_notification
M.send_message = require("sipeat.seeds").send_message

---Says something to whoever waits for that name and key in ctx:wait, or will within seven days.
---@param name string
---@param key string
---@param body any plain data
---@param options? { id?: string } with the same id it counts once
---@return true? ok
---@return any is_new or the message
---@return string? code
function M.signal(name, key, body, options) end

---Returned by a step's run: the chain ends here, well, with that result.
---@param result any
---@return table
function M.handled(result) end

return M
