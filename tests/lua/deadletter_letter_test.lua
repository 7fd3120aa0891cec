--- Dead letters as they are read, kept in files and shown: without a broker.
local deadletter = require "sipeat.deadletter"
local failure = require "sipeat.failure"
local letters = require "sipeat.deadletter_letter"
local list = require "sipeat.deadletter_list"
local park = require "sipeat.deadletter_park"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"

local DIRECTORY = park.directory() .. "-" .. sys.uuid()

local function letter_of(fields, headers)
  local record = {
    topic = "orders", partition = 2, offset = 17, timestamp = 1700000000123, key = "k\0",
    value = '{"b":1,"a":[]}', headers = headers or { { "own", "1" }, { "null" } },
  }
  for name, value in pairs(fields or {}) do
    record[name] = value
  end
  local why = failure.new("no stock", "NO_STOCK", "permanent")
  why.traceback = "stack\n\tline"
  return {
    record = record, event = { id = "e1", type = "order.created" }, failure = why, attempts = 3,
    flow = "group", topic = true, first_failed_ms = 1700000001000, failed_ms = 1700000002000,
  }
end

-- The record that a letter becomes in its topic.
local function record_of(letter)
  return {
    topic = "orders-dlt", partition = 1, offset = 5, timestamp = letter.record.timestamp,
    key = letter.record.key, value = letter.record.value, headers = deadletter.headers(letter),
  }
end

t.test("integers of headers: 1 to 8 bytes, or digits", function()
  t.eq(letters.integer "\0\0\0\5", 5)
  t.eq(letters.integer((">i8"):pack(-2)), -2)
  t.eq(letters.integer "\1\139\207\229\104\123", 1700000000123) -- BigInteger.toByteArray
  t.eq(letters.integer "\4", 4)
  t.eq(letters.integer "1700000000123", 1700000000123)
  t.eq({ letters.integer "", letters.integer(nil), letters.integer(("x"):rep(9)) }, {})
end)

t.test("a letter says what its headers say", function()
  local one = letters.read(record_of(letter_of()))
  t.eq({
    one.id, one.original_topic, one.original_partition, one.original_offset, one.original_timestamp,
    one.group, one.reason, one.kind, one.message, one.stacktrace, one.attempts, one.failed_ms,
    one.first_failed_ms, one.type, one.event_id, one.replayed,
  }, {
    "orders-dlt:1:5", "orders", 2, 17, 1700000000123, "group", "NO_STOCK", "permanent", "no stock",
    "stack\n\tline", 3, 1700000002000, 1700000001000, "order.created", "e1", 0,
  })
end)

