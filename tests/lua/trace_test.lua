--- Spans and contexts: what a script's span is, what leaves with a record or request, and what is
--- left out.
local core = require "sipeat.core.trace"
local failure = require "sipeat.failure"
local http = require "sipeat.http"
local spans = require "sipeat.trace_spans"
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local trace = require "sipeat.trace"
local tracing = require "sipeat.tracing"

local PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
local TRACE = PARENT:sub(4, 35)
local taken

-- f with tracing on, in that context: the spans that have ended, by name.
local function traced(ratio, parent, f)
  taken = {}
  core.start(ratio, true)
  tracing.on = true
  tracing.export(function(span)
    taken[#taken + 1] = span
    taken[span.name] = span
  end)
  if parent then
    tracing.begin(parent)
  end
  local ok, err = pcall(f)
  tracing.set()
  tracing.export(nil)
  tracing.on = false
  core.stop()
  if not ok then
    error(err, 0)
  end
  return taken
end

t.test("a span of a script gives what its function does, and is below what is around it", function()
  local one, two
  traced(1, PARENT, function()
    one, two = trace.span("outer", { n = 1 }, function(span)
      span:set("done", true)
      trace.span("inner", function(inside)
        inside:event("seen", { x = "y" })
        t.ok(trace.recording())
      end)
      return 1, 2
    end)
    t.eq(trace.current(), PARENT)
  end)
  t.eq({ one, two }, { 1, 2 })
  t.eq(taken.outer.trace_id, TRACE)
  t.eq(taken.outer.parent_id, "00f067aa0ba902b7")
  t.eq(taken.inner.parent_id, taken.outer.id)
  t.eq(taken.outer.attributes, { n = 1, done = true })
  t.eq(taken.inner.events[1].name, "seen")
  t.ok(taken.outer.end_ns >= taken.inner.end_ns)
end)

t.test("what a span's function raises is raised, and is the span's failure", function()
  traced(1, PARENT, function()
    t.fails(function()
      trace.span("raises", function() error "boom" end)
    end, "boom")
    local ok, message, code = trace.span("fails", function() return nil, "no money", "DECLINED" end)
    t.eq({ ok, message, code }, { nil, "no money", "DECLINED" })
    trace.span("gives up", function() return failure.permanent("gone", "GONE") end)
    t.eq(trace.current(), PARENT)
  end)
  t.has(taken.raises.error, "boom")
  t.eq(taken.raises.events[1].name, "exception")
  t.has(taken.raises.events[1].attributes["exception.stacktrace"], "trace_test.lua")
  t.eq(taken.fails.attributes["error.type"], "DECLINED")
  t.eq(taken["gives up"].error, "gone")
end)

t.test("without tracing, or outside of the ratio, a span is only its function", function()
  local function answer()
    return trace.span("x", function(span)
      span:set("a", 1)
      span:event "b"
      span:fail "c"
      return trace.current() or "none", trace.recording()
    end)
  end
  t.eq({ answer() }, { "none", false })
  traced(0, nil, function()
    local context, recording = answer()
    t.eq(recording, false)
    t.ok(context:find "%-00$", "what follows knows that it is not recorded")
    t.eq(trace.current(), nil)
    task.set_event_id "e1"
    t.eq({ answer() }, { "none", false }) -- the event's own choice counts
    task.set_event_id ""
  end)
  t.eq(#taken, 0)
end)

t.test("a trace that begins here has a first span without a parent", function()
  traced(1, nil, function()
    trace.span("first", function() end)
    trace.span("second", function() end)
  end)
  t.eq(taken.first.parent_id, nil)
  t.ok(taken.first.trace_id ~= taken.second.trace_id)
  t.eq(#taken.first.trace_id, 32)
end)

t.test("tasks go on in the trace of whoever starts them", function()
  traced(1, PARENT, function()
    trace.span("parent", function()
      task.gather { function() trace.span("child", function() end) end }
    end)
  end)
  t.eq(taken.child.parent_id, taken.parent.id)
end)

t.test("attributes and events are bounded, and texts are cut", function()
  traced(1, PARENT, function()
    trace.span("large", function(span)
      for i = 1, 100 do
        span:set("a" .. i, i)
        span:event("e" .. i)
      end
      span:set("a1", ("x"):rep(5000))
    end)
  end)
  local count = 0
  for _ in pairs(taken.large.attributes) do
    count = count + 1
  end
  t.eq(count, 64)
  t.eq(#taken.large.events, 32)
  t.eq(#taken.large.attributes.a1, 4096)
end)

t.test("headers get the context in place of an old one, and keep that of another trace", function()
  local other = "00-11111111111111111111111111111111-2222222222222222-01"
  traced(1, PARENT, function()
    local headers, span = tracing.outgoing("orders", { { "a", "b" }, { "traceparent", "junk" } })
    t.eq(headers, { { "a", "b" }, { "traceparent", (span:context()) } })
    span:finish()
    local same = { { "traceparent", PARENT } }
    headers, span = tracing.outgoing("orders", same)
    t.eq(headers, { { "traceparent", (span:context()) } })
    t.eq(same, { { "traceparent", PARENT } })
    span:finish()
    local foreign = { { "traceparent", other } }
    t.eq({ tracing.outgoing("orders", foreign) }, { foreign })
  end)
  traced(1, PARENT:gsub("01$", "00"), function()
    local headers = { { "traceparent", (PARENT:gsub("01$", "00")) } }
    t.eq({ tracing.outgoing("orders", nil) }, { headers })
  end)
  t.eq({ tracing.outgoing("orders", nil) }, {})
end)

t.test("a failing request is a span with its reason, and says nothing of a secret URL", function()
  local env = require "sipeat.env"
  traced(1, PARENT, function()
    local url = env.conceal "http://127.0.0.1:1/webhooks/1/token?x=y"
    t.eq(http.get(url, { timeout = "5s" }), nil)
  end)
  t.eq(taken.GET.attributes["error.type"], "ECONNREFUSED")
  t.eq(taken.GET.attributes["url.full"], nil)
  t.eq(taken.GET.attributes["server.address"], "127.0.0.1")
  t.eq(taken.GET.attributes["server.port"], 1)
  traced(1, PARENT, function()
    spans.requested(spans.request("GET", "https://me:pw@example.org/a?key=1#x"), { status = 404 })
  end)
  t.eq(taken.GET.attributes["url.full"], "https://example.org/a")
  t.eq(taken.GET.attributes["error.type"], "404")
end)

t.test("a statement is told without its values", function()
  traced(1, PARENT, function()
    local db <close> = sql.open ":memory:"
    t.ok(db:script "create table people (name text, n integer)")
    t.ok(db:exec("insert into people values ('Ada', ?)", 3))
    t.eq(db:query "select broken", nil)
  end)
  t.eq(taken["INSERT people"].attributes["db.query.text"], "insert into people values (?, ?)")
  t.eq(taken["INSERT people"].attributes["db.system.name"], "sqlite")
  t.ok(taken.SELECT.error)
end)

-- What put leaves in C, one by one.
local function written(span)
  local json, otlp = require "sipeat.json", require "sipeat.otlp"
  core.export(function() end)
  t.ok(core.put(span) or otlp.put(span))
  local texts, dropped = core.take()
  core.export(nil)
  t.eq({ #texts, dropped }, { 1, 0 })
  return json.decode(texts[1])
end

t.test("nothing of a statement's values is told, however they are written", function()
  local function told(text)
    traced(1, PARENT, function() spans.sql("postgresql", text):finish() end)
    return { taken[1].name, taken[1].attributes["db.query.text"] }
  end
  t.eq(told "UPDATE t1 SET a = 'mail from bob' -- for 'ada'\nWHERE b = $1 AND c2 = 1.5e3",
    { "UPDATE t1", "UPDATE t1 SET a = ? WHERE b = $1 AND c2 = ?" })
  t.eq(told "select E'it\\'s 5', 'o''clock', $x$ a 'b' $x$, \"c 1\" from \"T\" /* 'x */ limit 7",
    { "SELECT T", "select ?, ?, ?, \"c 1\" from \"T\" limit ?" })
  t.eq(told("insert into t values ('" .. ("x"):rep(3000) .. "', 'y')"),
    { "INSERT t", "insert into t values (?" })
  t.eq(told "select $$ open", { "SELECT", "select ?" })
end)

t.test("a transaction's end and a batch are spans, too", function()
  traced(1, PARENT, function()
    local db <close> = sql.open ":memory:"
    t.ok(db:script "create table n (n integer)")
    local batch = sql.batch()
    batch:add("insert into n values (?)", 1)
    batch:add("insert into n values (?)", 2)
    t.eq(db:run(batch), 2)
  end)
  t.eq(taken.BATCH.attributes, {
    ["db.system.name"] = "sqlite", ["db.operation.name"] = "BATCH",
    ["db.operation.batch.size"] = 2,
  })
  t.eq(taken.COMMIT.kind, tracing.CLIENT)
end)

t.test("a span is written as OTLP has it, whatever its texts are", function()
  traced(1, PARENT, function()
    trace.span("odd \255", { text = "q\"\255", whole = 3, real = 1.5, yes = true }, function(span)
      span:set("nan", 0 / 0)
      span:event "seen"
      span:fail("bad \255", "BAD")
    end)
  end)
  local span = taken[1]
  local made = written(span)
  local values = {}
  for _, one in ipairs(made.attributes) do
    values[one.key] = one.value
  end
  t.eq({ made.name, made.traceId, made.spanId }, { "odd \u{FFFD}", TRACE, span.id })
  t.eq({ made.kind, made.startTimeUnixNano }, { 1, tostring(span.start_ns) })
  t.eq({ values.text, values.whole }, { { stringValue = "q\"\u{FFFD}" }, { intValue = "3" } })
  t.eq({ values.real, values.yes }, { { doubleValue = 1.5 }, { boolValue = true } })
  t.eq(values.nan, { doubleValue = "NaN" })
  t.eq(made.events[1], { name = "seen", timeUnixNano = tostring(span.events[1].at_ns) })
  t.eq(made.status, { code = 2, message = "bad \u{FFFD}" })
end)

t.test("spans that nobody fetches are bounded and counted", function()
  local told, many = 0, 512
  traced(1, PARENT, function()
    trace.span("one", function() end)
  end)
  core.export(function() told = told + 1 end)
  t.eq(core.take(), nil)
  for _ = 1, many + 3 do
    t.ok(core.put(taken[1]))
  end
  local texts, dropped = core.take()
  t.eq({ #texts, dropped }, { many, 3 })
  t.ok(told > 0)
  told = 0
  t.ok(core.put(taken[1]))
  t.eq(told, 0) -- they are fetched already
  t.eq(#core.take(), 1)
  t.eq(core.take(), nil)
  t.ok(core.put(taken[1]))
  t.eq(told, 1)
  core.export(nil)
  t.ok(core.put(taken[1])) -- thrown away
  t.eq(#core.take(), 1)
end)

t.test("an exporter that fails takes no work with it", function()
  traced(1, PARENT, function()
    tracing.export(function() error "out of order" end)
    t.eq(trace.span("x", function() return 7 end), 7)
    t.eq(trace.current(), PARENT)
  end)
end)
