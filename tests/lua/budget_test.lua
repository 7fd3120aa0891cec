--- Budgets of events: what is over fails alone, whatever it does to go on.
local sipeat = require "sipeat"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

t.broker()

local function forever()
  while true do
  end
end

local function grow()
  local list = {}
  while true do
    list[#list + 1] = ("x"):rep(1000) .. #list
  end
end

local function close_with(f)
  return setmetatable({}, { __close = f })
end

local kept -- a coroutine that outlives the event that resumed it

-- name -> { code, handler }: each would run for ever, or until memory is out.
local POISON = {
  ["a loop"] = { "OVER_BUDGET", forever },
  ["a loop around pcall"] = { "OVER_BUDGET", function()
    while true do
      pcall(forever)
    end
  end },
  ["a loop in an error handler"] = { "OVER_BUDGET", function()
    while true do
      xpcall(error, forever)
    end
  end },
  ["a metamethod"] = { "OVER_BUDGET", function()
    local object = setmetatable({}, { __index = forever })
    while true do
      pcall(function()
        return object.field
      end)
    end
  end },
  ["a callback of gsub"] = { "OVER_BUDGET", function()
    while true do
      pcall(string.gsub, ("a"):rep(100), "a", forever)
    end
  end },
  ["a comparator"] = { "OVER_BUDGET", function()
    while true do
      pcall(table.sort, { 3, 2, 1, 5, 4 }, forever)
    end
  end },
  ["a wrapped coroutine"] = { "OVER_BUDGET", function()
    while true do
      pcall(coroutine.wrap(forever))
    end
  end },
  ["coroutines in coroutines"] = { "OVER_BUDGET", function()
    local function nest(depth)
      if depth == 0 then
        forever()
      end
      while true do
        coroutine.resume(coroutine.create(nest), depth - 1)
      end
    end
    nest(5)
  end },
  ["a coroutine that yields"] = { "OVER_BUDGET", function()
    kept = kept or coroutine.wrap(function()
      while true do
        coroutine.yield()
      end
    end)
    while true do
      kept()
    end
  end },
  ["close variables"] = { "OVER_BUDGET", function()
    while true do
      pcall(function()
        local _ <close> = close_with(forever)
        error "x"
      end)
    end
  end },
  ["a close variable of a closed coroutine"] = { "OVER_BUDGET", function()
    local co = coroutine.create(function()
      local _ <close> = close_with(forever)
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)
  end },
  ["a close variable of what died"] = { "OVER_BUDGET", function()
    local _ <close> = close_with(forever)
    error "x"
  end },
  ["a loop in a task of its own"] = { "OVER_BUDGET", function()
    task.spawn(forever):join()
  end },
  ["the error is eaten"] = { "OVER_BUDGET", function()
    pcall(forever)
    return true
  end },
  ["memory"] = { "OVER_MEMORY", grow },
  ["memory around pcall"] = { "OVER_MEMORY", function()
    while true do
      pcall(grow)
    end
  end },
  ["memory that is eaten"] = { "OVER_MEMORY", function()
    pcall(grow)
    return true
  end },
  ["garbage"] = { "OVER_MEMORY", function()
    for i = 1, 1000000 do
      local _ = ("x"):rep(1000) .. i
    end
  end },
  ["one huge string"] = { "OVER_MEMORY", function()
    pcall(string.rep, "x", 1 << 29)
  end },
  ["a C function that allocates"] = { "OVER_MEMORY", function()
    local parts = {}
    for i = 1, 100 do
      parts[i] = ("x"):rep(20000)
    end
    for _ = 1, 100 do
      pcall(table.concat, parts)
    end
  end },
  ["a task that waits on"] = { "OVER_BUDGET", function()
    pcall(forever)
    while true do
      pcall(task.sleep, "1h")
    end
  end },
}

local dead, count = {}, 0

local function declare(timeout)
  return function()
    local on = {
      fine = function()
        count = count + 1
      end,
    }
    for name, poison in pairs(POISON) do
      on[name] = poison[2]
    end
    sipeat.flow {
      topic = "budgets", group = "budgets", on = on, timeout = timeout, dead_letter = false,
      budget = { instructions = 1000000, memory = "4mb", time = "5s" },
      retry = { attempts = 1, backoff = { "1ms", "1ms" } },
      on_dead = function(event, why)
        dead[event.type] = { why.code, why.kind, why.message }
      end,
    }
  end
end

local function wait_for(what, condition)
  local deadline = sys.monotonic_ms() + 40000
  while not condition() do
    if sys.monotonic_ms() > deadline then
      error("waited too long for " .. what, 2)
    end
    task.sleep "5ms"
  end
end

local function size_of(map)
  local n = 0
  for _ in pairs(map) do
    n = n + 1
  end
  return n
end

local function poison_all()
  dead, count, kept = {}, 0, nil
  for name in pairs(POISON) do
    t.ok(sipeat.publish(name, { n = 1 }, { topic = "budgets" }))
    t.ok(sipeat.publish("fine", { n = 1 }, { topic = "budgets" }))
  end
  wait_for("the dead ones", function()
    return size_of(dead) == size_of(POISON)
  end)
  wait_for("the others", function()
    return count == size_of(POISON)
  end)
  for name, poison in pairs(POISON) do
    t.eq({ dead[name][1], dead[name][2] }, { poison[1], "bug" }, name .. ": " .. dead[name][3])
    t.has(dead[name][3], "budget_test.lua:", name)
  end
end

t.test("what is over its budget fails alone", function()
  t.flows(declare(nil))
  poison_all()
end)

t.test("also with a timeout, which runs the handler in a task of its own", function()
  t.flows(declare "30s")
  poison_all()
end)

t.test("time without waiting is limited for each flow", function()
  dead = {}
  t.flows(function()
    sipeat.flow {
      topic = "times", group = "times", dead_letter = false,
      budget = { instructions = 1 << 50, time = "1s" },
      on = {
        spins = forever,
        ["eats it"] = function()
          while true do
            pcall(math.floor, 1.5)
          end
        end,
        fine = function()
          for _ = 1, 60 do
            local till = os.clock() + 0.02
            repeat until os.clock() > till
            task.sleep "1ms"
          end
          dead.fine = { "FINE" }
        end,
      },
      on_dead = function(event, why)
        dead[event.type] = { why.code }
      end,
    }
  end)
  for _, name in ipairs { "spins", "eats it", "fine" } do
    t.ok(sipeat.publish(name, { n = 1 }, { topic = "times" }))
  end
  wait_for("their ends", function()
    return size_of(dead) == 3
  end)
  t.eq(dead, { spins = { "OVER_TIME" }, ["eats it"] = { "OVER_TIME" }, fine = { "FINE" } })
end)

t.test("what an event started and left may go on", function()
  local rounds, ended = 0, false
  t.flows(function()
    sipeat.flow {
      topic = "left", group = "left", dead_letter = false,
      budget = { memory = "2mb" },
      on = { ["*"] = function()
        task.spawn(function()
          task.sleep "20ms" -- until the event has ended
          for _ = 1, 100 do
            local _ = ("x"):rep(100000)
            rounds = rounds + 1
          end
        end)
        ended = true
      end },
    }
  end)
  t.ok(sipeat.publish("x", { n = 1 }, { topic = "left" }))
  wait_for("its rounds", function()
    return ended and rounds == 100
  end)
end)

t.test("what unwinds gets the instructions that it needs", function()
  local permits, got = task.semaphore(1)
  t.flows(function()
    sipeat.flow {
      topic = "unwinds", group = "unwinds", dead_letter = false, budget = { instructions = 10000 },
      on = { ["*"] = function()
        permits:with(forever)
      end },
      on_dead = function(_, why)
        got = why
      end,
    }
  end)
  t.ok(sipeat.publish("x", { n = 1 }, { topic = "unwinds" }))
  wait_for("its end", function()
    return got
  end)
  t.eq(got.code, "OVER_BUDGET")
  t.eq(permits.free, 1)
end)

t.test("a budget that cannot be is refused", function()
  local function flow(budget)
    return function()
      sipeat.flow { topic = "a", group = "a", on = { ["*"] = print }, budget = budget }
    end
  end
  t.fails(flow { memory = "lots" }, "sipeat.flow.budget: option memory")
  t.fails(flow { instructions = 1 }, "sipeat.flow.budget: option instructions")
  t.fails(flow { time = 5 }, "sipeat.flow.budget: option time")
  t.fails(flow { cpu = 5 }, "sipeat.flow.budget")
end)

t.test("nothing gives a script a finalizer", function()
  t.fails(setmetatable, "scripts may not set __gc", {}, { __gc = print })
  t.eq(debug.setmetatable, nil)
  t.eq(require("debug").setmetatable, nil)
  t.eq(require("_G").setmetatable, setmetatable)
end)
