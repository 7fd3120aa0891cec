--- Observers, strategy and factory: handlers made of handlers, and how they nest.
local chain = require "sipeat.chain"
local factory = require "sipeat.factory"
local failure = require "sipeat.failure"
local observers = require "sipeat.observers"
local strategy = require "sipeat.strategy"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local event = { id = "e1", type = "x", data = { n = 1 } }
local declined = failure.permanent("declined", "DECLINED")
local reset = failure.transient("reset", "ECONNRESET")

local function flow(attempts)
  local memory, attempt = {}, 0
  return function(handler)
    attempt = attempt + 1
    return handler(event, {
      id = "e1", attempt = attempt, final = attempt >= (attempts or 1), memory = memory,
    })
  end
end

-- A handler that counts its calls and answers each of `...` in turn, the last one for ever.
local function answering(...)
  local answers, self = table.pack(...), { calls = 0 }
  return setmetatable(self, {
    __call = function()
      self.calls = self.calls + 1
      local answer = answers[math.min(self.calls, answers.n)]
      if failure.is(answer) then
        return nil, answer
      end
      return answer
    end,
  })
end

t.test("observers all run, side by side, and give results by name", function()
  local order, gate = {}, task.channel(1)
  local handler = observers {
    waits = function()
      gate:recv()
      order[#order + 1] = "waits"
      return 1
    end,
    opens = function()
      order[#order + 1] = "opens"
      gate:send(true)
      return 2
    end,
    { "listed", function(e) return e.data.n + 2 end },
  }
  t.eq(handler(event), { waits = 1, opens = 2, listed = 3 })
  t.eq(order, { "opens", "waits" })
end)

t.test("one failure leaves the others alone and is named", function()
  local good = answering "fine"
  local handler = observers {
    crm = answering(reset),
    mail = function() error "no template" end,
    sales = good,
  }
  local result, why = handler(event)
  t.eq(result, nil)
  t.eq(good.calls, 1)
  t.has(why.message, "2 of 3 observers failed: crm: reset; mail: ")
  t.has(why.message, "no template")
  t.eq({ why.code, why.failures.crm.code, why.failures.mail.kind },
    { "OBSERVERS_FAILED", "ECONNRESET", "bug" })
end)

t.test("a retry runs only those that are not done, and never what failed for good", function()
  local run = flow(4)
  local done, flaky, never = answering "a", answering(reset, reset, "b"), answering(declined)
  local handler = observers { done = done, flaky = flaky, never = never }
  local _, first = run(handler)
  t.eq(first.kind, "transient")
  run(handler)
  local _, third = run(handler)
  t.eq({ done.calls, flaky.calls, never.calls }, { 1, 3, 1 })
  t.eq({ third.kind, third.code, third.message },
    { "permanent", "DECLINED", "1 of 3 observers failed: never: declined" })
end)

t.test("results of earlier attempts are kept", function()
  local run = flow(2)
  local handler = observers { a = answering({ id = 7 }), b = answering(reset, "b") }
  run(handler)
  t.eq(run(handler), { a = { id = 7 }, b = "b" })
end)

t.test("an observer that is not required may fail, one with retry tries by itself", function()
  local optional, stubborn = answering(reset), answering(reset, reset, "ok")
  local handler = observers {
    optional = { optional, required = false },
    stubborn = { stubborn, retry = { attempts = 3, backoff = { "1ms" } } },
    { "listed", answering(declined), required = false },
  }
  t.eq(handler(event), { stubborn = "ok" })
  t.eq({ optional.calls, stubborn.calls }, { 1, 3 })
end)

t.test("an observer that takes too long is stopped", function()
  local handler = observers {
    slow = { function() task.sleep "60s" end, timeout = "5ms" }, quick = answering "ok",
  }
  local _, why = handler(event)
  t.eq({ why.kind, why.code }, { "timeout", "ETIMEDOUT" })
end)

t.test("each observer has a key of its own, and is final only at its own last attempt", function()
  local seen, run = {}, flow(1)
  run(observers {
    a = { function(_, ctx)
      seen[#seen + 1] = { ctx.key, ctx.final }
      return nil, "again"
    end, retry = { attempts = 2, backoff = { "1ms" } } },
  })
  t.eq(seen, { { "e1:a", false }, { "e1:a", true } })
end)

t.test("a chain among observers is undone only when its observer gives up", function()
  local log, run = {}, flow(1)
  local tries = 0
  run(observers {
    drink = { chain "drink" {
      { "a", run = function() log[#log + 1] = "a" end, effect = "local",
        undo = function() log[#log + 1] = "undo a" end },
      { "b", effect = "local", run = function()
        tries = tries + 1
        log[#log + 1] = "b"
        return nil, reset
      end },
    }, retry = { attempts = 2, backoff = { "1ms" } } },
  })
  t.eq(log, { "a", "b", "b", "undo a" })
end)

t.test("observers that are stopped stop what they started and give no verdict", function()
  local unwound, verdict = 0, nil
  local function sleeper()
    local ok, message, code = task.sleep "60s"
    unwound = unwound + 1
    return ok, message, code
  end
  local handler = observers { a = sleeper, b = sleeper }
  local running = task.spawn(function()
    verdict = table.pack(handler(event))
  end)
  task.sleep "5ms"
  running:kill()
  running:join()
  t.eq(unwound, 2)
  t.eq({ verdict[1], verdict[2].kind }, { nil, "cancelled" })
end)

t.test("an unknown outcome among the failures is not hidden", function()
  local handler = observers { a = answering(failure.permanent("?", "UNKNOWN_OUTCOME")),
    b = answering(declined) }
  t.eq(select(2, handler(event)).code, "UNKNOWN_OUTCOME")
end)

t.test("a chain in an observer that is not required is undone by itself", function()
  local log = {}
  local handler = observers {
    sale = { chain "sale" {
      { "pay", effect = "idempotent", run = function() return true end,
        undo = function() log[#log + 1] = "refund" end },
      { "vend", effect = "local", run = function() return nil, "busy", "BUSY" end },
    }, required = false },
    fine = function() return true end,
  }
  local ctx = { id = "e1", attempt = 1, final = false, memory = {} }
  t.eq(handler({ id = "e1" }, ctx), { fine = true })
  t.eq(log, { "refund" })
end)

t.test("doubt of an observer that is not required is a failure all the same", function()
  local handler = observers {
    sale = { function()
      return nil, failure.permanent("nobody knows", "UNKNOWN_OUTCOME")
    end, required = false },
    fine = function() return true end,
  }
  local _, why = handler({ id = "e1" })
  t.eq({ why.code, why.kind }, { "UNKNOWN_OUTCOME", "permanent" })
end)

t.test("wrong observers are mistakes at load, at the script's line", function()
  for _, case in ipairs {
    { nil, "a table of handlers by name is needed" }, { {}, "a table of handlers" },
    { { a = 5 }, "a: the handler: expected handler, got 5" },
    { { a = {} }, "a: the handler is required" },
    { { { "a", 5 } }, "a: the handler: expected handler" },
    { { { "a" } }, "a: the handler is required" },
    { { print }, 'entry 1: expected { "name", handler, … }' },
    { { { "a", print }, a = print }, "a is named twice" },
    { { a = { print, requierd = false } }, "did you mean required?" },
    { { a = { print, retry = { attempts = 0 } } }, "must be at least 1" },
    { { a = { print, retry = { backoff = { "soon" } } } }, "option retry: backoff" },
    { { { "a", print, retry = { backoff = { "soon" } } } }, "option retry: backoff" },
  } do
    local message = t.fails(function()
      local handler = observers(case[1])
      return handler
    end, case[2])
    t.has(message, "patterns_test.lua:")
  end
end)

t.test("a strategy runs the chosen handler and only that", function()
  local small, big, other = answering "small", answering "big", answering "other"
  local handler = strategy(function(e)
    return e.size
  end, { small = small, big = big, default = other })
  t.eq(handler { id = "1", size = "small" }, "small")
  t.eq(handler { id = "2", size = "big" }, "big")
  t.eq(handler { id = "3", size = "huge" }, "other")
  t.eq(handler { id = "4" }, "other")
  t.eq({ small.calls, big.calls, other.calls }, { 1, 1, 2 })
end)

t.test("an unknown strategy without default is a permanent failure that names the choices",
  function()
  local handler = strategy(function(e)
    return e.size
  end, { small = print, big = print })
  for size, shown in pairs { huge = '"huge"', [5] = "5" } do
    local _, why = handler { id = "1", size = size }
    t.eq({ why.kind, why.code }, { "permanent", "UNKNOWN_STRATEGY" })
    t.eq(why.message, ("no strategy %s (there are: big, small)"):format(shown))
  end
  t.has(select(2, handler { id = "1" }).message, "no strategy nil")
end)

t.test("a choice that fails is a failure, and is made again", function()
  local run, tries = flow(3), 0
  local handler = strategy(function()
    tries = tries + 1
    if tries == 1 then
      return nil, "no answer", "ECONNRESET"
    elseif tries == 2 then
      return declined
    end
    return "a"
  end, { a = answering "done" })
  t.eq({ run(handler) }, { nil, "no answer", "ECONNRESET" })
  t.eq({ run(handler) }, { nil, declined })
  t.eq(run(handler), "done")
end)

t.test("a retry takes the branch that was chosen first", function()
  local run, choices = flow(2), { "a", "b" }
  local a, b = answering(reset, "a"), answering "b"
  local handler = strategy(function()
    return table.remove(choices, 1)
  end, { a = a, b = b })
  run(handler)
  t.eq(run(handler), "a")
  t.eq({ a.calls, b.calls }, { 2, 0 })
end)

t.test("a wrong strategy is a mistake at load", function()
  t.fails(strategy, "the first argument, which selects", 5, { a = print })
  t.fails(strategy, "a table of handlers by name", print, {})
  t.fails(strategy, "a: expected a function, got 5", print, { a = 5 })
end)

t.test("a factory makes a handler for each event and runs it", function()
  local made = 0
  local handler = factory(function(e, ctx)
    made = made + 1
    return function(_, inner)
      t.ok(inner == ctx)
      return e.data.n + made
    end
  end)
  t.eq(handler(event, { id = "e1" }), 2)
  t.eq(handler(event, { id = "e1" }), 3)
end)

t.test("a factory that fails or makes no handler fails", function()
  for _, case in ipairs {
    { function() return nil, "no machine", "BAD_DATA" end, "no machine" },
    { function() return declined end, "declined" },
    { function() return 5 end, "made 5 instead of a handler" },
    { function() end, "made nil instead of a handler" },
  } do
    local ok, why = failure.catch(factory(case[1]), event, {})
    t.eq(ok, nil)
    t.has(why.message, case[2])
  end
  t.fails(factory, "expected a function, got nil")
  t.fails(factory, "expected a function, got 5", 5)
end)

t.test("a factory may build a chain, which a retry goes on with", function()
  local run, log = flow(2), {}
  local handler = factory(function(e)
    local list = { { "a", effect = "local", run = function() log[#log + 1] = "a" end } }
    if e.data.n > 0 then
      list[2] = { "pay", effect = "idempotent", run = function()
        log[#log + 1] = "pay"
        if #log == 2 then
          return nil, reset
        end
        return "paid"
      end }
    end
    return chain "drink"(list)
  end)
  run(handler)
  t.eq(run(handler).pay, "paid")
  t.eq(log, { "a", "pay", "pay" })
end)
