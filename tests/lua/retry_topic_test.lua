--- sipeat.retry_topic: what a flow's retry option may say, and the records of retry topics; on the
--- embedded broker, an event's way through them.
local failure = require "sipeat.failure"
local retry_topic = require "sipeat.retry_topic"
local run = require "sipeat.flow_run"
local sipeat = require "sipeat"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local function declare(retry, fields)
  local options = {
    topic = "orders", group = "g", order = "none", retry = retry, on = { x = print },
  }
  for name, value in pairs(fields or {}) do
    options[name] = value
  end
  return sipeat.flow, options
end

local function refused(part, retry, fields)
  local flow, options = declare(retry, fields)
  t.fails(flow, part, options)
end

t.test("what does not go together is refused", function()
  refused("set order = \"none\"", { topics = { "1s" } }, { order = "key" })
  refused("set order = \"none\"", { topics = { "1s" } }, { order = "partition" })
  refused("the place of backoff", { topics = { "1s" }, backoff = { "1s" } })
  refused("1 to 20 delays", { topics = {} })
  refused("is no duration", { topics = { "soon" } })
  refused("set attempts = 4 or more", { attempts = 3, topics = { "1s", "2s", "3s" } })
  refused("is a pattern", { topics = { "1s" } }, { topic = "^orders.*" })
end)

local Ticket = {}
Ticket.__index = Ticket

