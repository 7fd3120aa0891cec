--- Chains and commands: the step contract, with a world that counts every effect.
local chain = require "sipeat.chain"
local commands = require "sipeat.commands"
local context = require "sipeat.context"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local observers = require "sipeat.observers"
local steps = require "sipeat.steps"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local QUICK = { attempts = 3, backoff = { "1ms" } }

-- A world that writes down what was done to it, and a flow's view of one event.
local function world()
  local w = { log = {} }
  function w.note(text)
    w.log[#w.log + 1] = text
  end
  --- A run that notes its name and answers each of `answers` in turn, the last one for ever.
  function w.run(name, ...)
    local answers, n = table.pack(...), 0
    return function(args, ctx)
      n = math.min(n + 1, math.max(answers.n, 1))
      w.note(name)
      local answer = answers[n]
      if type(answer) == "function" then
        return answer(args, ctx)
      elseif failure.is(answer) then
        return nil, answer
      end
      return answer
    end
  end
  return w
end

local function flow(attempts)
  local memory, attempt = {}, 0
  return function(handler, event)
    attempt = attempt + 1
    return handler(event or { id = "e1", type = "x", data = { n = 1 } }, {
      id = "e1", attempt = attempt, final = attempt >= (attempts or 1), memory = memory,
    })
  end
end

local function step(name, run, more)
  local s = { name, run = run, effect = "idempotent" }
  for key, value in pairs(more or {}) do
    s[key] = value
  end
  return s
end

local declined = failure.permanent("declined", "DECLINED")
local reset = failure.transient("connection reset", "ECONNRESET")
local refused = failure.of("connection refused", "ECONNREFUSED")

t.test("steps run in order and see arguments, keys and earlier results", function()
  local seen = {}
  local handler = chain "drink" {
    { "first", effect = "local", args = function(event, ctx)
      return { n = event.data.n, key = ctx.key }
    end, run = function(args, ctx)
      seen[1] = { args, ctx.key, ctx.step }
      return { value = args.n + 1 }
    end },
    { "second", effect = "repeatable", args = function(_, ctx)
      return { from = ctx.results.first.value }
    end, run = function(args, ctx)
      seen[2] = { args, ctx.key, ctx.results.first }
    end },
    { "third", effect = "idempotent", key = function(event) return "order-" .. event.data.n end,
      run = function(args, ctx)
        seen[3] = { args, ctx.key }
        return "done"
      end },
  }
  local results = handler({ id = "e1", data = { n = 1 } })
  t.eq(results, { first = { value = 2 }, third = "done" })
  t.eq(seen[1], { { n = 1, key = "e1:drink:first" }, "e1:drink:first", "first" })
  t.eq(seen[2], { { from = 2 }, "e1:drink:second", { value = 2 } })
  t.eq(seen[3], { { n = 1 }, "order-1" })
end)

t.test("a proven failure undoes the earlier steps in reverse with their own data", function()
  local w = world()
  local handler = chain "drink" {
    step("a", w.run("a", { id = 7 }), { args = function() return { x = 1 } end,
      undo = function(args, result, ctx)
        w.note(("undo a %d %d %s"):format(args.x, result.id, ctx.key))
      end }),
    step("b", w.run("b", false), { effect = "local", undo = function(_, result)
      w.note("undo b " .. tostring(result))
      return true
    end }),
    step("c", w.run("c"), { effect = "repeatable" }),
    step("d", w.run("d", declined), { undo = w.run "undo d" }),
    step("e", w.run "e"),
  }
  local result, why = handler({ id = "e1", data = {} })
  t.eq(result, nil)
  t.eq(w.log, { "a", "b", "c", "d", "undo b false", "undo a 1 7 e1:drink:a:undo" })
  t.eq({ why.code, why.kind, why.step, why.chain }, { "DECLINED", "permanent", "d", "drink" })
  t.eq(why.undone, { "b", "a" })
  t.has(why.message, "chain drink: step d: declined (undone: b, a; has no undo: c)")
end)

t.test("a retry goes on where the chain stands, with the same arguments", function()
  local w, run, made = world(), flow(3), 0
  local handler = chain "drink" {
    step("a", w.run("a", { id = 7 })),
    step("b", w.run("b", reset, reset, "fine"), { args = function(_, ctx)
      made = made + 1
      return { made = made, a = ctx.results.a.id }
    end }),
  }
  local _, why = run(handler)
  t.eq({ why.kind, why.code, why.step }, { "transient", "ECONNRESET", "b" })
  t.eq(why.message, "chain drink: step b: connection reset")
  run(handler)
  t.eq(run(handler), { a = { id = 7 }, b = "fine" })
  t.eq(w.log, { "a", "b", "b", "b" })
  t.eq(made, 1)
  t.eq(run(handler), { a = { id = 7 }, b = "fine" })
  t.eq(#w.log, 4)
end)

t.test("the last attempt undoes, once, and a later one answers the same", function()
  local w, run = world(), flow(2)
  local handler = chain "drink" {
    step("a", w.run "a", { undo = w.run "undo a" }),
    step("b", w.run("b", refused)),
  }
  run(handler)
  t.eq(w.log, { "a", "b" })
  local _, why = run(handler)
  local _, again = run(handler)
  t.eq(w.log, { "a", "b", "b", "undo a" })
  t.ok(why == again)
end)

-- What the undo of an idempotent step may rely on: the first attempt may have taken effect.
local IN_DOUBT = {
  { "undo without a result", { undo = true }, { "a", "b", "b", "undo b nil", "undo a" },
    "ECONNRESET" },
  { "nothing to undo", {}, { "a", "b", "b", "undo a" }, "ECONNRESET" },
  { "reconcile: it happened", { undo = true, reconcile = "done" }, { "a", "b", "b", "ask", "c" } },
  { "reconcile: it did not", { undo = true, reconcile = "not_done" },
    { "a", "b", "b", "ask", "undo a" }, "ECONNRESET" },
  { "reconcile: nobody knows", { undo = true, reconcile = "unknown" }, { "a", "b", "b", "ask" },
    "UNKNOWN_OUTCOME" },
}

t.test("an idempotent step that may have taken effect is settled before the rest is undone",
  function()
  for _, case in ipairs(IN_DOUBT) do
    local w, run = world(), flow(2)
    local more = {}
    if case[2].undo then
      more.undo = function(_, result)
        w.note("undo b " .. tostring(result))
      end
    end
    if case[2].reconcile then
      more.reconcile = function()
        w.note "ask"
        return case[2].reconcile, { id = 9 }
      end
    end
    local handler = chain "drink" {
      step("a", w.run "a", { undo = w.run "undo a" }),
      step("b", w.run("b", reset), more),
      step("c", w.run "c"),
    }
    run(handler)
    local result, why = run(handler)
    t.eq(w.log, case[3], case[1])
    t.eq(why and why.code, case[4], case[1])
    t.eq(result and result.b, not case[4] and { id = 9 } or nil, case[1])
  end
end)

t.test("a refusal with the same key ends the doubt about earlier attempts", function()
  local w, run = world(), flow(3)
  local handler = chain "drink" {
    step("b", w.run("b", reset, declined), { undo = w.run "undo b" }),
  }
  run(handler)
  local _, why = run(handler)
  t.eq(why.code, "DECLINED")
  t.eq(w.log, { "b", "b" })
end)

-- at_most_once: how a run ends, what reconcile says -> commands given, end of the chain
local MOTOR = {
  { "timed out, and did happen", reset, "done", { "pay", "vend", "ask", "mail" } },
  { "timed out, and did not happen", reset, "not_done", { "pay", "vend", "ask", "refund" },
    "ECONNRESET" },
  { "timed out, and nobody knows", reset, "unknown", { "pay", "vend", "ask" }, "UNKNOWN_OUTCOME" },
  { "reconcile answers nonsense", reset, "maybe", { "pay", "vend", "ask" }, "UNKNOWN_OUTCOME" },
  { "no reconcile", reset, nil, { "pay", "vend" }, "UNKNOWN_OUTCOME" },
  { "proven by its failure", declined, "unknown", { "pay", "vend", "refund" }, "DECLINED" },
  { "never sent", refused, "unknown", { "pay", "vend", "refund" }, "ECONNREFUSED" },
  { "an answer that cannot be read", failure.of("not JSON", "BAD_DATA"), nil, { "pay", "vend" },
    "UNKNOWN_OUTCOME" },
  { "a bug in the script", function() error "oops" end, nil, { "pay", "vend" }, "UNKNOWN_OUTCOME" },
}

t.test("an at_most_once step is commanded once, and what is in doubt is parked", function()
  for _, case in ipairs(MOTOR) do
    local w, run = world(), flow(1)
    local handler = chain "drink" {
      step("pay", w.run "pay", { undo = w.run "refund" }),
      step("vend", w.run("vend", case[2]), {
        effect = "at_most_once",
        reconcile = case[3] and function()
          w.note "ask"
          return case[3], { slot = 1 }
        end or nil,
      }),
      step("mail", w.run "mail", { effect = "repeatable" }),
    }
    local result, why = run(handler)
    t.eq(w.log, case[4], case[1])
    t.eq(why and why.code, case[5], case[1])
    if case[5] == "UNKNOWN_OUTCOME" then
      t.eq({ why.kind, why.unknown, why.done }, { "permanent", { "vend" }, { "pay" } }, case[1])
      t.has(why.message, "parked: nothing was undone (done: pay)")
      run(handler) -- however often it is tried again
      t.eq(w.log, case[4], case[1])
    elseif not case[5] then
      t.eq(result.vend, { slot = 1 })
    end
  end
end)

t.test("asking that fails is repeated by the flow, commanding is not", function()
  local w, run = world(), flow(3)
  local answers = { function() return nil, "sensor offline", "ECONNRESET" end,
    function() error "sensor broken" end, function() return "done", "x" end }
  local handler = chain "drink" {
    step("vend", w.run("vend", reset), { effect = "at_most_once", reconcile = function()
      w.note "ask"
      return table.remove(answers, 1)()
    end }),
  }
  local _, why = run(handler)
  t.eq(why.kind, "transient")
  t.has(why.message, "asking whether it happened failed: sensor offline")
  run(handler)
  t.eq(run(handler), { vend = "x" })
  t.eq(w.log, { "vend", "ask", "ask", "ask" })
end)

t.test("asking that fails to the end parks the chain", function()
  local w, run = world(), flow(2)
  local handler = chain "drink" {
    step("pay", w.run "pay", { undo = w.run "refund" }),
    step("vend", w.run("vend", reset),
      { effect = "at_most_once", reconcile = w.run("ask", reset) }),
  }
  run(handler)
  local _, why = run(handler)
  t.eq(why.code, "UNKNOWN_OUTCOME")
  t.eq(w.log, { "pay", "vend", "ask", "ask" })
end)

t.test("an at_most_once step proven not done is commanded again by retry", function()
  local w, run = world(), flow(1)
  local handler = chain "drink" {
    step("vend", w.run("vend", reset, reset, "ok"), {
      effect = "at_most_once", retry = QUICK, reconcile = w.run("ask", "not_done"),
    }),
  }
  t.eq(run(handler), { vend = "ok" })
  t.eq(w.log, { "vend", "ask", "vend", "ask", "vend" })
end)

t.test("steps retry by their own plan, and not what is permanent", function()
  for _, case in ipairs {
    { { reset, reset, "ok" }, 3, true }, { { reset }, 3, false }, { { declined }, 1, false },
    { { function() error "bug" end, "ok" }, 2, true },
  } do
    local w = world()
    local handler = chain "x" { step("a", w.run("a", table.unpack(case[1])), { retry = QUICK }) }
    local result = handler({ id = "e1", data = {} })
    t.eq(#w.log, case[2])
    t.eq(result ~= nil, case[3])
  end
end)

t.test("a step that takes too long is stopped and its outcome is unknown", function()
  local closed = false
  local handler = chain "x" {
    step("slow", function()
      local guard <close> = setmetatable({}, { __close = function() closed = true end })
      task.sleep "60s"
      return guard and "late"
    end, { effect = "at_most_once", timeout = "5ms" }),
  }
  local _, why = handler({ id = "e1", data = {} })
  t.eq(why.code, "UNKNOWN_OUTCOME")
  t.has(why.message, "did not finish within 5ms")
  t.ok(closed)
end)

t.test("a step that is not required may fail", function()
  local w = world()
  local handler = chain "x" {
    step("a", w.run("a", reset), { required = false }),
    step("b", w.run("b", declined), { required = false, effect = "repeatable" }),
    step("c", w.run("c", 5)),
  }
  t.eq(handler({ id = "e1", data = {} }), { c = 5 })
  t.eq(w.log, { "a", "b", "c" })
end)

t.test("doubt about a step that is not required shows at the end", function()
  local w = world()
  local handler = chain "x" {
    step("a", w.run("a", reset), { required = false, effect = "at_most_once" }),
    step("b", w.run "b"),
  }
  local _, why = handler({ id = "e1", data = {} })
  t.eq({ why.code, why.step, why.unknown }, { "UNKNOWN_OUTCOME", "a", { "a" } })
  t.eq(w.log, { "a", "b" })
end)

t.test("a step can end the chain with a result", function()
  local w, run = world(), flow(2)
  local handler = chain "x" {
    step("a", w.run "a"),
    step("b", function()
      return steps.handled { free = true }
    end),
    step("c", w.run "c"),
  }
  t.eq(run(handler), { free = true })
  t.eq(run(handler), { free = true })
  t.eq(w.log, { "a" })
end)

t.test("after a point of no return nothing is undone", function()
  for _, case in ipairs {
    { { effect = "at_most_once" }, { "pay", "vend", "count" } },
    { { effect = "idempotent", point_of_no_return = true }, { "pay", "vend", "count" } },
    { { effect = "at_most_once", point_of_no_return = false },
      { "pay", "vend", "count", "refund" } },
  } do
    local w = world()
    local handler = chain "drink" {
      step("pay", w.run "pay", { undo = w.run "refund" }),
      step("vend", w.run "vend", case[1]),
      step("count", w.run("count", declined)),
    }
    local _, why = handler({ id = "e1", data = {} })
    t.eq(w.log, case[2])
    t.eq(why.message:find("past the point of no return vend", 1, true) ~= nil, #case[2] == 3)
    t.eq(why.kind, "permanent")
  end
end)

t.test("an undo that fails is tried again, then reported, and the others go on", function()
  local w = world()
  local handler = commands "setup" {
    undo_retry = QUICK,
    step("a", w.run "a", { undo = w.run("undo a", reset, true) }),
    step("b", w.run "b", { undo = w.run("undo b", reset) }),
    step("c", w.run "c", { undo = w.run("undo c", declined) }),
    step("d", w.run("d", refused)),
  }
  local _, why = handler({ id = "e1", data = {} })
  t.eq(w.log, { "a", "b", "c", "d", "undo c", "undo b", "undo b", "undo b", "undo a", "undo a" })
  t.eq({ why.undone, why.not_undone, why.kind }, { { "a" }, { "c", "b" }, "permanent" })
  t.has(why.message,
    "commands setup: step d: connection refused (undone: a; NOT undone: c (declined)")
end)

t.test("a chain that is stopped gives no verdict and goes on later", function()
  local w, memory = world(), {}
  local event = { id = "e1", data = {} }
  local function ctx()
    return { id = "e1", attempt = 1, final = true, memory = memory }
  end
  local asleep = true
  local handler = chain "x" {
    step("a", w.run "a", { undo = w.run "undo a" }),
    step("b", function()
      w.note "b"
      if asleep then
        local ok, message, code = task.sleep "60s"
        return ok, message, code
      end
      return "awake"
    end),
  }
  local verdict
  local running = task.spawn(function()
    verdict = table.pack(handler(event, ctx()))
  end)
  task.sleep "5ms"
  running:kill()
  running:join()
  t.eq({ verdict[1], verdict[2].kind }, { nil, "cancelled" })
  asleep = false
  t.eq(handler(event, ctx()).b, "awake")
  t.eq(w.log, { "a", "b", "b" })
end)

t.test("an at_most_once step that was stopped is asked about, not repeated", function()
  local w, memory = world(), {}
  local handler = chain "x" {
    step("vend", function()
      w.note "vend"
      return task.sleep "60s"
    end, { effect = "at_most_once", reconcile = w.run("ask", "done") }),
  }
  local running = task.spawn(handler, { id = "e1", data = {} }, { id = "e1", memory = memory })
  task.sleep "5ms"
  running:kill()
  running:join()
  t.ok(handler({ id = "e1", data = {} }, { id = "e1", memory = memory }))
  t.eq(w.log, { "vend", "ask" })
end)

t.test("an interrupted undo goes on where it stood", function()
  local w, memory, asleep = world(), {}, true
  local handler = chain "x" {
    step("a", w.run "a", { undo = function()
      w.note "undo a"
      if asleep then
        return task.sleep "60s"
      end
      return true
    end }),
    step("b", w.run "b", { undo = w.run "undo b" }),
    step("c", w.run("c", declined)),
  }
  local running = task.spawn(handler, { id = "e1", data = {} }, { id = "e1", memory = memory })
  task.sleep "5ms"
  running:kill()
  running:join()
  asleep = false
  local _, why = handler({ id = "e1", data = {} }, { id = "e1", memory = memory })
  t.eq(w.log, { "a", "b", "c", "undo b", "undo a", "undo a" })
  t.eq(why.undone, { "b", "a" })
end)

t.test("arguments are plain data, a copy for each run, and wrong ones fail before the effect",
  function()
  local w, run = world(), flow(2)
  local handler = chain "x" {
    step("a", function(args)
      w.note(args.list[1])
      args.list[1] = "spoiled"
      return nil, reset
    end, { args = function() return { list = { "fresh" } } end }),
  }
  run(handler)
  run(handler)
  t.eq(w.log, { "fresh", "fresh" })
  for _, case in ipairs {
    { function() return { client = print } end, "args is no plain data: client: a function" },
    { function() return { 1, nil, 3 } end, "holes" },
    { function() error "no slot" end, "no slot" },
    { function() return nil, "no price", "BAD_DATA" end, "no price" },
  } do
    local other = chain "x" { step("a", w.run "never",
      { args = case[1], effect = "at_most_once" }) }
    local _, why = other({ id = "e1", data = {} })
    t.has(why.message, case[2])
    t.ok(why.code ~= "UNKNOWN_OUTCOME")
  end
  t.eq(#w.log, 2)
end)

t.test("a result is kept as plain data", function()
  local undone
  local handler = chain "x" {
    step("a", function()
      return { status = 200, json = print, body = "\255", list = { 1, print, 3 }, n = 0 / 0 }
    end, { undo = function(_, result) undone = result end }),
    step("b", function(_, ctx)
      ctx.results.a.status = 500
      return nil, declined
    end),
  }
  handler({ id = "e1", data = {} })
  t.eq(undone, { status = 200, list = { 1, json.null, 3 } })
end)

t.test("a key that fails or is none fails before the effect", function()
  for _,
  key in ipairs { function() error "no id" end, function() return 5 end,
    function() return "" end } do
    local w = world()
    local handler = chain "x" {
      step("a", w.run "a", { undo = w.run "undo a" }), step("b", w.run "b", { key = key }),
    }
    local result = handler({ id = "e1", data = {} })
    t.eq(result, nil)
    t.eq(w.log, { "a", "undo a" })
  end
end)

t.test("a chain whose steps changed under an event is parked", function()
  local w, run = world(), flow(3)
  run(chain "x" { step("a", w.run "a", { undo = w.run "undo a" }), step("b", w.run("b", reset)) })
  local _, why = run(chain "x" { step("b", w.run "b") })
  t.eq(why.code, "CHAIN_CHANGED")
  t.eq(w.log, { "a", "b" })
end)

t.test("a chain in a chain has keys and memory of its own", function()
  local keys, run = {}, flow(2)
  local function inner(name)
    return chain(name) { step("a", function(_, ctx)
      keys[#keys + 1] = ctx.key
      return name
    end) }
  end
  local one, two = inner "one", inner "two"
  local event = { id = "e1", data = {} }
  local outer = chain "outer" {
    step("x", function(_, ctx) return one(event, ctx) end),
    step("y", function(_, ctx) return two(event, ctx) end),
    step("z", function(_, ctx) return one(event, ctx) end),
  }
  t.eq(run(outer).z, { a = "one" })
  t.eq(keys, { "e1:outer:x:one:a", "e1:outer:y:two:a", "e1:outer:z:one:a" })
end)

t.test("methods of the flow's ctx get the flow's ctx", function()
  local called
  local ctx = { id = "e1", memory = {}, emit = function(self, topic) called = { self, topic } end }
  chain "x" { step("a", function(_, c) c:emit "t" end) }({ id = "e1", data = {} }, ctx)
  t.ok(called[1] == ctx)
  t.eq(called[2], "t")
end)

local WRONG = {
  { { { run = print, effect = "local" } }, "step 1: option [1] is required" },
  { { { "a b", run = print, effect = "local" } }, "letters, digits" },
  { { { "a", effect = "local" } }, "step a: option run is required" },
  { { { "a", run = print } }, 'effect is required (one of "local", "idempotent"' },
  { { { "a", run = print, effect = "once" } }, "must be one of" },
  { { { "a", run = print, effect = "local", undoo = print } },
    "unknown option undoo (did you mean undo?)" },
  { { { "a", run = print, effect = "local", reconcile = print } },
    "reconcile is for at_most_once" },
  { { { "a", run = print, effect = "at_most_once", retry = {} } }, "give it a reconcile" },
  { { { "a", run = print, effect = "local", timeout = 5 } }, "a duration is a string" },
  { { { "a", run = print, effect = "local", retry = { backoff = { "x" } } } }, "backoff" },
  { { { "a", run = 5, effect = "local" } }, "expected handler, got 5" },
  { { 5 }, "expected a table, got 5" },
  { {}, "a list of steps is needed" },
  { { { "a", run = print, effect = "local" }, { "a", run = print, effect = "local" } },
    "two steps have that name" },
  { { { "a", run = print, effect = "local" }, undo_retry = { tries = 1 } }, "undo_retry" },
  { { { "a", run = print, effect = "local" }, options = {} }, "unknown option options" },
}

t.test("wrong steps are mistakes at load, at the script's line", function()
  for _, case in ipairs(WRONG) do
    local message = t.fails(function()
      local handler = chain "x"(case[1])
      return handler
    end, case[2])
    t.has(message, "steps_test.lua:")
    t.has(message, 'sipeat.chain "x": ')
  end
  t.fails(chain, "a name of letters", "a b")
  t.fails(chain, "a name of letters")
  t.fails(commands, "sipeat.commands")
end)

-- What a journal gives back of a run that was interrupted in step b.
local function interrupted(more)
  local record = { status = "intent", key = "k", args = "{}" }
  for key, value in pairs(more or {}) do
    record[key] = value
  end
  return { ["chain:drink"] = { state = { steps = { b = record } } } }
end

local function go_on(handler, memory, more)
  local ctx = { id = "e1", attempt = 2, final = true, memory = memory }
  for key, value in pairs(more or {}) do
    ctx[key] = value
  end
  return handler({ id = "e1", data = {} }, ctx)
end

t.test("an idempotent step that was interrupted may have taken effect: it is undone", function()
  local w = world()
  local _, why = go_on(chain "drink" {
    step("b", w.run("b", refused), { undo = w.run "undo b" }),
  }, interrupted())
  t.eq(w.log, { "b", "undo b" })
  t.eq(why.undone, { "b" })
end)

t.test("a key past its lifetime is not used again before reconcile says that it may", function()
  local old = task.now_ms() - 23 * 3600 * 1000
  local cases = {
    { old, "done", { "ask" }, nil },
    { old, "not_done", { "ask", "b" }, nil },
    { old, "unknown", { "ask" }, "UNKNOWN_OUTCOME" },
    { old, nil, {}, "UNKNOWN_OUTCOME" },
    { old + 60000, "done", { "b" }, nil },
  }
  for i, case in ipairs(cases) do
    local w, memory = world(), interrupted { begun_at = case[1] }
    local _, why = go_on(chain "drink" {
      step("b", w.run "b", { lifetime = "23h", reconcile = case[2] and w.run("ask", case[2]) }),
    }, memory)
    t.eq(w.log, case[3], i)
    t.eq(why and why.code, case[4], i)
  end
  t.fails(chain "x", "lifetime is that of an idempotency key; this effect is local", {
    { "a", effect = "local", run = print, lifetime = "1h" },
  })
end)

t.test("a key begins to age with the first run that may have used it", function()
  local w, ages = world(), {}
  local journal = { keep = function(_, phase, _, record)
    ages[#ages + 1] = { phase, record.begun_at ~= nil }
    return true
  end }
  go_on(chain "drink" {
    step("b", w.run("b", refused, reset, 7), { lifetime = "23h", retry = QUICK }),
  }, {}, { run = journal })
  t.eq(ages, {
    { "intent", true }, { "outcome", false }, { "intent", true }, { "outcome", true },
    { "intent", true }, { "outcome", true },
  })
end)

t.test("each attempt of an undo is announced, and a refused one is not made", function()
  local w, undo_intents = world(), 0
  local journal = { keep = function(_, phase)
    undo_intents = undo_intents + (phase == "undo_intent" and 1 or 0)
    if undo_intents == 2 then
      return nil, failure.new("the run belongs to another host now", "JOURNAL_FENCED", "cancelled")
    end
    return true
  end }
  local _, why = go_on(chain "drink" {
    undo_retry = QUICK,
    step("a", w.run "a", { undo = w.run("undo a", reset) }),
    step("b", w.run("b", declined)),
  }, {}, { run = journal })
  t.eq(w.log, { "a", "b", "undo a" })
  t.eq(why.code, "JOURNAL_FENCED")
end)

t.test("a journal may have of a chain's state what is of no step", function()
  local w = world()
  t.eq(go_on(chain "drink" { step("b", w.run("b", 7)) }, { ["chain:drink"] = { state = {} } }),
    { b = 7 })
end)

t.test("a chain that was stopped on its way is found, one that ended is not", function()
  local w, memory = world(), {}
  local handler = observers {
    sale = { chain "drink" {
      step("a", w.run "a"),
      step("b", function() return task.sleep "1h" end),
    }, timeout = "5ms" },
    fine = chain "other" { step("a", w.run "a") },
    declined = chain "third" { step("a", w.run("a", declined)) },
  }
  local ctx = { id = "e1", memory = memory, final = true }
  handler({ id = "e1", data = {} }, ctx)
  t.eq(context.unfinished(memory), "observer:sale/chain:drink")
  memory["observer:sale"] = nil
  t.eq(context.unfinished(memory), nil)
  memory["observer:x"] = { ["chain:y"] = { state = { steps = { a = { status = "done" } } } } }
  t.eq(context.unfinished(memory), "observer:x/chain:y")
  memory.observers.x = { done = true }
  t.eq(context.unfinished(memory), nil)
  local why = failure.permanent("nobody knows", "UNKNOWN_OUTCOME")
  memory["observer:x"]["chain:y"].state.failure = why
  t.eq(context.unfinished(memory), "observer:x/chain:y", "whatever its handler made of it")
end)
