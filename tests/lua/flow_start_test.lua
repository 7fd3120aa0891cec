-- flow_start_test.lua - the first run of a handler: which events go to it at once, and which
-- results Lua has to look at.
local core = require "sipeat.core.flow"
local failure = require "sipeat.failure"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local TICKET = 7

-- What start answered, and which of its functions were called with what.
local function run(handlers, event, options)
  local o = options or {}
  local calls = {}
  local ctx = o.ctx or { TICKET }
  local start = core.starter(handlers, function(...)
    calls.full = { ... }
    return "full", 2
  end, function(ticket, of, ok, first, second, third)
    t.eq(ticket, TICKET)
    t.ok(rawequal(of, ctx))
    calls.ended = { ok, first, second, third, n = 4 }
    return "ended", 2
  end, failure.caught, o.lanes)
  return table.pack(start(TICKET, event, ctx)), calls, ctx
end

local function answers(...)
  local results = table.pack(...)
  return { a = function() return table.unpack(results, 1, results.n) end }
end

t.test("a handler that ends well is all that runs", function()
  for _, handlers in ipairs {
    answers(), answers(nil), answers(nil, nil, "X"), answers(true), answers(false), answers(0, "n"),
    answers("text", "more"), answers(print), { a = setmetatable({}, { __call = function() end }) },
  } do
    local results, calls = run(handlers, { type = "a" })
    t.eq(results, { true, n = 1 })
    t.eq(calls, {})
  end
end)

t.test("it gets the event and the ctx, and may wait", function()
  local seen
  local event = { type = "a" }
  local results, calls, ctx = run({ a = function(...)
    seen = table.pack(...)
    task.sleep "1ms"
  end }, event)
  t.eq(results, { true, n = 1 })
  t.eq(calls, {})
  t.ok(seen.n == 2 and rawequal(seen[1], event) and rawequal(seen[2], ctx))
end)

t.test("results that may be a failure are looked at", function()
  local refused = failure.permanent("no", "NO")
  for _, case in ipairs {
    { answers(nil, "why", "CODE"), { true, nil, "why", "CODE", n = 4 } },
    { answers(false, "why"), { true, false, "why", nil, n = 4 } },
    { answers(refused), { true, refused, nil, nil, n = 4 } },
    { answers({ 1 }, 2, 3, 4), { true, { 1 }, 2, 3, n = 4 } },
  } do
    local results, calls = run(case[1], { type = "a" })
    t.eq(results, { "ended", 2, n = 2 })
    t.eq(calls.ended, case[2])
  end
end)

t.test("a ctx with a job is not forgotten", function()
  local results, calls = run({ a = function(_, ctx) ctx[1] = nil return 5 end },
    { type = "a" })
  t.eq(results, { "ended", 2, n = 2 })
  t.eq(calls.ended, { true, 5, nil, nil, n = 4 })
end)

t.test("what is raised arrives as a failure, also after a wait", function()
  for _, wait in ipairs { false, true } do
    local results, calls = run({ a = function()
      if wait then task.sleep "1ms" end
      error "bang"
    end }, { type = "a" })
    t.eq(results, { "ended", 2, n = 2 })
    t.eq(calls.ended[1], false)
    t.ok(failure.is(calls.ended[2]))
    t.has(calls.ended[2].message, "bang")
    t.has(calls.ended[2].traceback, "flow_start_test.lua")
  end
end)

t.test("all other events are Lua's", function()
  local never = { a = function() error "not this one" end }
  for _, case in ipairs {
    { never, nil }, { never, { type = "b" } }, { never, {} },
    { never, { type = "a" }, { lanes = { count = 1 } } },
  } do
    local results, calls, ctx = run(case[1], case[2], case[3])
    t.eq(results, { "full", 2, n = 2 })
    t.ok(rawequal(calls.full[2], case[2]) and rawequal(calls.full[3], ctx))
  end
  t.eq(run(answers(), { type = "a" }, { lanes = { count = 0 } }), { true, n = 1 })
end)