function Ticket:emit(...)
  self.sent[#self.sent + 1] = table.pack(...)
  if self.refuse then
    return nil, "refused", self.refuse
  end
  return true, #self.sent
end

function Ticket:keep(job) self.kept = job end
function Ticket:stopped() return false end
function Ticket:handles() return self end
function Ticket:fails() return self end
function Ticket:ends_as() return self end
function Ticket:followers() return nil end

local function ticket(refuse)
  return setmetatable({ sent = {}, refuse = refuse }, Ticket)
end

local function flow(handler, delays, attempts)
  return {
    group = "g", routes = { ["*"] = { handler = handler } }, dead_letter = false,
    retry_delays = delays, logger = sipeat.log.new "g",
    plan = require("sipeat.attempt").plan({ attempts = attempts, backoff = { "1ms" } }, "test"),
  }
end

local function headers_of(list)
  local map = {}
  for _, header in ipairs(list) do
    map[header[1]] = header[2]
  end
  return map
end

local RECORD = {
  topic = "orders", partition = 3, offset = 5000000000, timestamp = 1700000000123,
  timestamp_type = "CreateTime", key = "k\0", value = '{"n":1}', headers = {
    { "event-type", "x" }, { "kafka_original-topic", "its own" }, { "null" },
  },
}

t.broker()

local function fails(_, ctx)
  return nil, failure.transient("attempt " .. ctx.attempt, "NOT_YET")
end

t.test("a failed event goes to its topic, and is what it was when it comes from there", function()
  local f, record, since = flow(fails, { 300, 1000 }, 4), RECORD, nil
  for n, topic in ipairs { "orders-retry-300", "orders-retry-1000", "orders-retry-1000" } do
    local k, before_ms = ticket(), sys.now_ms()
    t.eq({ run.dispatch(f, record, k) }, { true, false, false })
    t.eq(#k.sent, 1)
    local sent = k.sent[1]
    t.eq({ sent[1], sent[2], sent[3], sent[5], sent[6] }, { topic, "k\0", '{"n":1}', 3 })
    t.eq({ table.unpack(sent[4], 1, 3) }, RECORD.headers)
    local map = headers_of(sent[4])
    t.eq(map["retry_topic-attempts"], (">i4"):pack(n + 1))
    t.eq(map["retry_topic-original-timestamp"], "\1\139\207\229\104\123")
    t.eq(map["kafka_original-offset"], (">i8"):pack(5000000000))
    t.eq({ map["sipeat-attempts"], map["sipeat-error-code"] }, { tostring(n), "NOT_YET" })
    local due = (">i6"):unpack(map["retry_topic-backoff-timestamp"])
    local delay = tonumber(topic:match "%d+$")
    t.ok(due >= before_ms + delay and due <= sys.now_ms() + delay, due)
    since = since or map["sipeat-first-failed-at"]
    t.eq(map["sipeat-first-failed-at"], since)
    record = {
      topic = topic, partition = 1, offset = n, timestamp = 9, timestamp_type = "CreateTime",
      key = sent[2], value = sent[3], headers = sent[4],
    }
    local original, before = retry_topic.original(record)
    t.eq(original, RECORD)
    t.eq(before.attempts, n)
  end
  local k = ticket()
  t.eq({ run.dispatch(f, record, k) }, { true, true, false })
  t.eq({ k.kept.attempt, k.kept.failure.message, #k.sent }, { 4, "attempt 4", 0 })
  t.eq({ k.kept.record.topic, k.kept.record.offset, k.kept.event.id },
    { "orders", 5000000000, "orders:3:5000000000" })
end)

t.test("a record that somebody else put into a retry topic is one of its topic", function()
  local original, before = retry_topic.original {
    topic = "orders-retry-300", partition = 1, offset = 2, timestamp = 9, key = "k",
    headers = {
      { "own", "1" }, { "retry_topic-attempts", "\0\0\0\3" }, { "kafka_exception-x", "" },
    },
  }
  t.eq({ original.topic, original.partition, original.offset, original.headers, before.attempts },
    { "orders", 1, 2, { { "own", "1" } }, 2 })
  t.eq(retry_topic.original(RECORD), RECORD)
end)

t.test("what its retry topic refuses is sent elsewhere, later, or is a dead letter", function()
  local f, k = flow(fails, { 300 }, 3), ticket()
  t.eq(run.dispatch(f, RECORD, k), true)
  local trouble = { kind = "output", code = "_UNKNOWN_PARTITION", message = "m", outputs = 1 }
  local again = ticket()
  t.eq(run.dispatch(f, nil, again, k.kept, trouble), 1)
  t.eq({ run.dispatch(f, nil, again, k.kept) }, { true, false, false })
  t.eq({ again.sent[1][5], again.sent[1][7] }, { nil, 1 }) -- any partition; the same output
  trouble.code = "_TIMED_OUT"
  t.eq(math.type(run.dispatch(f, nil, again, k.kept, trouble)), "integer")
  t.eq(run.dispatch(f, nil, again, k.kept), true)
  trouble.code = "MSG_SIZE_TOO_LARGE"
  t.eq({ run.dispatch(f, nil, again, k.kept, trouble) }, { true, true, false })
  t.eq({ k.kept.failure.code, k.kept.failure.kind }, { "NOT_YET", "permanent" })
  t.has(k.kept.failure.message, "attempt 1; and it cannot be retried later: m")
end)

t.test("what a breaker refused is not counted, and waits for long enough", function()
  local f = flow(function()
    return nil, require("sipeat.guard").refusal("open", "BREAKER_OPEN", sys.monotonic_ms() + 5000)
  end, { 300, 1000, 10000 }, 4)
  local k = ticket()
  t.eq(run.dispatch(f, RECORD, k), true)
  t.eq(k.sent[1][1], "orders-retry-10000")
  t.eq(headers_of(k.sent[1][4])["retry_topic-attempts"], "\0\0\0\1")
end)

t.test("an event goes its way: each attempt when it is due, and the others flow", function()
  local seen, done = {}, {}
  local _, options = declare({ attempts = 3, topics = { "200ms", "400ms" } }, {
    topic = "way", group = "way", on = {
      ["*"] = function(event, ctx)
        seen[#seen + 1] = { event.data.n, ctx.attempt, sys.monotonic_ms() }
        if ctx.attempt < event.data.good_at then
          return nil, "not yet"
        end
        done[event.data.n] = ctx.attempt
      end,
    },
  })
  t.flows(function()
    sipeat.flow(options)
  end)
  for n, good_at in ipairs { 1, 2, 3, 1, 1 } do
    t.ok(sipeat.kafka.producer():send {
      topic = "way", key = "k", value = ('{"n":%d,"good_at":%d}'):format(n, good_at),
      headers = { ["event-type"] = "x" },
    })
  end
  local deadline = sys.monotonic_ms() + 30000
  while not (done[1] and done[2] and done[3]) and sys.monotonic_ms() < deadline do
    task.sleep "20ms"
  end
  t.eq(done, { 1, 2, 3, 1, 1 })
  local first = {}
  for _, one in ipairs(seen) do
    local n, attempt, at = table.unpack(one)
    first[n] = first[n] or at
    t.ok(at - first[n] >= ({ 0, 200, 600 })[attempt] - 1, "attempt " .. attempt .. " came early")
  end
  t.flows(function() end)
end)
