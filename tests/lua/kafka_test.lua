--- sipeat.kafka against the embedded broker: sending, consuming, committing, readers and admin.
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

t.test("without a broker setting every use says what to set", function()
  local sent, message, code = kafka.producer():send { topic = "t", value = "v" }
  t.eq(sent, nil)
  t.has(message, "KAFKA_BROKERS")
  t.eq(code, "CONFIG")
  t.eq(select(3, kafka.admin():topics()), "CONFIG")
  t.eq(select(3, kafka.consumer { group = "g", topics = "t" }), "CONFIG")
end)

t.broker()

t.test("a caller's mistake throws", function()
  local p = kafka.producer()
  t.fails(p.send, "topic is required", p, { value = "v" })
  t.fails(p.send, "did you mean value?", p, { topic = "t", valeu = "v" })
  t.fails(p.send, "headers", p, { topic = "t", headers = { [2] = "x" } })
  t.fails(kafka.consumer, "from: expected", { group = "g", topics = "t", from = "yesterday" })
  t.fails(kafka.consumer, "at least one topic", { group = "g", topics = {} })
  t.fails(kafka.consumer, "group is required", { topics = "t" })
end)

t.test("a time is understood in its usual forms", function()
  t.eq(kafka.time_ms "1970-01-02", 86400000)
  t.eq(kafka.time_ms "2026-03-01T10:00:00Z", 1772359200000)
  t.eq(kafka.time_ms "2026-03-01T10:00:00.250Z", 1772359200250)
  t.eq(kafka.time_ms "2026-03-01T12:30:00+02:30", 1772359200000)
  t.eq(kafka.time_ms "2026-03-01 10:00", 1772359200000)
  t.eq(kafka.time_ms "2026-13-01", nil)
  t.eq(kafka.time_ms "tomorrow", nil)
end)

t.test("what is sent is read with key, headers and bytes", function()
  local sent = t.ok(kafka.producer():send {
    topic = "bytes", key = "k", value = "a\0b\255", timestamp = 1700000000000,
    headers = { { "x", "1" }, { "x" }, { "y", "\0" } },
  })
  t.eq(sent.topic, "bytes")
  t.eq(sent.offset, 0)
  local reader = t.ok(kafka.reader { topic = "bytes" })
  local record = t.ok(reader:next "10s")
  t.eq(record, {
    topic = "bytes", partition = sent.partition, offset = 0, key = "k", value = "a\0b\255",
    timestamp = 1700000000000, timestamp_type = "CreateTime",
    headers = { { "x", "1" }, { "x" }, { "y", "\0" } },
  })
  t.eq(select(3, reader:next "10s"), "END")
  t.eq(select(3, reader:next "10ms"), "ETIMEDOUT")
  t.ok(reader:close())
  t.eq(select(3, reader:next()), "CLOSED")
end)

