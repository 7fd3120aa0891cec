--- sipeat.analytics against a server that answers as told: nothing waits, everything is counted.
local analytics = require "sipeat.analytics"
local batch = require "sipeat.batch"
local http = require "sipeat.http"
local json = require "sipeat.json"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local answers, bodies, last = {}, {}, nil
http.route("POST /v1/batch", function(req)
  last = req.headers
  bodies[#bodies + 1] = { size = #req.body, value = json.decode(req.body) }
  local answer = table.remove(answers, 1)
  if type(answer) == "function" then
    answer = answer()
  end
  return answer or { status = 200, json = { success = true } }
end, { max_body_bytes = "2mb" })
local base = "http://" .. t.ok(http.listen "127.0.0.1:0").address .. "/"

local function counted()
  for _, one in ipairs(batch.status()) do
    if one.name == "analytics" then
      return one
    end
  end
end

t.test("without a key nothing is kept, and nothing fails", function()
  t.eq({ analytics.track { user_id = 1, event = "x" } }, { false, "not_configured" })
  t.eq(analytics.flush(), true)
end)

t.test("each kind of call as the service wants it", function()
  analytics.configure { url = base, write_key = "key", flush = "1h" }
  t.ok(analytics.track { user_id = 7, event = "Order Placed", properties = { total = 2.5 } })
  t.ok(analytics.identify { user_id = "u", traits = { email = "a@b.test" }, message_id = "m1" })
  t.ok(analytics.page { anonymous_id = "an", name = "Home", category = "Shop",
    timestamp = "2026-01-01T00:00:00Z" })
  t.ok(analytics.group { user_id = "u", group_id = 3, context = { ip = "0.0.0.0" } })
  t.ok(analytics.flush "5s")
  t.eq(last.authorization, "Basic a2V5Og==")
  local body = bodies[#bodies].value
  t.ok(body.sentAt:find "^%d%d%d%d%-.*Z$")
  local track, identify, page, group = table.unpack(body.batch)
  t.ok(track.messageId:find "^sipeat%-" and track.timestamp:find "Z$")
  t.eq({ track.type, track.event, track.userId, track.properties },
    { "track", "Order Placed", "7", { total = 2.5 } })
  t.eq(track.context.library.name, "sipeat")
  t.eq({ identify.type, identify.messageId, identify.traits },
    { "identify", "m1", { email = "a@b.test" } })
  t.eq({ page.type, page.anonymousId, page.name, page.category, page.timestamp },
    { "page", "an", "Home", "Shop", "2026-01-01T00:00:00Z" })
  t.eq({ group.type, group.groupId, group.context.ip }, { "group", "3", "0.0.0.0" })
end)

t.test("an event that is handled again makes the same messageId", function()
  local function id_of(ctx, event)
    analytics.track({ user_id = 1, event = event }, ctx)
    t.ok(analytics.flush "5s")
    return bodies[#bodies].value.batch[1].messageId
  end
  local one = id_of({ key = "e1" }, "a")
  t.eq(id_of({ key = "e1" }, "a"), one)
  t.ok(id_of({ key = "e1" }, "b") ~= one and id_of({ key = "e2" }, "a") ~= one)
  t.eq(id_of({ id = "e1" }, "a"), one)
end)

t.test("a call of 32 KB and a request of 500 KB are the most", function()
  local before, too_big = #bodies, counted().too_big
  t.eq({ analytics.track { user_id = 1, event = ("x"):rep(32 * 1024) } }, { false, "too_big" })
  for i = 1, 40 do
    t.ok(analytics.track { user_id = i, event = ("x"):rep(30 * 1024) })
  end
  t.ok(analytics.flush "10s")
  local calls = 0
  for i = before + 1, #bodies do
    t.ok(bodies[i].size <= 500 * 1000, "a request of " .. bodies[i].size)
    calls = calls + #bodies[i].value.batch
  end
  t.eq({ calls, counted().too_big - too_big }, { 40, 1 })
end)

t.test("while the service hangs, calls return at once and are counted when there is no room",
  function()
    analytics.configure { url = base, write_key = "key", flush = "1ms", max_items = 3 }
    local gate, before = task.channel(0), counted()
    answers = { function()
      gate:recv()
    end }
    t.ok(analytics.track { user_id = 1, event = "a" })
    local asked = #bodies
    while #bodies == asked do
      task.sleep "1ms"
    end
    t.ok(analytics.track { user_id = 1, event = "b" })
    t.ok(analytics.track { user_id = 1, event = "c" })
    t.eq({ analytics.track { user_id = 1, event = "d" } }, { false, "full" })
    gate:send(true)
    t.ok(analytics.flush "10s")
    t.eq({ counted().sent - before.sent, counted().full - before.full }, { 3, 1 })
  end)

t.test("a service that is limited, broken or lying loses nothing that it did not refuse", function()
  local before = counted()
  answers = {
    { status = 429, headers = { ["retry-after"] = "0.05" } }, { status = 502 },
    { status = 200, body = "<html>" },
  }
  t.ok(analytics.track { user_id = 1, event = "kept" })
  t.ok(analytics.flush "10s")
  answers = { { status = 400, json = { success = false } } }
  t.ok(analytics.track { user_id = 1, event = "refused" })
  t.ok(analytics.flush "10s")
  t.eq({ counted().sent - before.sent, counted().rejected - before.rejected }, { 1, 1 })
end)

t.test("a caller's mistakes are told", function()
  t.has(t.fails(function() analytics.track { user_id = 1 } end, "event is required"),
    "analytics_test.lua")
  t.has(t.fails(function() analytics.track { event = "x" } end, "user_id or anonymous_id"),
    "analytics_test.lua")
  t.fails(analytics.group, "group_id is required", { user_id = 1 })
  t.fails(analytics.track, "analytics.track: ", { user_id = 1, event = "x",
    properties = { f = print } })
end)
