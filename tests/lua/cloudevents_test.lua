--- sipeat.cloudevents: the requests of the conformance tests of CloudEvents, and what is not in
--- them. The same events over Kafka: event_test.lua.
local cloudevents = require "sipeat.cloudevents"
local event = require "sipeat.event"
local http = require "sipeat.http"
local json = require "sipeat.json"
local record = require "sipeat.record"
local t = require "sipeat.luatest"

local DATA = '{\n    "message": "Hello World!"\n}'
local ATTRIBUTES = {
  id = "1234-1234-1234", specversion = "1.0", type = "com.example.someevent",
  source = "/mycontext/subcontext", time = "2018-04-05T03:56:24Z",
}

local function with(changes, base)
  local out = {}
  for key, value in pairs(base or ATTRIBUTES) do
    out[key] = value
  end
  for key, value in pairs(changes) do
    out[key] = value
  end
  return out
end

local function binary(content_type, body, more)
  local headers = { ["content-type"] = content_type, host = "example.com" }
  for name, value in pairs(ATTRIBUTES) do
    headers["ce-" .. name] = value
  end
  return { headers = with(more or {}, headers), body = body }
end

local function structured(content_type, fields)
  return {
    headers = { ["content-type"] = content_type },
    body = assert(json.encode(with(fields or { datacontenttype = "application/json",
      data = { message = "Hello World!" } }))),
  }
end

t.test("binary mode over HTTP", function()
  for _, kind in ipairs { "application/json", "application/json; charset=utf-8" } do
    local got = t.ok(cloudevents.from_request(binary(kind, DATA)))
    t.eq(cloudevents.attributes(got), with { datacontenttype = kind })
    t.eq(got.data.message, "Hello World!")
  end
end)

t.test("structured mode over HTTP", function()
  for _, kind in ipairs {
    "application/cloudevents+json", "application/cloudevents+json; charset=utf-8",
    "Application/CloudEvents+JSON",
  } do
    local got = t.ok(cloudevents.from_request(structured(kind)))
    t.eq(cloudevents.attributes(got), with { datacontenttype = "application/json" })
    t.eq(got.data.message, "Hello World!")
  end
end)

