--- What a script starts from: patterns, events and the modules, each loaded when it is first used.
local M = {}

-- name -> module, or module and the name in it
local LAZY = {
  access = { "sipeat.access" },
  batch = { "sipeat.batch" },
  analytics = { "sipeat.analytics" },
  bench = { "sipeat.bench" },
  breaker = { "sipeat.breaker" },
  bulkhead = { "sipeat.bulkhead" },
  capture = { "sipeat.capture" },
  chain = { "sipeat.chain" },
  cloudevents = { "sipeat.cloudevents" },
  commands = { "sipeat.commands" },
  deadletter = { "sipeat.deadletter" },
  discord = { "sipeat.discord" },
  env = { "sipeat.env" },
  event = { "sipeat.event" },
  eventsource = { "sipeat.eventsource" },
  every = { "sipeat.background", "every" },
  factory = { "sipeat.factory" },
  failure = { "sipeat.failure" },
  flow = { "sipeat.flow" },
  handled = { "sipeat.steps", "handled" },
  http = { "sipeat.http" },
  json = { "sipeat.json" },
  kafka = { "sipeat.kafka" },
  log = { "sipeat.log" },
  mail = { "sipeat.mail" },
  metrics = { "sipeat.metrics" },
  trace = { "sipeat.trace" },
  sentry = { "sipeat.sentry" },
  money = { "sipeat.money" },
  observers = { "sipeat.observers" },
  opts = { "sipeat.opts" },
  outbox = { "sipeat.outbox" },
  permanent = { "sipeat.failure", "permanent" },
  permissions = { "sipeat.permissions" },
  postgres = { "sipeat.postgres" },
  projection = { "sipeat.projection" },
  publish = { "sipeat.publish", "publish" },
  push = { "sipeat.push" },
  rate_limit = { "sipeat.rate_limit" },
  relay = { "sipeat.relay" },
  retry_budget = { "sipeat.retry_budget" },
  seal = { "sipeat.seal" },
  secret = { "sipeat.env", "secret" },
  serial = { "sipeat.serial" },
  slack = { "sipeat.slack" },
  sms = { "sipeat.sms" },
  sql = { "sipeat.sql" },
  states = { "sipeat.states" },
  strategy = { "sipeat.strategy" },
  stripe = { "sipeat.stripe" },
  supabase = { "sipeat.supabase" },
  table = { "sipeat.table" },
  task = { "sipeat.task" },
  template = { "sipeat.template" },
  testing = { "sipeat.testing" },
  timeout = { "sipeat.timeout" },
  topics = { "sipeat.topics" },
  transient = { "sipeat.failure", "transient" },
  vending = { "sipeat.vending" },
  webhook = { "sipeat.webhook" },
  worker = { "sipeat.core.sys", "worker" },
  workers = { "sipeat.core.sys", "workers" },
  version = { "sipeat.core.sys", "version" },
  create_consumer = { "sipeat.seeds", "create_consumer" },
  create_kafka_event = { "sipeat.seeds", "create_kafka_event" },
  create_topic_consumer = { "sipeat.seeds", "create_topic_consumer" },
  get_producer = { "sipeat.seeds", "get_producer" },
  send_kafka_event_notification = { "sipeat.seeds", "send_kafka_event_notification" },
  send_message = { "sipeat.seeds", "send_message" },
  signal = { "sipeat.durable_wait", "signal" },
}

setmetatable(M, {
  __index = function(self, name)
    local where = LAZY[name]
    if not where then
      local opts = require "sipeat.opts"
      local near = type(name) == "string" and opts.nearest(name, opts.names(LAZY))
      local hint = near and (" (did you mean %s?)"):format(near) or ""
      error(("sipeat has no %s%s"):format(tostring(name), hint), 2)
    end
    local value = require(where[1])
    if where[2] then
      value = value[where[2]]
    end
    rawset(self, name, value)
    return value
  end,
})

return M
