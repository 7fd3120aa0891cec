--- The main module: what it names is there, nothing is loaded before it is used; publishing and the
--- seeds' functions, over a Kafka that writes down what it is given.
local event = require "sipeat.event"
local json = require "sipeat.json"
local sipeat = require "sipeat"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

-- A module of the standard library with some of the modules that it requires replaced.
local function with(name, replaced)
  local path = ("%s/stdlib/%s.lua"):format(os.getenv "SIPEAT_SOURCE", name)
  local function fake_require(wanted)
    return replaced[wanted] or require(wanted)
  end
  local env = setmetatable({ require = fake_require }, { __index = _G })
  return t.ok(load(t.ok(sys.read_file(path)), "@" .. path, "t", env))()
end

-- A broker's memory: records sent, records to be read.
local function fake_kafka()
  local k = { sent = {}, committed = {}, waiting = {}, closed = false }
  local producer = {}
  function producer.send(_, record)
    if k.broken then
      return nil, "no broker", "ECONNREFUSED"
    end
    k.sent[#k.sent + 1] = record
    return { topic = record.topic, partition = 0, offset = #k.sent - 1 }
  end
  function producer:send_many(records)
    local reports = {}
    for i, record in ipairs(records) do
      local report, message, code = self:send(record)
      reports[i] = report or { message = message, code = code }
    end
    return reports
  end
  function k.producer()
    return producer
  end
  function k.consumer(options)
    k.options = options
    local consumer = {}
    function consumer.next()
      if #k.waiting == 0 then
        task.sleep "1ms"
        return nil, "nothing came", "ETIMEDOUT"
      end
      return table.remove(k.waiting, 1)
    end
    function consumer.commit(_, record)
      k.committed[#k.committed + 1] = record.offset
      return true
    end
    function consumer.close()
      k.closed = true
    end
    return consumer
  end
  return k
end

t.test("an unknown name throws with the nearest one", function()
  t.fails(function()
    return sipeat.obsevers
  end, "sipeat has no obsevers (did you mean observers?)")
end)

t.test("the patterns and events are there", function()
  for _,
  name in ipairs { "observers", "strategy", "chain", "commands", "factory", "handled",
    "permanent" } do
    t.eq(type(sipeat[name]), "function", name)
  end
  t.ok(sipeat.event == event)
  t.ok(sipeat.json == json)
  t.eq(sipeat.permanent("x").kind, "permanent")
  t.eq(type(sipeat.version), "string")
end)

t.test("publish checks the data, keys the record and gives its place", function()
  local kafka = fake_kafka()
  local publish = with("publish", { ["sipeat.kafka"] = kafka }).publish
  local def = event.define("contact.created", { email = "email", budget = "money?" }, {
    topic = "contacts", key = "email",
  })
  local report = publish(def, { email = "a@b.de", budget = 12.5 }, { id = "1" })
  t.eq(report, { topic = "contacts", partition = 0, offset = 0, id = "1" })
  local record = kafka.sent[1]
  t.eq({ record.topic, record.key, record.headers.ce_type, record.headers.ce_id },
    { "contacts", "a@b.de", "contact.created", "1" })
  t.eq(json.decode(record.value), { email = "a@b.de", budget = 12.5 })

  local result, message, code = publish(def, { email = "no" })
  t.eq({ result, code }, { nil, "INVALID_EVENT" })
  t.has(message, "invalid contact.created: email")
  t.eq(#kafka.sent, 1)

  t.ok(publish("ping", { 1 }, { topic = "pings", mode = "plain", key = "k" }))
  t.eq(json.decode(kafka.sent[2].value).type, "ping")
  t.eq(kafka.sent[2].key, "k")

  kafka.broken = true
  t.eq({ publish("ping", {}, { topic = "pings" }) },
    { nil, "publish ping to pings: no broker", "ECONNREFUSED" })
end)

t.test("a wrong call of publish throws", function()
  local publish = with("publish", { ["sipeat.kafka"] = fake_kafka() }).publish
  for _, case in ipairs {
    { { nil, {} }, "expected a definition or a type's name, got nil" },
    { { "ping", {} }, "which topic?" }, { { event.define("ping", {}), {} }, "which topic?" },
    { { "ping", {}, { topik = "x" } }, "did you mean topic?" },
  } do
    t.fails(publish, case[2], table.unpack(case[1], 1, 3))
  end
end)

local function fake_seeds()
  local kafka = fake_kafka()
  local publish = with("publish", { ["sipeat.kafka"] = kafka })
  local flows = {}
  local seeds = with("seeds", {
    ["sipeat.kafka"] = kafka, ["sipeat.publish"] = publish,
    ["sipeat.flow"] = function(options)
      flows[#flows + 1] = options
      return options
    end,
  })
  return seeds, kafka, flows
end

t.test("create_kafka_event names the type after the topic", function()
  local seeds = fake_seeds()
  for name, kind in pairs {
    ["contact-created"] = "contact.created", ["contact.created"] = "contact.created",
    notification = "notification", ["sipeat.machine-events"] = "sipeat.machine-events",
  } do
    local made = seeds.create_kafka_event(name, { a = 1 })
    t.eq(made.type, kind)
    t.ok(#made.id == 36 and made.time)
  end
  t.fails(seeds.create_kafka_event, "expected text", "")
end)

t.test("send_message writes events in the seed's shape, other tables as JSON, text as it is",
  function()
  local seeds, kafka = fake_seeds()
  local made = seeds.create_kafka_event("contact-created", { name = "Zoë" })
  t.ok(seeds.send_message("contact-created", made))
  local body = json.decode(kafka.sent[1].value)
  t.eq({ body.id, body.type, body.data }, { made.id, "contact.created", { name = "Zoë" } })
  t.ok(seeds.send_message("x", { a = 1 }))
  t.eq(kafka.sent[2].value, '{"a":1}')
  t.ok(seeds.send_message("x", "text"))
  t.eq(kafka.sent[3].value, "text")
  t.eq(select(3, seeds.send_message("x", { f = print })), "BAD_DATA")
  t.fails(seeds.send_message, "the topic: expected text", nil, {})
  local back = event.from_record {
    topic = "contact-created", partition = 0, offset = 0, value = kafka.sent[1].value,
    timestamp = 0,
  }
  t.eq({ back.id, back.type, back.time }, { made.id, made.type, made.time })
end)

t.test("create_topic_consumer starts a flow for every type", function()
  local seeds, _, flows = fake_seeds()
  seeds.create_topic_consumer("g", "contact-created", print)
  t.eq(flows, { { topic = "contact-created", group = "g", on = { ["*"] = print } } })
  t.fails(seeds.create_topic_consumer, "the topic", "g")
end)

t.test("the producer of the guide takes a list of messages", function()
  local seeds, kafka = fake_seeds()
  local reports = seeds.get_producer():send { topic = "invoices", messages = {
    { key = "INV-001", value = { action = "created", amount = 1500 },
      headers = { ["event-type"] = "x" } },
    { value = "text" },
  } }
  t.eq(#reports, 2)
  t.eq({ kafka.sent[1].topic, kafka.sent[1].key, kafka.sent[2].value },
    { "invoices", "INV-001", "text" })
  t.eq(json.decode(kafka.sent[1].value), { action = "created", amount = 1500 })
  local _, message,
  code = seeds.get_producer():send { topic = "t", messages = { { value = { print } } } }
  t.has(message, "message 1")
  t.eq(code, "BAD_DATA")
  kafka.broken = true
  t.eq({ seeds.get_producer():send { topic = "t", messages = { { value = "x" } } } },
    { nil, "producer send: message 1: no broker", "ECONNREFUSED" })
  t.fails(function()
    local reports_of = seeds.get_producer():send { topic = "t" }
    return reports_of
  end, "messages is required")
end)

t.test("the consumer of the guide hands over each message and commits it", function()
  local seeds, kafka = fake_seeds()
  for offset = 0, 2 do
    kafka.waiting[#kafka.waiting + 1] = {
      topic = "invoices", partition = 0, offset = offset, key = "k", value = "v" .. offset,
      headers = { { name = "h", value = "1" } }, timestamp = 5,
    }
  end
  local consumer, seen = seeds.create_consumer "g", {}
  consumer:subscribe { topic = "invoices", from_beginning = true }
  t.ok(consumer:run { each_message = function(payload)
    seen[#seen + 1] = payload.message.value
    t.eq(payload.message.headers, { h = "1" })
  end })
  while #kafka.committed < 3 do
    task.sleep "1ms"
  end
  consumer:disconnect()
  t.eq(kafka.options, { group = "g", topics = { "invoices" }, from = "beginning" })
  t.eq(seen, { "v0", "v1", "v2" })
  t.eq(kafka.committed, { 0, 1, 2 })
  t.ok(kafka.closed)
end)

t.test("a message that fails is held and tried again, never skipped", function()
  local seeds, kafka = fake_seeds()
  kafka.waiting = {
    { topic = "t", partition = 0, offset = 0, value = "bad" },
    { topic = "t", partition = 0, offset = 1, value = "next" },
  }
  local consumer, seen = seeds.create_consumer "g", {}
  consumer:subscribe { topic = "t" }
  consumer:run { each_message = function(payload)
    seen[#seen + 1] = payload.message.value
    if #seen == 1 then
      error "not yet"
    end
  end }
  while #kafka.committed < 2 do
    task.sleep "10ms"
  end
  consumer:disconnect()
  t.eq(seen, { "bad", "bad", "next" })
  t.eq(kafka.options.from, "end")
end)

t.test("a consumer is used in order", function()
  local seeds = fake_seeds()
  local consumer = seeds.create_consumer "g"
  t.fails(function() consumer:run { each_message = print } end, "run comes after subscribe")
  t.fails(function() consumer:subscribe { topics = "x" } end, "did you mean topic?")
  t.fails(seeds.create_consumer, "expected text", 5)
end)