t.test("a replay has the original's bytes and place, and its headers untouched", function()
  local own = { { "own", "1" }, { "null" }, { "kafka_dlt-original-topic", "old" }, { "own", "2" } }
  local record, count = letters.replay(letters.read(record_of(letter_of(nil, own))))
  t.eq(count, 0)
  t.eq({ record.topic, record.partition, record.key, record.value, record.timestamp },
    { "orders", 2, "k\0", '{"b":1,"a":[]}', 1700000000123 })
  t.eq(record.headers, {
    own[1], own[2], own[3], own[4], { "sipeat-replayed", "1" },
    { "sipeat-replay-origin", "orders-dlt:1:5" },
  })
  local again = letter_of(nil, record.headers)
  record, count = letters.replay(letters.read(record_of(again)))
  t.eq(count, 1)
  t.eq({ #record.headers, record.headers[5][2] }, { 6, "2" })
  t.eq(letters.read(record_of(again)).replayed, 1)
  t.eq(letters.origin_of(record), "orders-dlt:1:5")
end)

t.test("tombstones come back as tombstones, records without a time without one", function()
  local letter = letter_of { timestamp = -1 }
  letter.record.key, letter.record.value = nil, nil
  local made = record_of(letter)
  made.timestamp = 1700000009999 -- when the letter was written
  local record = letters.replay(letters.read(made))
  t.eq({ record.key, record.value, record.timestamp }, {})
end)

t.test("letters of Spring's retry topics are told by their own names", function()
  local one = letters.read {
    topic = "orders-dlt", partition = 0, offset = 1, timestamp = 5, key = "k",
    value = '{"id":"s","type":"order.paid","data":{}}', headers = {
      { "own", "1" }, { "kafka_original-topic", "orders" },
      { "kafka_original-partition", "\0\0\0\1" },
      { "kafka_original-timestamp", (">i8"):pack(77) }, { "retry_topic-attempts", "\0\0\0\4" },
      { "kafka_exception-fqcn", "java.lang.RuntimeException" },
      { "kafka_exception-message", "broken" }, { "retry_topic-backoff-timestamp", "\1\2" },
    },
  }
  t.eq({ one.original_topic, one.original_partition, one.original_timestamp, one.reason,
    one.message, one.attempts, one.type, one.event_id, one.failed_ms },
    { "orders", 1, 77, "RuntimeException", "broken", 4, "order.paid", "s", 5 })
  local record = letters.replay(one)
  t.eq(record.headers[1], { "own", "1" })
  t.eq({ #record.headers, record.timestamp }, { 3, 77 })
end)

t.test("a letter without an origin cannot be replayed", function()
  local record, why = letters.replay(letters.read {
    topic = "x-dlt", partition = 0, offset = 0, timestamp = 1, headers = {}, value = "\255",
  })
  t.eq({ record, why.code, why.kind }, { nil, "NO_ORIGIN", "permanent" })
end)

t.test("a parked letter is read back as it was, unless its file was changed", function()
  local letter = letter_of()
  local path = t.ok(deadletter.park(letter))
  t.eq(t.ok(deadletter.park(letter)), path) -- once more changes nothing
  local record = t.ok(park.read_letter(path:match "[^/]+$"))
  local made = record_of(letter)
  t.eq({ record.topic, record.partition, record.key, record.value, record.timestamp },
    { "orders-dlt", 2, made.key, made.value, made.timestamp })
  t.eq(record.headers, made.headers)
  local one = letters.read(record)
  t.eq(one.id, "parked:" .. record.parked)
  local text = t.ok(sys.read_file(path))
  t.ok(sys.write_file(DIRECTORY .. "/bad.letter", (text:gsub("own", "oWn"))))
  t.ok(sys.write_file(DIRECTORY .. "/short.letter", "no letter"))
  t.eq(select(3, park.read_letter("bad.letter", DIRECTORY)), "BAD_DATA")
  t.eq(select(3, park.read_letter("short.letter", DIRECTORY)), "BAD_DATA")
  t.ok(sys.write_file(DIRECTORY .. "/good.letter", text))
  local all = t.ok(list.list(list.filter { parked = true, directory = DIRECTORY }))
  t.eq({ #all, all[1].event_id, all[1].was_replayed }, { 1, "e1" }) -- the broken ones are logged
  t.ok(park.mark({ parked = "good" }, DIRECTORY))
  t.eq(list.list(list.filter { parked = true, directory = DIRECTORY })[1].was_replayed, true)
  t.eq(list.list(list.filter { parked = true, directory = DIRECTORY .. "/none" }), {})
  for filter, count in pairs { reason = "NO_STOCK", type = "order.created", group = "group" } do
    t.eq(#list.list { parked = true, directory = DIRECTORY, [filter] = count }, 1)
    t.eq(#list.list { parked = true, directory = DIRECTORY, [filter] = "other" }, 0)
  end
  t.eq(#list.list { parked = true, directory = DIRECTORY, since = 1700000002001 }, 0)
end)

t.test("a body whose file was changed is refused", function()
  local path, sum = park.body("a body", ".bin")
  t.eq(t.ok(park.read_body(path)), "a body")
  local other = path:gsub("%.bin$", ".key")
  t.ok(sys.write_file(other, "another"))
  local body, message, code = park.read_body(other)
  t.eq({ body, code }, { nil, "BAD_DATA" })
  t.has(message, "checksum")
  t.has(path, sum)
end)

t.test("dead-letter topics are told by their names", function()
  t.eq({ list.is_topic "orders-dlt", list.is_topic "orders.DLT", list.is_topic "orders-dlq",
    list.is_topic "orders" }, { true, true, true, false })
  t.fails(deadletter.list, "a dead-letter topic is needed", {})
  t.fails(deadletter.replay, "a dead-letter topic is needed", {})
  t.fails(deadletter.replay, "option rate", { topic = "x", rate = "fast" })
end)