t.test("a reader gives what is there as a list", function()
  local records = {}
  for i = 1, 150 do
    records[i] = { topic = "many", key = "k", value = tostring(i) }
  end
  t.ok(kafka.producer():send_many(records))
  local reader <close> = t.ok(kafka.reader { topic = "many" })
  local values = {}
  repeat
    local list, _, code = reader:take(70, "10s")
    for _, record in ipairs(list or {}) do
      values[#values + 1] = tonumber(record.value)
    end
    t.ok(#(list or {}) <= 70)
  until not list and t.eq(code, "END") == nil
  t.eq({ #values, values[1], values[150] }, { 150, 1, 150 })
  t.ok(kafka.producer():send { topic = "many", key = "k", value = "151" })
  t.eq(t.ok(reader:take(5, "10s"))[1].value, "151")
  t.fails(reader.take, "1 to 1,000,000", reader, 0)
end)

local SIEVED = { -- values are what a search finds them by
  { key = "k1", value = "a", headers = { { "type", "paid" }, { "note", "Late" } } },
  { key = "K2", value = "b Text", headers = { { "type" }, { "type", "late" } } },
  { value = [[{"tier":"g\u006fld"}]] },
  { key = "k1", headers = { { "", "paid" } } },
  { key = "", value = "", timestamp = 1000 },
  { key = "", value = [[{"tier":"gold"}]], timestamp = 2000 },
}

t.test("a reader passes over what its sieve does not let through", function()
  for _, record in ipairs(SIEVED) do
    t.ok(kafka.producer():send {
      topic = "sieved", partition = 0, key = record.key, value = record.value,
      headers = record.headers, timestamp = record.timestamp,
    })
  end
  local function places(sieve)
    local reader <close> = t.ok(kafka.reader { topic = "sieved", sieve = sieve })
    local list = {}
    while true do
      local record, message, code = reader:next "10s"
      if not record then
        t.eq(code, "END", message)
        t.eq(reader:passed(), #SIEVED - #list)
        return table.concat(list, " ")
      end
      list[#list + 1] = record.offset
    end
  end
  for _, case in ipairs {
    { {}, "0 1 2 3 4 5" }, { { { "key", "k1" } }, "0 3" }, { { { "key", "" } }, "4 5" },
    { { { "key~", "k2" } }, "1" }, { { { "header", "", "type" } }, "0 1" },
    { { { "header=", "paid", "type" } }, "0" }, { { { "header=", "", "type" } }, "1" },
    { { { "header=", "paid", "" } }, "3" }, { { { "header~", "late", "type" } }, "1" },
    { { { "header~", "late", "note" }, { "key", "k1" } }, "0" },
    { { { "header", "", "type" }, { "key", "k3" } }, "" }, { { { "text~", "late" } }, "0 1" },
    { { { "text~", "text" } }, "1" }, { { { "text", "text" } }, "" },
    { { { "text", "paid" } }, "0 3" },
    { { { "text", "K" } }, "1" }, { { { "json", "gold" } }, "2 5" },
    { { { "path", "gold", "=", path = { "tier" } } }, "2 5" },
    { { { "path", "4", "<", path = { "tier" }, number = 4 } }, "" },
    { { from_ms = 1000, until_ms = 2000 }, "4" }, { { from_ms = 2000, until_ms = 3000 }, "5" },
  } do
    t.eq(places(case[1]), case[2], json.encode(case[1]))
  end
  t.fails(kafka.reader, "no such test", { topic = "sieved", sieve = { { "keys", "x" } } })
  t.fails(kafka.reader, "{kind, text", { topic = "sieved", sieve = { { "key" } } })
  t.fails(kafka.reader, "{kind, text", { topic = "sieved", sieve = { "key" } })
  t.fails(kafka.reader, "a path is", { topic = "sieved", sieve = { { "path", "1", "=" } } })
end)

t.test("what a sieve passes over lets others run", function()
  local records = {}
  for i = 1, 10000 do
    records[i] = { topic = "passed", key = "k", value = "x" }
  end
  records[#records].value = "y"
  t.ok(kafka.producer():send_many(records))
  local reader <close> = t.ok(kafka.reader { topic = "passed", sieve = { { "text", "y" } } })
  local turns = 0
  while true do
    local record, message, code = reader:next "10s"
    if record then
      t.eq({ record.value, reader:passed() }, { "y", 9999 })
      break
    end
    t.eq(code, "PASSED", message)
    turns = turns + 1
  end
  t.ok(turns <= 9999 // 4096)
end)

t.test("headers may come from lazy data", function()
  local lists, map = json.lazy '[["x","1"],["y"]]', json.lazy '{"b":"2"}'
  t.ok(kafka.producer():send { topic = "lazy", key = "k", value = "1", headers = lists })
  t.ok(kafka.producer():send { topic = "lazy", key = "k", value = "2", headers = map })
  local reader <close> = t.ok(kafka.reader { topic = "lazy" })
  t.eq(t.ok(reader:next "10s").headers, { { "x", "1" }, { "y" } })
  t.eq(t.ok(reader:next "10s").headers, { { "b", "2" } })
end)

t.test("what is posted is written, and its mistakes are the caller's", function()
  local p = kafka.producer()
  t.eq(p:post { topic = "posted", key = "k", value = "plain", partition = 0, timestamp = 5 }, true)
  t.eq(p:post { topic = "posted", key = "k", value = "list", headers = { { "x", "1" } } }, true)
  t.eq(p:post { topic = "posted", key = "k", value = "map", headers = { b = "2", a = "1" } }, true)
  t.eq(p:post { topic = "posted", key = "k", headers = json.lazy '[["y"]]' }, true)
  t.eq(p:post { headers = {}, value = "none", key = "k", topic = "posted" }, true)
  while kafka.pending() > 0 do
    task.sleep "2ms"
  end
  local found = {}
  local reader <close> = t.ok(kafka.reader { topic = "posted" })
  for _ = 1, 5 do
    local record = t.ok(reader:next "10s")
    found[record.value or "tombstone"] = record.headers
  end
  t.eq(found, {
    plain = {}, list = { { "x", "1" } }, map = { { "a", "1" }, { "b", "2" } },
    tombstone = { { "y" } }, none = {},
  })
  t.fails(p.post, "topic is required", p, { value = "v" })
  t.fails(p.post, "did you mean value?", p, { topic = "t", valeu = "v" })
  t.fails(p.post, "value", p, { topic = "t", value = 5 })
  t.fails(p.post, "partition", p, { topic = "t", partition = -2 })
  t.fails(p.post, "a list {name, value}", p, { topic = "t", headers = { "x" } })
  t.eq(select(3, p:post { topic = "t", value = ("x"):rep(2 ^ 21) }), "MSG_SIZE_TOO_LARGE")
end)

t.test("a tombstone has no value and a map of headers is sorted", function()
  t.ok(kafka.producer():send { topic = "tombs", key = "k", headers = { b = "2", a = "1" } })
  local reader <close> = t.ok(kafka.reader { topic = "tombs" })
  local record = t.ok(reader:next "10s")
  t.eq(record.value, nil)
  t.eq(record.headers, { { "a", "1" }, { "b", "2" } })
end)

t.test("a list is sent whole, and each failure has its place", function()
  local list = {}
  for i = 1, 500 do
    list[i] = { topic = "many", key = "same", value = tostring(i) }
  end
  list[250].value = ("x"):rep(1100000)
  local results = t.ok(kafka.producer():send_many(list))
  t.eq(#results, 500)
  t.eq(results[250].code, "MSG_SIZE_TOO_LARGE")
  t.eq(results[249].partition, results[251].partition)
  t.eq(results[251].offset, results[249].offset + 1)
  t.eq(kafka.pending(), 0)
end)

t.test("a consumer goes on after what it committed", function()
  for i = 1, 6 do
    t.ok(kafka.producer():send { topic = "work", key = "k", value = tostring(i) })
  end
  local first = t.ok(kafka.consumer { group = "g", topics = "work" })
  for i = 1, 4 do
    local record = t.ok(first:next "15s")
    t.eq(record.value, tostring(i))
    if i == 3 then
      first:commit(record)
    end
  end
  t.ok(first:close())
  local second = t.ok(kafka.consumer { group = "g", topics = { "work" } })
  t.eq(t.ok(second:next "15s").value, "4")
  t.ok(second:close())
end)

t.test("run hands over each record, and stops at a failure without committing it", function()
  local seen = {}
  local consumer = t.ok(kafka.consumer { group = "g", topics = "work" })
  local ok, message, code = consumer:run(function(record)
    seen[#seen + 1] = record.value
    if record.value == "6" then
      return nil, "no room", "FULL"
    end
  end)
  t.eq({ ok, message, code }, { nil, "no room", "FULL" })
  t.eq(seen, { "4", "5", "6" })
  t.ok(consumer:close())
  local again = t.ok(kafka.consumer { group = "g", topics = "work" })
  t.eq(t.ok(again:next "15s").value, "6")
  local runner = task.spawn(function()
    return again:run(function() end)
  end)
  t.ok(again:close())
  t.eq(runner:join(), true)
end)

t.test("a second waiter is refused, and a killed one leaves the consumer usable", function()
  local reader = t.ok(kafka.reader { topic = "empty" })
  local waiting = task.spawn(function()
    local record, message, code = reader:next()
    return { record, message, code }
  end)
  task.sleep "1ms"
  t.eq(select(3, reader:next()), "EBUSY")
  waiting:kill()
  waiting:join()
  local code
  repeat
    code = select(3, reader:next "10s")
  until code ~= "EBUSY"
  t.eq(code, "END")
  t.ok(kafka.producer():send { topic = "empty", value = "now" })
  t.eq(t.ok(reader:next "10s").value, "now")
  t.ok(reader:close())
  t.ok(reader:close())
end)

t.test("admin shows topics and groups, and moves a group", function()
  local admin = kafka.admin()
  local made = t.ok(admin:create_topic { name = "made", partitions = 4 })
  t.eq(made, { name = "made", partitions = 4 })
  t.eq(select(3, admin:create_topic "made"), "TOPIC_ALREADY_EXISTS")
  local names = {}
  for _, topic in ipairs(t.ok(admin:topics())) do
    names[topic.name] = #topic.partitions
  end
  t.eq(names.made, 4)
  local work, high = t.ok(admin:describe_topic "work"), 0
  for _, partition in ipairs(work.partitions) do
    high = high + partition.high
  end
  t.eq(high, 6)
  t.eq(select(3, admin:describe_topic "nowhere"), "UNKNOWN_TOPIC_OR_PART")
  local group, lag = t.ok(admin:describe_group "g"), 0
  for _, at in ipairs(group.offsets) do
    lag = lag + at.lag
  end
  t.eq(lag, 1)
  local moved = t.ok(admin:reset_group { group = "fresh", topic = "work", to = "end" })
  lag = 0
  for _, at in ipairs(moved.offsets) do
    lag = lag + at.lag
  end
  t.eq(lag, 0)
  t.fails(admin.reset_group, "to is", admin, { group = "g", topic = "work", to = "never" })
  t.ok(admin:reset_group { group = "g", topic = "work", to = "beginning" })
  local consumer <close> = t.ok(kafka.consumer { group = "g", topics = "work" })
  t.eq(t.ok(consumer:next "15s").value, "1")
end)

t.test("a reader keeps to its partitions and spans", function()
  local admin = kafka.admin()
  t.ok(admin:create_topic { name = "spans", partitions = 4 })
  for i = 1, 20 do
    t.ok(kafka.producer():send { topic = "spans", partition = i % 4, value = tostring(i) })
  end
  local function read(options)
    options.topic = "spans"
    local list, reader <close> = {}, t.ok(kafka.reader(options))
    while true do
      local record, message, code = reader:next "15s"
      if not record then
        t.eq(code, "END", message)
        table.sort(list)
        return list
      end
      list[#list + 1] = ("%d:%d"):format(record.partition, record.offset)
    end
  end
  t.eq(read { partitions = { 1, 3 }, offsets = { [1] = 3 }, ends = { [3] = 2 } },
    { "1:3", "1:4", "3:0", "3:1" })
  t.eq(#read { ends = { [0] = 1, [2] = 0 } }, 11)
  t.eq(read { partitions = {} }, {})
  t.eq(read { partitions = { 2 }, offsets = { [2] = 4 }, ends = { [2] = 4 } }, {})
  t.fails(kafka.reader, "partitions is a list", { topic = "spans", partitions = { "one" } })
  t.fails(kafka.reader, "ends is", { topic = "spans", ends = { [-1] = 2 } })
end)

t.test("admin shows where a reset would go, many groups, and the cluster", function()
  local admin = kafka.admin()
  local plan = t.ok(admin:reset_group {
    group = "g", topic = "work", to = "offset:2", dry_run = true,
  })
  for _, at in ipairs(plan.offsets) do
    t.eq(at.target, math.min(2, at.high))
  end
  t.eq(#plan.offsets, 4)
  local groups = t.ok(admin:describe_groups { "g", "never" })
  t.eq({ groups[1].name, groups[2].name, #groups[2].offsets }, { "g", "never", 0 })
  t.eq(groups[1].offsets, t.ok(admin:describe_group "g").offsets)
  local cluster = t.ok(admin:cluster())
  t.eq({ cluster.embedded, #cluster.brokers, cluster.brokers[1].host },
    { true, 1, "127.0.0.1" })
  local topics = {}
  for _, topic in ipairs(t.ok(admin:describe_topics())) do
    topics[topic.name] = topic
  end
  t.eq(topics.spans, t.ok(admin:describe_topic "spans"))
  t.fails(admin.offsets_at, "a time is needed", admin, "work", "end")
end)

t.test("what the embedded broker cannot do says so", function()
  t.eq(select(3, kafka.admin():topic_configuration "made"), "_UNSUPPORTED_FEATURE")
  t.eq(select(3, kafka.admin():members "g"), "_UNSUPPORTED_FEATURE")
  t.eq(select(3, kafka.admin():offsets_at("work", 0)), "_UNSUPPORTED_FEATURE")
  local deleted, message, code = kafka.admin():delete_topic "made"
  t.eq(deleted, nil)
  t.eq(code, "_UNSUPPORTED_FEATURE")
  t.has(message, "embedded broker")
  t.eq(select(3, kafka.admin():groups()), "_UNSUPPORTED_FEATURE")
end)

t.test("what is open at the end is closed by the end", function()
  t.ok(kafka.consumer { group = "left-open", topics = "work" })
  t.ok(kafka.connected())
end)
