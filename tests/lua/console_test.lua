--- The parts of the console that need no cluster: what a search is told, which records fit, what of
--- a record is shown, and quantiles.
local filter = require "sipeat.console_filter"
local flows = require "sipeat.console_flows"
local records = require "sipeat.console_record"
local core_kafka = require "sipeat.core.kafka"
local json = require "sipeat.json"
local t = require "sipeat.luatest"

local function record(fields)
  local out = {
    topic = "t", partition = 0, offset = 1, timestamp = 1000, timestamp_type = "CreateTime",
    headers = {},
  }
  for name, value in pairs(fields) do
    out[name] = value
  end
  return out
end

local function fits(query, fields)
  return filter.fits(t.ok(filter.parse(query)), record(fields))
end

t.test("a search has its defaults and takes what it is told", function()
  local o = t.ok(filter.parse "")
  t.eq({ o.from, o.limit, o.tail, #o.conditions }, { "newest", 50, false, 0 })
  o = t.ok(filter.parse("from=2026-03-01T10%3A00%3A00Z&until=2026-03-02&partition=0,3&limit=7"
    .. "&tail=1"))
  t.eq({ o.from, o.from_ms, o.until_ms, o.partitions, o.limit, o.tail },
    { "time", 1772359200000, 1772409600000, { 0, 3 }, 7, true })
  o = t.ok(filter.parse "partition=2&offset=17")
  t.eq({ o.offset, o.partitions }, { 17, { 2 } })
end)

t.test("what is wrong with a search is named", function()
  for query, part in pairs {
    ["nix=1"] = "nix", ["limit=0"] = "1 to 1000", ["limit=x"] = "limit", ["offset=1"] = "partition",
    ["partition=1&offset=-1"] = "offset", ["from=soon"] = "from", ["until=1"] = "until",
    ["tail=2"] = "tail", ["partition=1,,2"] = "partition", ["text=%ff"] = "UTF-8",
    ["json="] = "path", ["json=a[b]"] = "path", ["json=%5B%5D"] = "path", ["until_=1"] = "until_",
  } do
    local o, message, code = filter.parse(query)
    t.eq({ o, code }, { nil, "BAD_REQUEST" }, query)
    t.has(message, part)
  end
  local _, message = filter.parse(("header=a&"):rep(17))
  t.has(message, "16 conditions")
end)

t.test("keys, headers and texts", function()
  t.eq(fits("key=a", { key = "a" }), true)
  t.eq(fits("key=a", { key = "ab" }), false)
  t.eq(fits("key=a", {}), false)
  t.eq(fits("key%7E=B", { key = "abc" }), true)
  t.eq(fits("key~=b", { key = "aBc" }), true)
  local headers = { { "event-type", "order.created" }, { "event-type", "again" }, { "empty" } }
  t.eq(fits("header=event-type", { headers = headers }), true)
  t.eq(fits("header=Event-Type", { headers = headers }), false)
  t.eq(fits("header=event-type=again", { headers = headers }), true)
  t.eq(fits("header=event-type~ORDER", { headers = headers }), true)
  t.eq(fits("header=event-type=order", { headers = headers }), false)
  t.eq(fits("header=empty=", { headers = headers }), true)
  t.eq(fits("header=event-type=again&header=missing", { headers = headers }), false)
  t.eq(fits("text=CREATED", { headers = headers }), true)
  t.eq(fits("text=x%25y", { value = "wX%Yz" }), true)
  t.eq(fits("text=.", { value = "abc" }), false)
end)

t.test("JSON paths", function()
  local value = [[{"a":{"b":[{"c":1},{"c":"two"}],"d.e":true},"n":null,"price":12.5,]]
    .. [["at":"2026-03-01"}]]
  local function at(condition)
    return fits("json=" .. condition:gsub("[^%w]", function(c)
      return ("%%%02X"):format(c:byte())
    end), { value = value })
  end
  for condition, wanted in pairs {
    ["a.b[0].c=1"] = true, ["a.b[0].c=1.0"] = true, ["a.b[0].c=2"] = false,
    ["$.a.b[1].c=two"] = true, ["a.b[1].c~TW"] = true, ["a.b[*].c=two"] = true,
    ["a.b[*].c=three"] = false, ["a.b[2].c"] = false,
    ['a["d.e"]=true'] = true, ["a.b[0].c"] = true, ["a.x"] = false, ["n=null"] = true,
    ["price>12"] = true, ["price>12.5"] = false, ["price>=12.5"] = true, ["price<13"] = true,
    ["price<=12"] = false, ["at>2026-02"] = true, ["at<2026-02"] = false, ["price!=12.5"] = false,
    ["price!=1"] = true, ["missing!=1"] = false, ["price>abc"] = false,
  } do
    t.eq(at(condition), wanted, condition)
  end
  for _, body in ipairs { "", "no JSON", "[1", "5", '"a"' } do
    t.eq(fits("json=a", { value = body }), false, body)
  end
  t.eq(fits("json=a", {}), false)
  t.eq(fits("json=%C3%A9=1", { value = [[{"\u00e9":1}]] }), true)
  t.eq(fits("json=ab=1", { value = [[{"a\u0062":1}]] }), true, "an escaped name")
end)

-- What a condition means, said with Lua's own numbers and texts.
local function shown(value)
  return value == json.null and "null" or type(value) ~= "table" and tostring(value) or nil
end

local function orders(compare)
  return function(value, wanted)
    local number = tonumber(wanted)
    return type(value) == "number" and number ~= nil and compare(value, number)
      or type(value) == "string" and compare(value, wanted)
  end
end

local function equal(value, wanted)
  return shown(value) == wanted or type(value) == "number" and value == tonumber(wanted)
end

local MEANINGS = {
  ["="] = equal,
  ["!="] = function(value, wanted)
    return not equal(value, wanted)
  end,
  ["~"] = function(value, wanted)
    local text = shown(value)
    return text ~= nil and text:lower():find(wanted:lower(), 1, true) ~= nil
  end,
  [">"] = orders(function(a, b)
    return a > b
  end),
  [">="] = orders(function(a, b)
    return a >= b
  end),
  ["<"] = orders(function(a, b)
    return a < b
  end),
  ["<="] = orders(function(a, b)
    return a <= b
  end),
}

local NUMBERS = { -- as JSON has them
  "0", "-0", "-0.0", "0.0", "1", "10", "10.0", "1e1", "1E+1", "1e3", "1000", "999.9999999999999",
  "-1", "-1.5", "12.5", "0.1", "1e-7", "123456789012345.5", "12345678901234.5", "1e20", "-1e20",
  "1e308", "5e-324", "9007199254740993", "9007199254740992.0", "9223372036854775807",
  "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "9223372036854775806.5",
  "9.3e18",
}
local OTHERS = {
  "true", "false", "null", "[]", "{}", "[1]", [[{"a":1}]], [[""]], [["10"]], [["1e3"]], [["Ten"]],
  [["2026-03-01"]], [["\u0061\"b"]], [["a\u0000b"]], [["\u00e9"]], [["null"]],
}
local WANTED = {
  "", "0x10", " 10 ", "1e999", "-1e999", "nan", "true", "null", "ten", "2026-02", 'a"b', "a",
  "\u{e9}",
  "2026-03-01", "16", "1e400", "9223372036854775807.0", "1.0",
}

t.test("a condition means in a sieve what it means in Lua", function()
  local values, wanted = {}, {}
  table.move(NUMBERS, 1, #NUMBERS, 1, values)
  table.move(OTHERS, 1, #OTHERS, #values + 1, values)
  table.move(NUMBERS, 1, #NUMBERS, 1, wanted)
  table.move(WANTED, 1, #WANTED, #wanted + 1, wanted)
  for _, literal in ipairs(values) do
    local text = ([[{"x":[7,{"v":%s}]}]]):format(literal)
    local value = t.ok(json.decode(text)).x[2].v
    for relation, means in pairs(MEANINGS) do
      for _, one in ipairs(wanted) do
        local passes = core_kafka.json_match {
          "path", relation == "~" and one:lower() or one, relation, path = { "x", 1, "v" },
          number = tonumber(one),
        }
        local expected = means(value, one)
        if passes(text) ~= expected then
          t.eq(passes(text), expected, ("%s %s %s"):format(literal, relation, one))
        end
      end
    end
  end
end)

t.test("a sieve's path leads through objects and lists, and not beyond", function()
  local function at(text, path)
    return core_kafka.json_match { "path", "1", "=", path = path, number = 1 } (text)
  end
  t.eq(at([[{"a":0,"a":1}]], { "a" }), true, "of equal keys the last one")
  t.eq(at([[{"a":1,"a":0}]], { "a" }), false)
  t.eq(at([=[{"a":[0,[2,1]]}]=], { "a", true, 1 }), true)
  t.eq(at([=[{"a":[0,[1,2]]}]=], { "a", true, 1 }), false)
  t.eq(at([=[[[0],[1]]]=], { true, true }), true)
  t.eq(at([[{"a":{"0":1}}]], { "a", 0 }), false)
  t.eq(at([=[{"a":[1]}]=], { "a", "0" }), false)
  t.eq(at([=[{"a":[]}]=], { "a", true }), false)
  t.eq(at([[{"a":1}]], { "a", "b" }), false)
  t.eq(at([[{"a":null}]], { "a", "b" }), false)
  t.eq(at([=[{"a":[1]} x]=], { "a", 0 }), false, "no JSON")
  local deep = {}
  for i = 1, 32 do
    deep[i] = i % 2 == 0 and "k" or 0
  end
  t.eq(at(('[{"k":'):rep(16) .. "1" .. ("}]"):rep(16), deep), true)
  t.fails(core_kafka.json_match, "1 to 32", { "path", "1", "=", path = {} })
  t.fails(core_kafka.json_match, "no such relation", { "path", "1", "<>", path = { "a" } })
  t.fails(core_kafka.json_match, "a name, an index", { "path", "1", "=", path = { -1 } })
end)

t.test("times", function()
  local at = { timestamp = 1772359200000 }
  t.eq(fits("from=2026-03-01T10:00:00Z", at), true)
  t.eq(fits("from=2026-03-01T10:00:01Z", at), false)
  t.eq(fits("until=2026-03-01T10:00:00Z", at), false)
  t.eq(fits("from=2026-03-01&until=2026-03-02", at), true)
end)

t.test("what a record carries is text, bytes or nothing, and long values are cut", function()
  local object = records.object(record { key = "k\255", value = ("é"):rep(5),
    headers = { { "<b>", "1" }, { "bytes", "\0\255" }, { "none" } } }, 5)
  t.eq({ object.key_base64, object.key }, { "a/8=" })
  t.eq({ object.value, object.value_cut, object.value_bytes }, { "éé", true, 10 })
  t.eq(object.headers, json.array {
    { name = "<b>", value = "1" }, { name = "bytes", value_base64 = "AP8=" },
    { name = "none", value = json.null },
  })
  object = records.object(record {}, 5)
  t.eq({ object.key, object.value, object.value_cut, object.at },
    { json.null, json.null, false, "1970-01-01T00:00:01.000Z" })
end)

t.test("a viewer sees no personal data", function()
  local masked = records.masked({ user = { role = "viewer" } }, record {
    key = "ada@example.org", value = [[{"email":"ada@example.org","n":1}]],
    headers = { { "by", "ada@example.org" } },
  })
  local text = json.encode(records.object(masked, 1000, true))
  t.eq(text:find("ada@", 1, true), nil)
  t.has(text, "\\\"n\\\":1")
end)

t.test("quantiles of counts", function()
  t.eq(flows.quantiles {}, { count = 0, p50_ms = 0, p95_ms = 0, p99_ms = 0, max_ms = 0 })
  t.eq(flows.quantiles { [3] = 1 }, { count = 1, p50_ms = 3, p95_ms = 3, p99_ms = 3, max_ms = 3 })
  t.eq(flows.quantiles { [1] = 90, [10] = 8, [100] = 2 },
    { count = 100, p50_ms = 1, p95_ms = 10, p99_ms = 100, max_ms = 100 })
end)
