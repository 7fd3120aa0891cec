--- Steps with a journal: the usual way, in C, says in the journal what the way for all cases says.
local chain = require "sipeat.chain"
local context = require "sipeat.context"
local failure = require "sipeat.failure"
local journal = require "sipeat.journal"
local json = require "sipeat.json"
local log = require "sipeat.log"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

t.journal()

local offset = 0

local function event_of(text)
  offset = offset + 1
  return { id = "e" .. offset, type = "order", data = text and json.lazy(text) }
end

-- Lets a chain handle an event; what it answered, what the journal has of it, what was logged.
local function handle(list, text)
  local event, logged = event_of(text), {}
  local logger = setmetatable({
    warn = function(_, line) logged[#logged + 1] = line end,
  }, { __index = log.new "test" })
  local run = journal.run {
    epoch = 1, flow = "f", cluster = "c", script = "", event = event,
    record = { topic = "t", partition = 0, offset = offset, value = "{}", headers = {} },
  }
  local ctx = { id = "fixed", memory = {}, log = logger, run = run, attempt = 1, final = true }
  local result, why = chain "of"(list)(event, ctx)
  assert(run:leave(journal.DONE))
  local rows = {}
  for i, row in ipairs(journal.write { "records", run.id, n = 2 }) do
    rows[i] = { row[1], row[3], row[4], row[5] and json.decode(row[5]) }
  end
  return {
    result = result, why = why and { why.message, why.code, why.kind }, rows = rows,
    memory = failure.to_plain(ctx.memory), logged = logged,
  }
end

-- As plain data, but for tracebacks, which say the way.
local function comparable(value)
  if type(value) ~= "table" then
    return value
  end
  local out = {}
  for key, item in pairs(value) do
    out[key] = key ~= "traceback" and comparable(item) or nil
  end
  return out
end

-- Both ways: the second one is taken when something stands in context.keep's place.
local function both(list, text)
  local usual = handle(list, text)
  local keep = context.keep
  context.keep = function(...)
    return keep(...)
  end
  local ok, other = pcall(handle, list, text)
  context.keep = keep
  t.ok(ok, other)
  t.eq(comparable(usual), comparable(other))
  return usual
end

local function step(name, run, more)
  local out = { name, run = run, effect = "idempotent" }
  for key, value in pairs(more or {}) do
    out[key] = value
  end
  return out
end

local function texts(seen)
  local list = {}
  for i, row in ipairs(seen.rows) do
    local body = row[4]
    list[i] = ("%d %s %s %s"):format(row[2], row[3], body.status, body.result)
  end
  return list
end

t.test("results of all kinds are kept as they are", function()
  for _, value in ipairs {
    "text", 7, 1.5, true, { a = { 1, 2, 3 }, b = "\"quoted\"\n" }, { 1, 2, 3 }, {},
    { one = 1, two = 2, three = 3, four = 4, five = 5, six = 6, seven = { json.null } },
    json.lazy '{"a":{"b":[1,2,3]},"c":"d"}',
  } do
    local seen = both({ step("a", function() return value end) }, '{"x":1}')
    t.eq(seen.rows[2][4].result, json.encode(value))
  end
end)

t.test("a step without a result has none", function()
  local seen = both({ step("a", function() end), step("b", function() return nil end) })
  t.eq(texts(seen), {
    "1 chain:of/state/steps/a intent nil", "2 chain:of/state/steps/a done null",
    "1 chain:of/state/steps/b intent nil", "2 chain:of/state/steps/b done null",
  })
end)

t.test("what is no plain data is left out of a result, and said", function()
  local seen = both { step("a", function() return { good = 1, bad = print } end) }
  t.eq(seen.rows[2][4].result, '{"good":1}')
  t.eq(#seen.logged, 1)
end)

t.test("a step that has handled the event ends the chain", function()
  local steps = require "sipeat.steps"
  local seen = both {
    step("a", function() return steps.handled { won = true } end),
    step("b", function() error "not this one" end),
  }
  t.eq(seen.rows[3][3], "chain:of/state/steps/a")
  t.eq(#seen.rows, 3)
end)

t.test("failures, raised and returned, are judged the same", function()
  for _, f in ipairs {
    function() error "bug" end,
    function() error(failure.permanent("no", "DECLINED")) end,
    function() return nil, "down", "ECONNREFUSED" end,
    function() return false, "late", "ETIMEDOUT" end,
    function() return failure.transient "again" end,
  } do
    both({ step("a", function() return 1 end, { undo = function() end }), step("b", f) }, '{"x":1}')
    both({ step("a", f, { effect = "at_most_once" }) }, '{"x":1}')
    both({ step("a", f, { required = false }), step("b", function() return 2 end) }, '{"x":1}')
  end
end)

t.test("a step that is tried again gets the same key and arguments", function()
  local tries, saw = 0, {}
  local seen = both({ step("a", function(args, ctx)
    tries = tries + 1
    saw[#saw + 1] = args.x .. " " .. ctx.key .. " " .. ctx.step
    args.x = 99
    if tries % 2 == 1 then
      return nil, "down", "ECONNREFUSED"
    end
    return tries > 0
  end, { retry = { attempts = 2, backoff = { "1ms", "1ms" } } }) }, '{"x":1}')
  t.eq(saw, { "1 fixed:of:a a", "1 fixed:of:a a", "1 fixed:of:a a", "1 fixed:of:a a" })
  t.eq(#seen.rows, 4)
end)

t.test("arguments and results of steps are copies of their own", function()
  local long = ("x"):rep(200)
  local seen = both({
    step("a", function(args)
      args.list[1], args.more = "changed", true
      return { list = args.list, text = args.text }
    end),
    step("b", function(args, ctx)
      t.eq(args.list, { "first" })
      t.eq(args.more, nil)
      ctx.results.a.list[1] = "by b"
      return ctx.results.a.list
    end, { args = function(event, ctx)
      t.eq(ctx.results.a.list, { "changed" })
      return { list = { event.data.list[1] } }
    end }),
    step("c", function(args) return args.text end),
  }, json.encode { list = { "first" }, text = long })
  t.eq(json.decode(seen.rows[5][4].args), { list = { "first" }, text = long })
end)

t.test("steps wait for the disk, and others go on meanwhile", function()
  local others = 0
  local worker = task.spawn(function()
    repeat
      others = others + 1
    until not task.sleep "0ms"
  end)
  both({ step("a", function() return 1 end), step("b", function() return 2 end) }, '{"x":1}')
  worker:kill()
  t.ok(others > 1, "nobody else had a turn")
end)
