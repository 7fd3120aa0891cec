--- sipeat.deadletter on the embedded broker: what a letter holds, and what happens when it is too
--- large or cannot be written at once.
local deadletter = require "sipeat.deadletter"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local function record(fields)
  local r = {
    topic = "source", partition = 2, offset = 5000000000, timestamp = 1700000000123,
    timestamp_type = "CreateTime", key = "k\0\255", value = "v\0\255",
    headers = {
      { "twice", "1" }, { "twice", "2" }, { "null" }, { "kafka_dlt-original-topic", "x" },
    },
  }
  for name, value in pairs(fields or {}) do
    r[name] = value
  end
  return r
end

local function letter(fields, why)
  return {
    record = record(fields), event = { id = "e-1", type = "order.created" }, attempts = 3,
    failure = why or failure.permanent("no stock", "NO_STOCK"), flow = "group", topic = true,
    first_failed_ms = 1000,
  }
end

local function headers_of(r)
  local map = {}
  for _, header in ipairs(r.headers) do
    map[header[1]] = header[2]
  end
  return map
end

-- The record of a topic that stands at a place.
local function read(report)
  local reader <close> = t.ok(kafka.reader { topic = report.topic })
  while true do
    local r = t.ok(reader:next "10s")
    if r.partition == report.partition and r.offset == report.offset then
      return r
    end
  end
end

t.test("the topic is the original one with -dlt, or the one that is named", function()
  t.eq(deadletter.topic_of("orders", true), "orders-dlt")
  t.eq(deadletter.topic_of("orders", nil), "orders-dlt")
  t.eq(deadletter.topic_of("orders", "graveyard"), "graveyard")
end)

t.test("original headers come first and untouched, then ours in Spring's forms", function()
  local l = letter()
  local headers = deadletter.headers(l)
  for i, header in ipairs(l.record.headers) do
    t.eq(headers[i], header)
  end
  local map = headers_of { headers = headers }
  t.eq(map["kafka_dlt-original-topic"], "source")
  t.eq(map["kafka_dlt-original-partition"], "\0\0\0\2")
  t.eq(map["kafka_dlt-original-offset"], "\0\0\0\1\x2a\x05\xf2\0")
  t.eq((">i8"):unpack(map["kafka_dlt-original-timestamp"]), 1700000000123)
  t.eq(map["kafka_dlt-original-timestamp-type"], "CreateTime")
  t.eq(map["kafka_dlt-original-consumer-group"], "group")
  t.eq(map["kafka_dlt-exception-fqcn"], "sipeat.NO_STOCK")
  t.eq(map["kafka_dlt-exception-message"], "no stock")
  t.eq(map["retry_topic-attempts"], "\0\0\0\3")
  t.eq(map["sipeat-attempts"], "3")
  t.eq(map["sipeat-first-failed-at"], "1970-01-01T00:00:01.000Z")
  t.eq(map["sipeat-error-code"], "NO_STOCK")
  t.eq(map["sipeat-error-kind"], "permanent")
  t.eq(map["sipeat-event-id"], "e-1")
  t.eq(map["sipeat-event-type"], "order.created")
  t.ok(map["sipeat-failed-at"]:find "^%d%d%d%d%-%d%d%-%d%dT")
end)

