-- What `sipeat publish` makes of its arguments and of the lines of a file.
local json = require "sipeat.json"
local records = require "sipeat.command_records"
local t = require "sipeat.luatest"

local function line(text, defaults)
  return records.from_line(text, defaults or {})
end

t.test("a line with type and data becomes a CloudEvent in its topic", function()
  local record = line '{"type":"contact.created","data":{"n":9007199254740993},"key":7,"id":"i1"}'
  t.eq(record.topic, "sipeat.contact.events")
  t.eq(record.key, "7")
  t.eq(json.decode(record.value), { n = 9007199254740993 })
  t.eq(record.headers.ce_id, "i1")
  t.eq(record.headers.ce_type, "contact.created")
  t.eq(record.headers.ce_source, "sipeat-publish")
end)

t.test("a line's own topic and key win over those of the command line", function()
  local defaults = { topic = "given", key = "given" }
  local record = line('{"type":"a.b","data":1,"topic":"own","key":"own"}', defaults)
  t.eq({ record.topic, record.key }, { "own", "own" })
  record = line('{"type":"a.b","data":1}', defaults)
  t.eq({ record.topic, record.key }, { "given", "given" })
end)

t.test("a line without a type goes as it is", function()
  local record = line '{"topic":"t","key":"k","value":"text","headers":{"a":"b"},"partition":2}'
  t.eq(record, { topic = "t", key = "k", value = "text", headers = { a = "b" }, partition = 2 })
  t.eq(line('{"topic":"t","value":{"a":[]}}').value, '{"a":[]}')
  t.eq(line('{"topic":"t","data":[1,2]}').value, "[1,2]")
  t.eq(line('{"topic":"t","value":null}').value, nil) -- a tombstone
end)

t.test("headers of a line are added to those of the event", function()
  local record = line '{"type":"a.b","topic":"t","data":1,"headers":{"ce_source":"x","own":"y"}}'
  t.eq({ record.headers.ce_source, record.headers.own }, { "x", "y" })
end)

t.test("a line that is wrong is refused with what is wrong", function()
  for text, part in pairs {
    ["nonsense"] = "json decode",
    ["[1]"] = "a line is a JSON object",
    ["7"] = "a line is a JSON object",
    ['{"typ":"a"}'] = "unknown field typ (did you mean type?)",
    ['{"type":1}'] = "type is text",
    ['{"type":"","data":1}'] = "type is text",
    ['{"type":"a.b","data":1}'] = "name it with --topic",
    ['{"topic":"t"}'] = "\"type\" and \"data\"",
    ['{"value":"v"}'] = "a topic is missing",
    ['{"topic":"t","value":1,"headers":[1]}'] = "headers is an object",
    ['{"topic":"t","value":1,"headers":{"a":1}}'] = "header a is text",
    ['{"topic":"t","value":1,"key":{}}'] = "key is text",
    ['{"topic":"t","value":1,"partition":"x"}'] = "partition is a whole number",
  } do
    local record, message, code = line(text)
    t.eq(record, nil, text)
    t.has(message, part)
    t.eq(code, "BAD_DATA")
  end
end)
