--- JSON both ways: what cjson alone would blur comes back exactly, what is broken is refused.
local json = require "sipeat.json"
local env = require "sipeat.env"
local t = require "sipeat.luatest"

local function encoded(value)
  local text, message = json.encode(value)
  return text or error(message, 2)
end

-- One key each, so that the order of keys does not matter.
local SAME_TEXT = {
  "null", "true", "false", "0", "-1", "1500", "12.5", "19.99", "0.1", "25.5", '""', '"x"', "[]",
  "{}",
  "[[]]", '{"a":[]}', '{"a":{}}', "[1,[],{}]", "[null]", "[null,1]", '{"a":null}',
  "99999999999999", "100000000000000", "9007199254740992", "9007199254740993", "-9007199254740993",
  "9223372036854775807", "-9223372036854775808", "0.30000000000000004", "0.3333333333333333",
  "1.7976931348623157e+308", "4.9406564584125e-324", '"tab\\t quote\\" back\\\\"',
  '"\\u0000\\u0001"', '"é€😀"',
  '{"a b":1}', '{"":1}', '"[] 1. 1234567890123456789"', '{"[]":"5. x"}',
}

t.test("a text survives decode and encode unchanged", function()
  for _, text in ipairs(SAME_TEXT) do
    local value, message = json.decode(text)
    t.ok(value ~= nil, ("%s: %s"):format(text, tostring(message)))
    t.eq(encoded(value), text)
  end
end)

local READ = {
  { "1500.0", 1500 }, { "1.5e3", 1500 }, { "-0", 0 }, { "[[],2.0]", { {}, 2 } },
  { "1E2", 100 }, { "1e15", 10 ^ 15 | 0 },
  { '"\\ud83d\\ude00"', "😀" }, { '"\\/"', "/" }, { ' \t\r\n[ 1 , 2 ]\n ', { 1, 2 } },
  { '{"a":1,"a":2}', { a = 2 } }, { '{"a":[],"a":1}', { a = 1 } },
  { '[{"x":[]},"\\"]","\\\\"]', { { x = {} }, '"]', "\\" } },
  { '{"n":9007199254740993,"o":{"p":[true,false,-1.25e-2]}}',
    { n = 9007199254740993, o = { p = { true, false, -0.0125 } } } },
}

t.test("texts are read as what they mean", function()
  for _, case in ipairs(READ) do
    t.eq(json.decode(case[1]), case[2])
  end
end)

t.test("integral numbers are integers, others floats", function()
  for text, kind in pairs {
    ["1500"] = "integer", ["1500.0"] = "integer", ["2e3"] = "integer", ["0.5"] = "float",
    ["9007199254740993"] = "integer", ["12345678901234567890"] = "float", ["1e300"] = "float",
  } do
    t.eq(math.type(json.decode(text)), kind, text)
    t.eq(math.type(json.decode('{"a":[' .. text .. "]}").a[1]), kind, text)
  end
end)

local BROKEN = {
  "", " ", "{", "[", '{"a":', '{"a":1', "[1,", '"abc', "tru", "nul", "[1,]", "{,}", '{"a":1,}',
  "{1:2}",
  "{'a':1}", "'a'", "1 2", "{} x", "[1]]", "NaN", "nan", "Infinity", "-inf", "+1", "01", "-01",
  ".5",
  "-", "1e", "1.", "[1.]", "1.e5", "0x10", '"a\nb"', '"\t"', "1e999", "[-1e999]", "// c\n1",
  "\239\187\191{}",
  "[1]\0", "\0", '"a\0b"', '"\\x"', '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\u12"',
  "\255\254", '"\255"', '{"\192\128":1}', '"\237\160\128"', ("["):rep(129) .. ("]"):rep(129),
  ('{"a":'):rep(129) .. "1" .. ("}"):rep(129), ("["):rep(100000),
}

t.test("broken texts are refused with a reason, never raised", function()
  for _, text in ipairs(BROKEN) do
    local value, message, code = json.decode(text)
    t.eq(value, nil, "accepted " .. text:sub(1, 40))
    t.has(message, "json decode: ")
    t.eq(code, "BAD_DATA")
  end
  for _, value in ipairs { 5, true, {}, print } do
    local _, message, code = json.decode(value)
    t.has(message, "expected text")
    t.eq(code, "BAD_DATA")
  end
  t.eq(select(3, json.decode(nil)), "BAD_DATA")
end)

t.test("every cut of a text is refused or read, never raised", function()
  local text = '{"a":[1,[],{"b":"\\u00e9\\"x"}],"n":9007199254740993,"t":true,"z":null,"f":1.5}'
  for length = 0, #text - 1 do
    local value, _, code = json.decode(text:sub(1, length))
    t.eq(value, nil)
    t.eq(code, "BAD_DATA")
  end
  t.eq(json.decode(text).a[3].b, 'é"x')
end)

