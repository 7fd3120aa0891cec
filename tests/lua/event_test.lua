--- Typed events: definitions, validation of every field, and all shapes on the wire, both ways.
local env = require "sipeat.env"
local event = require "sipeat.event"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local money = require "sipeat.money"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"

-- A record with headers given as a map.
local function record(value, headers, more)
  local list = {}
  for name, text in pairs(headers or {}) do
    list[#list + 1] = { name = name, value = text }
  end
  local rec = {
    topic = "t", partition = 2, offset = 7, key = "k", value = value, headers = list,
    timestamp = 1700000000123,
  }
  for name, item in pairs(more or {}) do
    rec[name] = item
  end
  return rec
end

local ACCEPTED = {
  { "string", "", "" }, { "string", "x", "x" }, { "boolean", false, false },
  { "any", false, false },
  { "integer", 5, 5 }, { "integer", 5.0, 5 }, { "number", 1.5, 1.5 }, { "number", 2, 2 },
  { "email", "john@example.com", "john@example.com" },
  { "email", "a.b+c@mail.example.co", "a.b+c@mail.example.co" },
  { "email", "josé@münchen.example", "josé@münchen.example" },
  { "time", "2024-01-01T12:00:00Z", "2024-01-01T12:00:00Z" },
  { "time", "2024-01-01T12:00:00.123456+01:00", "2024-01-01T12:00:00.123456+01:00" },
  { "object", { a = 1 }, { a = 1 } }, { "object", {}, {} }, { "array", { 1, "a" }, { 1, "a" } },
  { "array", {}, {} }, { "string[]", { "a" }, { "a" } }, { "string[]", {}, {} },
  { "integer[]", { 1, 2.0 }, { 1, 2 } },
  { { "red", "green", 5 }, "green", "green" }, { { "red", "green", 5 }, 5, 5 },
  { { x = "number", y = "number?" }, { x = 1 }, { x = 1 } },
  { "money", 25.5, { amount_minor = 2550, currency = "EUR" } },
  { "money", 1500, { amount_minor = 150000, currency = "EUR" } },
  { "money", { amount_minor = 1, currency = "USD" }, { amount_minor = 1, currency = "USD" } },
  { "money:minor", 2550, { amount_minor = 2550, currency = "EUR" } },
  { event.list { price = "money" }, { { price = 1 } },
    { { price = { amount_minor = 100, currency = "EUR" } } } },
}

t.test("values of each type are accepted and typed", function()
  for i, case in ipairs(ACCEPTED) do
    local def = event.define("x", { field = case[1] })
    local data, message = def:validate { field = case[2] }
    t.ok(data, ("%d: %s"):format(i, tostring(message)))
    t.eq(data.field, case[3], "case " .. i)
  end
end)

local REFUSED = {
  { "string", 5, "field: expected string, got 5" },
  { "string", { 1 }, "field: expected string, got a table" },
  { "string", true, "field: expected string, got true" },
  { "string", json.null, "field is null (expected string)" },
  { "string", nil, "field is missing (expected string)" },
  { "boolean", "true", 'expected boolean, got "true"' },
  { "integer", 1.5, "expected integer, got 1.5" }, { "integer", "5", 'expected integer, got "5"' },
  { "number", "1.5", "expected number" }, { "number", 0 / 0, "expected number" },
  { "email", "john", "expected an e-mail address" }, { "email", "john@example", "e-mail" },
  { "email", "a@b@c.de", "e-mail" }, { "email", "john@.de", "e-mail" },
  { "email", "john@example..com", "e-mail" }, { "email", "john@example.com\r\nBcc: x", "e-mail" },
  { "email", "john doe@example.com", "e-mail" }, { "email", "<john@example.com>", "e-mail" },
  { "email", "@example.com", "e-mail" }, { "email", ".john@example.com", "e-mail" },
  { "email", ("x"):rep(65) .. "@example.com", "e-mail" }, { "email", "a,b@example.com", "e-mail" },
  { "email", "john@\255.com", "e-mail" },
  { "time", "yesterday", "expected a time" }, { "time", "2024-13-01T00:00:00Z", "expected a time" },
  { "time", "2024-01-01", "expected a time" },
  { "time", "2024-01-01T25:00:00Z", "expected a time" },
  { "time", "2024-01-01T12:00:00", "expected a time" }, { "time", 5, "expected a time" },
  { "object", { 1 }, "expected an object" }, { "object", "x", "expected an object" },
  { "object", json.array(), "expected an object" },
  { "array", { a = 1 }, "expected an array" }, { "array", { 1, nil, 3 }, "expected an array" },
  { "string[]", { "a", 5 }, "field[2]: expected string, got 5" },
  { "string[]", "a", "field: expected an array" },
  { { "red", "green" }, "blue", 'field: expected one of "red", "green", got "blue"' },
  { { x = { y = "integer" } }, { x = {} }, "field.x.y is missing (expected integer)" },
  { { x = "number" }, 5, "field: expected an object, got 5" },
  { event.list { price = "money" }, { { price = 1 }, {} }, "field[2].price is missing" },
  { "money", "25.50", 'field: expected an amount such as 25.50, got "25.50"' },
  { "money", 25.505, "field: 25.505 has more than the 2 decimals of EUR" },
  { "money", 1e20, "too large" },
  { "money", { amount_minor = 1.5, currency = "EUR" }, "expected an amount" },
  { "money:minor", 25.5, "expected an amount in minor units" },
  { "string", env.conceal "hunter2", "got a secret" },
}

t.test("wrong values are refused with what was expected and what came", function()
  for _, case in ipairs(REFUSED) do
    local def = event.define("x", { field = case[1] })
    local data, message, code = def:validate { field = case[2] }
    t.eq(data, nil, case[3])
    t.has(message, "invalid x: ")
    t.has(message, case[3])
    t.eq(code, "INVALID_EVENT")
  end
  for _, data in ipairs { "text", 5, true, json.array() } do
    local _, message = event.define("x", {}):validate(data)
    t.has(message, "expected an object")
  end
  t.has(select(2, event.define("x", {}):validate(nil)), "there is no data")
end)

t.test("optional fields may be missing or null, by type or by name", function()
  local def = event.define("x", { a = "string?", ["b?"] = { "p", "q" }, ["c?"] = { d = "string" } })
  t.eq(def:validate {}, {})
  t.eq(def:validate { a = json.null, b = json.null, c = json.null }, {})
  t.has(select(2, def:validate { b = "z", c = {} }), "c.d is missing")
end)

t.test("one message names every wrong field, in order", function()
  local def = event.define("request.created", {
    customerName = "string", email = "email?", drinkName = "string", amount = "money?",
  })
  local _, message = def:validate { customerName = 5, email = "no", amount = "x" }
  t.eq(message, 'invalid request.created: amount: expected an amount such as 25.50, got "x"; '
    .. "customerName: expected string, got 5; drinkName is missing (expected string); "
    .. 'email: expected an e-mail address, got "no"')
end)

t.test("a message has a limit, however much is wrong", function()
  local fields = {}
  for i = 1, 500 do
    fields["f" .. i] = "string"
  end
  local _, message = event.define("x", fields):validate {}
  t.has(message, "and 480 more")
  t.ok(#message < 2000)
end)

t.test("undeclared fields are kept and the given table is left alone", function()
  local def = event.define("x", { amount = "money" })
  local given = { amount = 5, extra = { 1, 2 }, null = json.null }
  local data = def:validate(given)
  t.eq(data.extra, { 1, 2 })
  t.eq(data.null, json.null)
  t.eq(given.amount, 5)
  t.eq(def:to_wire(data), { amount = 5, extra = { 1, 2 }, null = json.null })
end)

t.test("the currency comes from the data, else from the definition", function()
  local yen = event.define("x", { amount = "money" }, { currency = "JPY" })
  t.eq(yen:validate({ amount = 500 }).amount, { amount_minor = 500, currency = "JPY" })
  t.eq(yen:validate({ amount = 5.5, currency = "USD" }).amount.amount_minor, 550)
  t.eq(yen:validate { amount = 5.5 }, nil)
  local bahrain = event.define("x", { amount = "money" }, { currency = "BHD" })
  t.eq(bahrain:to_wire(bahrain:validate { amount = 1.234 }), { amount = 1.234 })
end)

t.test("a wrong definition is a mistake at load", function()
  for _, case in ipairs {
    { { "", {} }, "a type's name is text" }, { { 5, {} }, "a type's name is text" },
    { { "x", "string" }, "expected a table of fields" },
    { { "x", { a = "strin" } }, 'event.define x.a: unknown type "strin" (did you mean "string"?)' },
    { { "x", { a = "money??" } }, "unknown type" }, { { "x", { a = 5 } }, "unknown type 5" },
    { { "x", { a = { b = "qqqqqqqq" } } }, "event.define x.a.b: unknown type" },
    { { "x", { [1] = "string" } }, "field names are strings" },
    { { "x", { a = "string", ["a?"] = "string" } }, "declared twice" },
    { { "x", {}, { topik = "t" } }, "did you mean topic?" },
    { { "x", {}, { mode = "xml" } }, "must be one of" },
  } do
    t.fails(event.define, case[2], table.unpack(case[1]))
  end
end)

t.test("a new event has id, time, key and typed data", function()
  local def = event.define("contact.created", { email = "email", amount = "money?" }, {
    topic = "contacts", key = "email", version = "2",
  })
  local made = def:new { email = "a@b.de", amount = 1.5 }
  t.has(made.id, "-")
  t.eq({ made.type, made.topic, made.key, made.version, made.source },
    { "contact.created", "contacts", "a@b.de", "2", "sipeat" })
  t.has(made.time, "T")
  t.eq(made.data.amount.amount_minor, 150)
  local other = def:new({ email = "a@b.de" }, { id = "1", key = "k", topic = "u", source = "s" })
  t.eq({ other.id, other.key, other.topic, other.source }, { "1", "k", "u", "s" })
  t.eq({ def:new { email = 5 } }, { nil, 'invalid contact.created: email: expected an e-mail '
    .. "address, got 5", "INVALID_EVENT" })
  t.fails(function()
    def:new({ email = "a@b.de" }, { idd = "1" })
  end, "did you mean id?")
  t.eq(tostring(def), "contact.created")
end)

t.test("a key may be a path into the data or a function", function()
  for _,
  key in ipairs { "machine.id", "data.machine.id", function(e) return e.data.machine.id end } do
    local def = event.define("x", { machine = "object" }, { key = key })
    t.eq(def:new({ machine = { id = 7 } }).key, "7")
    t.eq(def:new({ machine = {} }).key, nil)
  end
end)

local SHAPES = {
  { "CloudEvents, binary", record('{"n":1}', {
    ce_specversion = "1.0", ce_id = "a", ce_type = "x", ce_source = "/s", ce_tenant = "9",
    ce_time = "2024-01-01T00:00:00Z", ["content-type"] = "application/json",
  }), { id = "a", type = "x", source = "/s", time = "2024-01-01T00:00:00Z",
    attributes = { tenant = "9" } } },
  { "CloudEvents, structured", record(
    '{"specversion":"1.0","id":"a","type":"x","source":"/s","tenant":9,"data":{"n":1}}',
    { ["content-type"] = "Application/CloudEvents+JSON; charset=UTF-8" }
  ), { id = "a", type = "x", source = "/s", attributes = { tenant = 9 } } },
  { "CloudEvents, structured without content-type", record(
    '{"specversion":"1.0","id":"a","type":"x","source":"/s","data":{"n":1}}'
  ), { id = "a", type = "x", source = "/s" } },
  { "the order events of the seed", record([[{"id":"a","type":"x","orderId":"o-1","userId":"u",
    "data":{"n":1},"occurredAt":"2024-01-01T12:00:00Z","version":"1.1"}]]), { id = "a", type = "x",
    time = "2024-01-01T12:00:00Z", version = "1.1",
    attributes = { orderId = "o-1", userId = "u" } } },
  { "eventType and data", record '{"eventType":"x","data":{"n":1},"timestamp":1700000000000}',
    { id = "t:2:7", type = "x", time = "2023-11-14T22:13:20.000Z" } },
  { "an envelope without a word as source", record '{"type":"x","source":"","data":{"n":1}}',
    { type = "x", source = "t" } },
  { "a source", record '{"type":"x","source":"s","data":{"n":1}}', { type = "x", source = "s" } },
  { "a number as id", record '{"type":"x","id":42,"data":{"n":1}}', { id = "42", type = "x" } },
  { "the invoices of the seed", record('{"n":1}', { ["event-type"] = "x" }),
    { id = "t:2:7", type = "x", source = "t", time = "2023-11-14T22:13:20.123Z" } },
  { "type and id in headers", record('{"n":1}', { ["event-type"] = "x", ["event-id"] = "a" }),
    { id = "a", type = "x" } },
  { "an envelope whose type is in a header too", record('{"type":"x","id":"a","data":{"n":1}}',
    { ["event-type"] = "x" }), { id = "a", type = "x" } },
  { "only some ce_ headers", record('{"n":1}', { ce_type = "x" }), { id = "t:2:7", type = "x" } },
  { "no type at all", record '{"n":1}', { id = "t:2:7" } },
  { "a type, but data that is no table", record '{"type":"x","data":5,"n":1}',
    { id = "t:2:7", type = nil, data = { type = "x", data = 5, n = 1 } } },
}

t.test("records of every shape become events", function()
  for _, case in ipairs(SHAPES) do
    local got, message = event.from_record(case[2])
    t.ok(got, case[1] .. ": " .. tostring(message))
    for field, expected in pairs(case[3]) do
      t.eq(got[field], expected, case[1] .. ": " .. field)
    end
    t.eq(got.type, case[3].type, case[1])
    if not case[3].data then
      t.eq(got.data, { n = 1 }, case[1])
    end
    t.eq({ got.topic, got.partition, got.offset, got.key }, { "t", 2, 7, "k" }, case[1])
    t.eq(got.value, case[2].value)
  end
end)

t.test("the quick way from a record tells the same", function()
  local records = require "sipeat.record"
  local function shown(got)
    return {
      got.id, got.type or false, got.source, got.time or false, got.version, got.key, got.topic,
      got.partition, got.offset, got.data or false, got.headers, got.attributes,
    }
  end
  for _, case in ipairs(SHAPES) do
    t.eq(shown(t.ok(records.of(case[2]))), shown(event.from_record(case[2])), case[1])
  end
  local many = record('{"n":1}', { ["event-type"] = "x" })
  for i = 1, 40 do
    many.headers[#many.headers + 1] = { "h" .. i, "v" }
  end
  t.eq(records.of(many).headers.h40, "v")
  t.eq(select(3, records.of(record "hello")), "BAD_DATA")
  t.fails(records.of, "table expected", "text")
end)

local event_data = require("sipeat.record").data

-- Each of them does the same to every event.
local TOUCHES = {
  function(e) return e.data.n, e.data == e.data, e.data end,
  function(e) local data = e.data data.n = 5 return e.data.n, rawget(e, "data").n end,
  function(e) e.data = { other = 1 } return e.data, rawget(e, "data") end,
  function(e) local _ = e.data e.data = "text" return e.data end,
  function(e) e.data = nil return e.data, rawget(e, "data"), (event_data(e)) end,
  function(e) local _ = e.data e.data = nil return e.data, e.id, e.value, e.source end,
  function(e) e.data = nil e.data = 1 e.data = nil return e.data, e.offset end,
  function(e) e.note = 1 e.id = nil return e.note, e.id, e.data.n, e.topic end,
  function(e) return e.value, e.value, #e.value, e.data.n end,
  function(e) return rawget(e, "data").n, rawget(e, "value") end,
  function(e)
    local names = {}
    for name in pairs(e) do
      names[#names + 1] = name
    end
    table.sort(names)
    return names
  end,
}

t.test("where data is kept makes no difference", function()
  local records = require "sipeat.record"
  local long = ('{"id":"a","type":"x","data":{"n":1,"long":"%s"}}'):format(("x"):rep(10000))
  local values = {
    '{"id":"a","type":"x","data":{"n":1}}', '{"\\u0069d":"a","type":"\\u0078","data":{"n":1}}',
    '{"n":1}', ('{"type":"%s","data":{"n":1}}'):format(("y"):rep(100)), long,
  }
  local headers = { {}, { ["event-type"] = "x" }, { ["event-id"] = "b" } }
  for v, value in ipairs(values) do
    for _, one in ipairs(headers) do
      for i, touch in ipairs(TOUCHES) do
        local rec = record(value, one)
        local want = table.pack(touch(event.from_record(rec)))
        for _ = 1, v <= 2 and next(one) == nil and 1100 or 0 do
          records.of(rec) -- of so many no data was read twice
        end
        for round = 1, 3 do
          local got = table.pack(touch(records.of(rec)))
          t.eq(got, want, ("%d, round %d: %s"):format(i, round, value:sub(1, 60)))
        end
        t.eq(records.of(rec).data, event.from_record(rec).data)
        t.eq(table.pack(touch(records.of(rec))), want)
      end
    end
  end
end)

t.test("types in one place of those that are known are told apart", function()
  local records = require "sipeat.record"
  for round = 1, 3 do
    for i = 1, 300 do
      local got = records.of(record(('{"type":"t%d","data":{"n":%d}}'):format(i, i)))
      t.eq({ got.type, got.data.n }, { "t" .. i, i }, "round " .. round)
    end
  end
end)

local BROKEN = {
  { "not JSON", record "hello", "json decode" },
  { "truncated", record '{"type":"x","data":{', "json decode" },
  { "empty", record "", "json decode" },
  { "broken UTF-8", record '{"type":"\255"}', "not valid UTF-8" },
  { "NUL bytes", record '{"type":"x"}\0', "NUL byte" },
  { "too deep", record(("["):rep(129) .. ("]"):rep(129)), "too many nested" },
  { "binary", record(string.pack(">I8I8", 0xfedcba9876543210, 1)), "UTF-8" },
  { "one megabyte of brackets", record(("["):rep(1 << 20)), "too many nested" },
  { "a type header that is no text", record("{}", { ["event-type"] = "\255\254" }),
    "header event-type is not UTF-8" },
  { "an id header that is no text", record("{}", { ["event-type"] = "x", ["event-id"] = "\255" }),
    "header event-id is not UTF-8" },
  { "a ce header that is no text", record("{}", { ce_id = "1", ce_type = "x", ce_source = "s",
    ce_specversion = "1.0", ce_tenant = "\255" }), "header ce_tenant is not UTF-8" },
  { "an older CloudEvent", record("{}", { ce_id = "1", ce_type = "x", ce_source = "s",
    ce_specversion = "0.3" }), "specversion" },
  { "structured without id", record('{"specversion":"1.0","type":"x","source":"s"}',
    { ["content-type"] = "application/cloudevents+json" }), "attribute id is missing" },
  { "structured without value", record(nil, { ["content-type"] = "application/cloudevents+json" }),
    "without a value" },
  { "a batch", record("[]", { ["content-type"] = "application/cloudevents-batch+json" }),
    "is not supported" },
  { "broken Base64",
    record('{"specversion":"1.0","id":"1","type":"x","source":"s","data_base64":"?"}',
    { ["content-type"] = "application/cloudevents+json" }), "not Base64" },
}

t.test("what cannot be read says why and never raises", function()
  for _, case in ipairs(BROKEN) do
    local got, message, code = event.from_record(case[2])
    t.eq(got, nil, case[1])
    t.has(message, case[3])
    t.eq(code, "BAD_DATA", case[1])
  end
end)

t.test("every cut and every broken byte of a record is read or refused", function()
  local text = '{"id":"a","type":"x","data":{"n":[1,null,"é"]},"version":1}'
  for i = 0, #text do
    event.from_record(record(text:sub(1, i)))
    for _, byte in ipairs { "\0", "\255", '"', "}", "\\" } do
      local got, _, code = event.from_record(record(text:sub(1, i) .. byte .. text:sub(i + 2)))
      t.ok(got or code == "BAD_DATA")
    end
  end
end)

t.test("data behind headers is decoded at first touch, and then raises when it is broken",
  function()
  local headers = { ["event-type"] = "x", ["event-id"] = "1" }
  local good = event.from_record(record('{"n":1}', headers))
  t.eq(rawget(good, "data"), nil)
  t.eq(good.data.n, 1)
  t.ok(rawequal(good.data, good.data))
  local bad = t.ok(event.from_record(record("{", headers)))
  t.eq(bad.type, "x")
  local _, why = failure.catch(function()
    return bad.data
  end)
  t.eq({ why.kind, why.code }, { "permanent", "BAD_DATA" })
  t.eq(select(3, event.define("x", {}):accept(bad)), "BAD_DATA")
end)

t.test("tombstones, null and data that is no JSON", function()
  local gone = event.from_record(record(nil, { ["event-type"] = "x" }))
  t.eq({ gone.type, gone.data, gone.id }, { "x", nil, "t:2:7" })
  t.eq(event.from_record(record(nil)).type, nil)
  t.eq(event.from_record(record("null", { ["event-type"] = "x" })).data, nil)
  t.eq(event.from_record(record("null", { ["event-type"] = "x", ["event-id"] = "1" })).data, nil)
  local raw = event.from_record(record("\255\0",
    { ["event-type"] = "x", ["content-type"] = "image/png" }))
  t.eq(raw.data, "\255\0")
  local binary = event.from_record(record(
    '{"specversion":"1.0","id":"1","type":"x","source":"s","data_base64":"AP/+aGk="}'))
  t.eq(binary.data, "\0\255\254hi")
end)

t.test("of headers with one name the last counts, a null header is none", function()
  local rec = record "{}"
  rec.headers = { { name = "a", value = "1" }, { name = "a", value = "2" }, { name = "b" } }
  t.eq(event.from_record(rec).headers, { a = "2" })
  rec.headers = nil
  t.eq(event.from_record(rec).headers, {})
end)

t.test("a trace is taken from traceparent when it is one", function()
  local trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
  t.eq(event.from_record(record("{}", { traceparent = trace })).trace, trace)
  for _, wrong in ipairs { "", "00-x", trace .. "0", trace:gsub("f", "g"), "\255" } do
    t.eq(event.from_record(record("{}", { traceparent = wrong })).trace, nil)
  end
end)

t.test("an event is the same after a trip over the wire in each mode", function()
  local def = event.define("request.created", {
    name = "string", amount = "money", minor = "money:minor?", tags = "string[]", at = "time?",
    ["lines?"] = event.list { price = "money" },
  }, { key = "name" })
  local trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
  for _, mode in ipairs { "binary", "structured", "plain", "body" } do
    local made = def:new({
      name = "Zoë \0 \"x\"", amount = 25.5, minor = 5, tags = {}, lines = { { price = 12.5 } },
      extra = { big = 9007199254740993 },
    }, { trace = trace, headers = { tenant = "7" } })
    local value, headers = event.encode(made, { mode = mode })
    t.ok(value, headers)
    t.eq(json.decode(value) ~= nil, true)
    local back = t.ok(event.from_record(record(value, headers)))
    t.ok(def:accept(back))
    t.eq(back.data, made.data, mode)
    t.eq({ back.id, back.type, back.trace }, { made.id, made.type, trace }, mode)
    t.eq(back.headers.tenant, "7", mode)
    t.eq(back.data.extra.big, 9007199254740993)
    if mode ~= "body" then
      t.eq({ back.time, back.version }, { made.time, "1.0" }, mode)
    end
    t.eq(event.encode(back, { mode = mode }) ~= nil, true)
  end
end)

t.test("money has the same number on the wire after a trip", function()
  local def = event.define("x", { amount = "money" })
  for _, wire in ipairs { "25.5", "1500", "0.1", "19.99", "-3.05" } do
    local back = event.from_record(record(('{"amount":%s}'):format(wire), { ["event-type"] = "x" }))
    t.ok(def:accept(back))
    t.ok(money.is(back.data.amount))
    t.eq(event.encode(back, { mode = "body" }), ('{"amount":%s}'):format(wire))
  end
end)

t.test("plain mode writes the shape of the seed", function()
  local made = event.untyped("order.created", { total = 25.5 }, {
    id = "1", time = "2024-01-01T12:00:00Z", attributes = { orderId = "o-1" },
  })
  local value = event.encode(made, { mode = "plain" })
  t.eq(json.decode(value), {
    id = "1", type = "order.created", orderId = "o-1", data = { total = 25.5 }, version = "1.0",
    occurredAt = "2024-01-01T12:00:00Z", source = "sipeat",
  })
end)

t.test("what cannot be written is a failure and no exception", function()
  local value, message, code = event.encode(event.untyped("x", { f = print }))
  t.eq(value, nil)
  t.has(message, "event x: json encode: f: a function")
  t.eq(code, "BAD_DATA")
  t.fails(event.encode, "must be one of", event.untyped("x", {}), { mode = "xml" })
  t.eq((event.encode(event.untyped("x", nil))), "null")
end)

t.test("times made here are times", function()
  t.ok(event.define("x", { at = "time" }):validate { at = sys.iso_time() })
end)

t.test("texts have a longest length, in characters, and may be required not to be blank", function()
  local def = event.define("x", { name = "text(5)", note = "string(3)?", mail = "email(12)?" })
  t.ok(def:validate { name = "Ångst", note = "", mail = "a@bc.example" })
  local problems = select(4, def:validate { name = " \t", note = "four", mail = "aa@bc.example" })
  local seen = {}
  for _, problem in ipairs(problems) do
    seen[problem.field] = problem.code
  end
  t.eq(seen, { name = "blank", note = "too_long", mail = "too_long" })
  t.has(select(2, def:validate { name = "123456" }), "name: longer than 5 characters")
  t.has(t.fails(function() event.define("x", { a = "integer(5)" }) end), "unknown type")
  t.has(t.fails(function() event.define("x", { a = "text(" }) end), "unknown type")
end)

t.test("a part of a definition has the same type and refuses other fields", function()
  local whole = event.define("x", { a = "text", b = "integer?", ["c?"] = { d = "string" } }, {
    topic = "t", key = "a",
  })
  local part = whole:only({ "a", "c" }, "short")
  t.ok(event.is_definition(part))
  t.eq({ part.type, part.topic, part.title, whole.title }, { "x", "t", "short", nil })
  t.eq(part:validate { a = "1", c = { d = "2", e = 3 } }, { a = "1", c = { d = "2", e = 3 } })
  t.eq(select(4, part:validate { a = "1", b = 5 })[1].code, "unknown")
  t.ok(whole:validate { a = "1", b = 5, z = 1 })
  t.has(t.fails(function() whole:only { "nothing" } end), "no field")
end)

t.test("what is wrong comes as a list of fields too", function()
  local def = event.define("x", { a = "string", b = { "p", "q" }, c = { d = "integer" } })
  local problems = select(4, def:validate { b = "z", c = { d = "5" } })
  local seen = {}
  for i, problem in ipairs(problems) do
    seen[i] = problem.field .. " " .. problem.code
  end
  t.eq(seen, { "a missing", "b not_listed", "c.d type" })
  t.eq(problems[1].message, "is missing (expected string)")
end)

-- --- versions ---

local function evolved()
  return event.define("order.created", { total = "integer", currency = "string" }, {
    version = "2.0",
    upcast = {
      ["1.0"] = function(data)
        return { total = data.totalPrice, currency = "EUR", note = data.note }
      end,
      ["1.1"] = function(data)
        data.total, data.note = math.floor(data.total * 100 + 0.5), "lifted"
        return data
      end,
    },
  })
end

local function of_version(version, data)
  return event.from_record(record(json.encode {
    id = "1", type = "order.created", version = version, data = data,
  }))
end

t.test("older versions are lifted step by step to the one of today", function()
  local def = evolved()
  local e = of_version("1.0", { totalPrice = 25.5 })
  t.eq(def:accept(e), true)
  t.eq({ e.data.total, e.data.currency, e.data.note }, { 2550, "EUR", "lifted" })
  t.eq({ e.version, e.written_version }, { "2.0", "1.0" })
  t.eq(def:accept(e), true) -- as in the next attempt
  t.eq(e.data.total, 2550)
  e = of_version("1.1", { total = 0.1, currency = "USD" })
  t.eq(def:accept(e), true)
  t.eq({ e.data.total, e.data.currency, e.written_version }, { 10, "USD", "1.1" })
  e = of_version("2.0", { total = 7, currency = "USD" })
  t.eq(def:accept(e), true)
  t.eq({ e.data.total, e.version, e.written_version }, { 7, "2.0" })
  e = of_version("2.1", { total = 7, currency = "USD", more = true }) -- adds fields and no more
  t.eq(def:accept(e), true)
  t.eq({ e.data.total, e.data.more }, { 7, true })
end)

t.test("a version without an upcaster is refused for good, with the known ones", function()
  for version, expected in pairs {
    ["0.9"] = "NO_UPCASTER", ["1.2"] = "NO_UPCASTER", ["x"] = "NO_UPCASTER",
    ["3.0"] = "NEWER_VERSION", ["10.1"] = "NEWER_VERSION",
  } do
    local ok, message, code = evolved():accept(of_version(version, { total = 1, currency = "EUR" }))
    t.eq({ ok, code }, { nil, expected })
    t.has(message, version)
    t.has(message, expected == "NO_UPCASTER" and "known: 1.0, 1.1, 2.0" or "newer than 2.0")
    t.eq(failure.of(message, code).kind, "permanent")
  end
end)

t.test("an upcaster that fails is permanent, and the event stays as it came", function()
  local def = event.define("x", { a = "integer" }, { version = "1.1", upcast = {
    ["1.0"] = function(data)
      data.a = nil
      return data.b and error "b is unknown" or nil
    end,
  } })
  for _, data in ipairs { { a = 1 }, { a = 1, b = 2 } } do
    local e = event.from_record(record(json.encode { type = "x", version = "1.0", data = data }))
    local ok, message, code = def:accept(e)
    t.eq({ ok, code }, { nil, "UPCAST_FAILED" })
    t.has(message, data.b and "b is unknown" or "it gave nil")
    t.eq({ e.data.a, e.version }, { 1, "1.0" })
  end
end)

t.test("upcasters are checked where they are declared", function()
  local function fails(options, part)
    t.fails(function() event.define("x", {}, options) end, part)
  end
  fails({ version = "2.0", upcast = { ["2.0"] = print } }, "the version of today is 2.0")
  fails({ version = "2.0", upcast = { ["3.1"] = print } }, "the version of today is 2.0")
  fails({ version = "2.0", upcast = { one = print } }, "no version")
  fails({ version = "2.0", upcast = { ["1.0"] = 5 } }, "a function is needed")
  fails({ version = "2.0", upcast = { ["1"] = print, ["1.0"] = print } }, "the same version")
  fails({ version = "new", upcast = {} }, "with upcast it is")
end)