t.test("what is long is cut at a character, and broken text is repaired", function()
  local why = failure.new(("é"):rep(5000) .. "\255", "LONG", "bug")
  why.traceback = ("ü"):rep(50000)
  local map = headers_of { headers = deadletter.headers(letter(nil, why)) }
  local message, trace = map["kafka_dlt-exception-message"], map["kafka_dlt-exception-stacktrace"]
  t.ok(#message <= 2003 and utf8.len(message), "the message has " .. #message .. " bytes")
  t.ok(#trace <= 8003 and utf8.len(trace), "the trace has " .. #trace .. " bytes")
end)

t.broker()

t.test("a letter has the original's bytes, key, time and partition", function()
  local l = letter()
  local report = t.ok(deadletter.try(l))
  t.eq(report.topic, "source-dlt")
  t.eq(report.partition, 2)
  local r = read(report)
  t.eq(r.key, "k\0\255")
  t.eq(r.value, "v\0\255")
  t.eq(r.timestamp, 1700000000123)
  t.eq({ table.unpack(r.headers, 1, 4) }, l.record.headers)
end)

t.test("tombstones, and records without key, headers or time have letters too", function()
  local l = letter { timestamp = -1, headers = {} }
  l.record.key, l.record.value, l.event, l.attempts = nil, nil, nil, nil
  local r = read(t.ok(deadletter.try(l)))
  t.eq(r.key, nil)
  t.eq(r.value, nil)
  t.ok(r.timestamp > 1700000000123)
  t.eq(headers_of(r)["sipeat-event-id"], nil)
end)

t.test("a partition that the dead-letter topic lacks gives way to the key", function()
  local first = t.ok(deadletter.try(letter { partition = 77 }))
  local second = t.ok(deadletter.try(letter { partition = 78 }))
  t.ok(first.partition < 77)
  t.eq(first.partition, second.partition)
  t.eq(headers_of(read(first))["kafka_dlt-original-partition"], (">i4"):pack(77))
end)

t.test("a letter that is too large leaves a pointer, and its body in a file", function()
  local body = ("0123456789\0"):rep(100000)
  local r = read(t.ok(deadletter.try(letter { value = body })))
  local headers = headers_of(r)
  t.eq(r.key, "k\0\255")
  t.eq(r.partition, 2)
  t.eq(headers.twice, "2")
  t.eq(headers["sipeat-error-code"], "NO_STOCK")
  t.eq(headers["sipeat-body-bytes"], "1100000")
  t.eq(headers["sipeat-body-sha256"], sys.sha256(body))
  t.eq(t.ok(sys.read_file(headers["sipeat-pointer"])), body)
  t.eq(json.decode(r.value), {
    pointer = headers["sipeat-pointer"], bytes = 1100000, sha256 = sys.sha256(body),
  })
  local again = read(t.ok(deadletter.try(letter { value = body })))
  t.eq(headers_of(again)["sipeat-pointer"], headers["sipeat-pointer"])
end)

t.test("a large key and large headers are parked beside the body", function()
  local key, wide = ("k"):rep(600000), ("h"):rep(600000)
  local r = read(t.ok(deadletter.try(letter { key = key, headers = { { "a", wide }, { "b" } } })))
  local headers = headers_of(r)
  t.eq(r.key, nil)
  t.eq(headers.a, nil)
  t.eq(t.ok(sys.read_file(headers["sipeat-key-pointer"])), key)
  local packed = t.ok(sys.read_file(headers["sipeat-headers-pointer"]))
  local name, value, at = (">s4s4"):unpack(packed)
  t.eq({ name, value }, { "a", wide })
  t.eq(packed:sub(at), "\0\0\0\1b\255\255\255\255")
  t.eq(t.ok(sys.read_file(headers["sipeat-pointer"])), "v\0\255")
end)

-- Runs f while sends answer with the codes of a list, the last one again and again (true: written).
local function with_answers(codes, f)
  local producer, sent = kafka.producer, {}
  kafka.producer = function()
    return {
      send = function(_, message)
        sent[#sent + 1] = message
        local code = codes[math.min(#sent, #codes)]
        if code == true then
          return { topic = message.topic, partition = 0, offset = 0 }
        end
        return nil, "refused by the test", code
      end,
    }
  end
  local ok, why = pcall(f, sent)
  kafka.producer = producer
  if not ok then
    error(why, 0)
  end
end

t.test("what may help is tried at once: elsewhere, the topic made anew, a pointer", function()
  with_answers({ "INVALID_TIMESTAMP", true }, function(sent)
    t.ok(deadletter.try(letter()))
    t.eq({ sent[1].timestamp, sent[2].timestamp }, { 1700000000123 })
  end)
  with_answers({ "UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_OR_PART", "MSG_SIZE_TOO_LARGE", true },
    function(sent)
      t.ok(deadletter.try(letter()))
      t.eq({ sent[1].partition, sent[2].partition, sent[3].partition }, { 2 })
      t.eq(sent[3].value, "v\0\255")
      t.has(sent[4].value, "pointer")
    end)
end)

t.test("what cannot be written is a failure, and write tries until it is", function()
  with_answers({ "_TRANSPORT" }, function(sent)
    local report, why = deadletter.try(letter())
    t.eq(report, nil)
    t.ok(failure.is(why))
    t.eq(why.message, "dead letter to source-dlt: refused by the test")
    t.eq({ why.code, why.kind, #sent }, { "_TRANSPORT", "transient", 1 })
  end)
  with_answers({ "MSG_SIZE_TOO_LARGE" }, function(sent)
    t.eq(select(2, deadletter.try(letter())).code, "MSG_SIZE_TOO_LARGE")
    t.eq(#sent, 2) -- no end of tries when the pointer is too large as well
  end)
  with_answers({ "_TRANSPORT", "_TRANSPORT", true }, function(sent)
    t.eq(deadletter.write(letter()), true)
    t.eq(#sent, 3)
  end)
end)

t.test("write ends when its task is stopped", function()
  with_answers({ "_TRANSPORT" }, function(sent)
    local written
    local writer = task.spawn(function()
      written = deadletter.write(letter())
    end)
    task.sleep "100ms"
    t.ok(not writer:done())
    writer:kill()
    writer:join()
    t.eq(written, false)
    t.eq(#sent, 1)
  end)
end)