t.test("both modes over Kafka", function()
  local headers = { { "content-type", "application/json" } }
  for name, value in pairs(ATTRIBUTES) do
    headers[#headers + 1] = { "ce_" .. name, value }
  end
  local place = { topic = "t", partition = 0, offset = 1 }
  local got = t.ok(record.from_record(with({ value = DATA, headers = headers }, place)))
  t.eq(cloudevents.attributes(got), with { datacontenttype = "application/json" })
  t.eq(got.data.message, "Hello World!")
  for _, kind in ipairs { "application/cloudevents+json",
    "application/cloudevents+json; charset=utf-8" } do
    got = t.ok(record.from_record(with({ value = structured(kind).body,
      headers = { { "content-type", kind } } }, place)))
    t.eq(cloudevents.attributes(got), with { datacontenttype = "application/json" })
    t.eq(got.data.message, "Hello World!")
  end
end)

t.test("attributes of any language, extensions, and data that is no JSON", function()
  local got = t.ok(cloudevents.from_request(binary("text/plain", "Grüße", {
    ["ce-subject"] = "Euro%20%E2%82%AC %22x%22", ["ce-partitionkey"] = "k", ["ce-source"] = '"/q"',
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    authorization = "Bearer secret",
  })))
  t.eq(got.data, "Grüße")
  t.eq(got.attributes, { subject = 'Euro € "x"', partitionkey = "k" })
  t.eq(got.source, "/q")
  t.eq(got.trace, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
  t.eq(got.headers.authorization, nil, "a header of the request is not the event's")
  got = t.ok(cloudevents.from_request(structured("application/cloudevents+json", {
    datacontenttype = "image/png", data_base64 = "AAH/", count = 3, flag = true,
  })))
  t.eq({ got.data, got.attributes }, { "\0\1\255", { count = 3, flag = true } })
  t.eq(cloudevents.attributes(got).datacontenttype, "image/png")
  local empty = t.ok(cloudevents.from_request(binary(nil, "")))
  t.eq({ empty.data, empty.id }, { nil, "1234-1234-1234" })
end)

t.test("a batch is read whole or not at all", function()
  local one, two = structured("x").body, structured("x", { id = "2", data = 5 }).body
  local req = { headers = { ["content-type"] = "application/cloudevents-batch+json" } }
  req.body = "[" .. one .. "," .. two .. "]"
  local events = t.ok(cloudevents.all_from_request(req))
  t.eq({ #events, events[1].id, events[1].data.message, events[2].id, events[2].data },
    { 2, "1234-1234-1234", "Hello World!", "2", 5 })
  req.body = "[]"
  t.eq(cloudevents.all_from_request(req), {})
  t.has(select(2, cloudevents.from_request(req)), "all_from_request")
  for body, part in pairs {
    ["[" .. one .. ',{"id":"x"}]'] = "event 2 of the batch", ["{}"] = "is a JSON array",
    ["[1]"] = "event 1 of the batch is no object", ["["] = "is a JSON array",
    ["[" .. ("{},"):rep(10000) .. "{}]"] = "at most 10000",
  } do
    req.body = body
    local none, message, code = cloudevents.all_from_request(req)
    t.eq({ none, code }, { nil, "BAD_DATA" })
    t.has(message, part)
  end
  t.eq(#t.ok(cloudevents.all_from_request(structured "application/cloudevents+json")), 1)
end)

t.test("what is no CloudEvent says why", function()
  for _, row in ipairs {
    { { headers = {}, body = "{}" }, "ce-specversion is missing" },
    { binary("application/json", DATA, { ["ce-id"] = "" }), "ce-id is missing" },
    { binary("application/json", DATA, { ["ce-specversion"] = "0.3" }), "specversion" },
    { binary("application/json", "{"), "cloudevents: " },
    { binary("application/json", DATA, { ["ce-subject"] = "%ff" }), "not UTF-8" },
    { structured("application/cloudevents+avro"), "is not supported" },
    { structured("application/cloudevents+json", { id = json.null }), "id is missing" },
    { structured("application/cloudevents+json", { data_base64 = "?" }), "not Base64" },
    { { headers = { ["content-type"] = "application/cloudevents+json" }, body = "" },
      "cloudevents: " },
  } do
    local none, message, code = cloudevents.from_request(row[1])
    t.eq({ none, code }, { nil, "BAD_DATA" })
    t.has(message, row[2])
  end
end)

t.test("what is written is read back as it was, in each mode", function()
  local made = event.untyped("order.created", { total = 2.5, note = "ü" }, { id = "o-1" })
  made.attributes = { subject = 'a b "€" 100%', orderid = "7" }
  for _, mode in ipairs { "binary", "structured" } do
    local request = t.ok(cloudevents.to_request(made, { mode = mode }))
    local got = t.ok(cloudevents.from_request(request))
    t.eq({ got.id, got.type, got.source, got.time, got.data.total, got.data.note, got.attributes },
      { made.id, made.type, made.source, made.time, 2.5, "ü", made.attributes }, mode)
  end
  local headers = t.ok(cloudevents.to_request(made)).headers
  t.eq(headers["ce-subject"], "a%20b%20%22%E2%82%AC%22%20100%25")
  made.data = "\0\255"
  for _, mode in ipairs { "binary", "structured" } do
    local request = t.ok(cloudevents.to_request(made, { mode = mode, content_type = "image/png" }))
    local got = t.ok(cloudevents.from_request(request))
    t.eq({ got.data, cloudevents.attributes(got).datacontenttype }, { "\0\255", "image/png" }, mode)
  end
  made.data = "text"
  local text = t.ok(cloudevents.to_request(made, {
    mode = "structured", content_type = "text/plain",
  }))
  t.eq(t.ok(cloudevents.from_request(text)).data, "text")
  made.data = nil
  t.eq(t.ok(cloudevents.from_request(cloudevents.to_request(made))).data, nil)
  t.fails(cloudevents.to_request, "the event has no type", { id = "1", source = "s" })
  t.fails(cloudevents.to_request, "is a string", made, { content_type = "text/plain" })
end)

t.test("a receiver gets them, and what it refuses is a failure", function()
  local got
  http.route("POST /events", function(req)
    local events, message = cloudevents.all_from_request(req)
    got = events
    return events and { status = 202 } or { status = 400, body = message }
  end)
  http.route("POST /busy", function()
    return { status = 503, headers = { ["retry-after"] = "1" } }
  end)
  local base = "http://" .. t.ok(http.listen "127.0.0.1:0").address
  local made = event.untyped("order.created", { total = 2 }, { id = "o-1" })
  for _, mode in ipairs { "binary", "structured" } do
    t.eq(t.ok(cloudevents.send(base .. "/events", made, { mode = mode })).status, 202)
    t.eq({ #got, got[1].id, got[1].data.total }, { 1, "o-1", 2 })
  end
  t.ok(cloudevents.send(base .. "/events", { made, made, made }, { mode = "batch" }))
  t.eq(#got, 3)
  local _, why = cloudevents.send(base .. "/busy", made)
  t.eq({ why.code, why.kind, why.retry_at_ms ~= nil }, { "UNAVAILABLE", "transient", true })
  _, why = cloudevents.send("http://127.0.0.1:1/", made)
  t.eq(why.code, "ECONNREFUSED")
end)