t.test("128 levels are read and written, 129 are not", function()
  local text = ("["):rep(127) .. "[1]" .. ("]"):rep(127)
  local value = json.decode(text)
  t.eq(encoded(value), text)
  local _, message, code = json.encode { value }
  t.has(message, "nested deeper than 128")
  t.eq(code, "BAD_DATA")
end)

local circle = {}
circle.next = circle

local UNWRITABLE = {
  { { 1, nil, 3 }, "a list with holes (2 of 3 items)" },
  { { 1, a = 2 }, "mixes list items with named fields" },
  { { [0] = 1 }, "key 0" },
  { { [-1] = 1 }, "key -1" },
  { { [1.5] = 1 }, "a key is a number" },
  { { [true] = 1 }, "a key is a boolean" },
  { { a = { b = { print } } }, "a.b[1]: a function cannot be written as JSON" },
  { { a = coroutine.create(print) }, "a: a thread" },
  { { a = { 1, 0 / 0 } }, "a[2]: " },
  { math.huge, "is no JSON number" },
  { -math.huge, "is no JSON number" },
  { circle, "in a circle" },
  { { x = { "ok", "\255" } }, "x[2]: text is not valid UTF-8" },
  { { ["\255"] = 1 }, "a key is not valid UTF-8" },
  { setmetatable({ a = 1 }, getmetatable(json.empty_array)), "named fields in an array" },
  { { key = env.conceal "hunter2" }, "key: a secret is not written into JSON" },
}

t.test("what JSON cannot hold is refused with its place", function()
  for _, case in ipairs(UNWRITABLE) do
    local text, message, code = json.encode(case[1])
    t.eq(text, nil)
    t.has(message, case[2])
    t.eq(code, "BAD_DATA")
    t.eq(message:find("hunter2", 1, true), nil)
  end
  t.eq(select(3, json.encode(nil)), "BAD_DATA")
end)

t.test("numbers are written as they are", function()
  for value, text in pairs {
    [1500.0] = "1500", [2 ^ 53] = "9007199254740992", [1e100] = "1e+100", [1e15] = "1e+15",
    [0.1 + 0.2] = "0.30000000000000004", [math.mininteger] = "-9223372036854775808",
    [123456789.123456789] = "123456789.12345679",
  } do
    local written = encoded(value)
    t.ok(tonumber(written) == tonumber(text), written)
    t.ok(json.decode(written) == value, written)
  end
end)

t.test("arrays stay arrays, whatever is in them", function()
  t.eq(encoded(json.array()), "[]")
  t.eq(encoded(json.empty_array), "[]")
  t.eq(encoded({ a = json.array {} }), '{"a":[]}')
  t.eq(encoded({}), "{}")
  local list = json.decode "[]"
  t.ok(json.is_array(list))
  t.ok(not json.is_array(json.decode "{}"))
  list[1] = "x"
  t.eq(encoded(list), '["x"]')
end)

t.test("encoding changes nothing in what it is given", function()
  local value = { big = 2 ^ 53 | 0, list = json.array(), deep = { n = math.maxinteger } }
  encoded(value)
  t.eq(value.big, 9007199254740992)
  t.eq(value.deep.n, math.maxinteger)
  t.ok(json.is_array(value.list))
end)

t.test("a text that looks like a placeholder stays text", function()
  local text = encoded { "@sipeat-0000000000000000-1@", math.maxinteger }
  t.eq(text, '["@sipeat-0000000000000000-1@",9223372036854775807]')
end)

t.test("random values survive a round trip", function()
  local seed = math.random(1 << 30)
  math.randomseed(seed)
  local function make(depth)
    local pick = math.random(depth > 4 and 6 or 8)
    if pick == 1 then
      return math.random(math.mininteger, math.maxinteger)
    elseif pick == 2 then
      local float = (math.random() - 0.5) * 10 ^ math.random(-20, 20)
      return math.tointeger(float) or float -- what is integral comes back as an integer
    elseif pick == 3 then
      return math.random(-1000, 1000)
    elseif pick == 4 then
      return ("\0\"\\/é[]1.😀"):rep(math.random(0, 2))
    elseif pick == 5 then
      return math.random(2) == 1
    elseif pick == 6 then
      return json.null
    end
    local out = pick == 7 and json.array() or {}
    for i = 1, math.random(0, 5) do
      out[pick == 7 and i or "k" .. i] = make(depth + 1)
    end
    return out
  end
  for _ = 1, 300 do
    local value = make(0)
    local text = encoded(value)
    local back = json.decode(text)
    local ok, why = pcall(t.eq, back, value)
    t.ok(ok, ("seed %d: %s: %s"):format(seed, text, tostring(why)))
    t.ok(#encoded(back) == #text, ("seed %d: %s"):format(seed, text))
  end
end)
