local task = require "sipeat.task"
local t = require "sipeat.luatest"

t.test("sleep waits for about its time and answers true", function()
  local before = task.monotonic_ms()
  t.eq(task.sleep("30ms"), true)
  local took = task.monotonic_ms() - before
  t.ok(took >= 29 and took < 2000, "took " .. took)
end)

t.test("a duration needs a unit", function()
  t.fails(function() task.sleep(5) end, "needs a unit")
  t.fails(function() task.sleep("5 parsecs") end, "no duration")
  t.fails(function() task.sleep("") end, "no duration")
end)

t.test("tasks run side by side", function()
  local before = task.monotonic_ms()
  local tasks = {}
  for i = 1, 50 do
    tasks[i] = task.spawn(function() task.sleep("50ms") return i * i end)
  end
  for i = 1, 50 do
    t.eq(tasks[i]:join(), i * i)
  end
  t.ok(task.monotonic_ms() - before < 1500)
end)

t.test("join gives what the task raised", function()
  local child = task.spawn(function() task.sleep("1ms") error("boom") end)
  local ok, err, code = child:join()
  t.eq(ok, nil)
  t.has(err, "boom")
  t.has(err, "stack traceback")
  t.eq(code, "SCRIPT")
end)

t.test("join times out and the task goes on", function()
  local child = task.spawn(function() task.sleep("40ms") return "late" end)
  local ok, _, code = child:join("5ms")
  t.eq(ok, nil)
  t.eq(code, "ETIMEDOUT")
  t.eq(child:done(), false)
  t.eq(child:join(), "late")
end)

t.test("a killed task unwinds with ECANCELED and closes its <close> variables", function()
  local closed, seen = false, nil
  local child = task.spawn(function()
    local guard <close> = setmetatable({}, { __close = function() closed = true end })
    local _, _, code = task.sleep("1h")
    seen = code
    return guard ~= nil
  end)
  task.sleep("1ms")
  child:kill()
  t.eq(child:join("1s"), true)
  t.eq(seen, "ECANCELED")
  t.eq(closed, true)
end)

t.test("an error closes the <close> variables of the task", function()
  local closed = false
  local child = task.spawn(function()
    local guard <close> = setmetatable({}, { __close = function() closed = true end })
    error("x" .. tostring(guard ~= nil))
  end)
  child:join()
  t.eq(closed, true)
end)

t.test("a killed task that ignores the answer ends all the same", function()
  local rounds = 0
  local child = task.spawn(function()
    while true do
      task.sleep("1h")
      rounds = rounds + 1
    end
  end)
  task.sleep("1ms")
  child:kill()
  local ok, err = child:join("5s")
  t.eq(ok, nil)
  t.has(tostring(err), "goes on waiting")
  t.ok(rounds < 100)
end)

t.test("with_timeout gives the results, the timeout, or raises", function()
  local function add(a, b)
    task.sleep("1ms")
    return a + b, "x"
  end
  t.eq({ task.with_timeout("1s", add, 1, 2) }, { 3, "x" })
  local before = task.monotonic_ms()
  local ok, _, code = task.with_timeout("20ms", function() task.sleep("1h") end)
  t.eq(ok, nil)
  t.eq(code, "ETIMEDOUT")
  t.ok(task.monotonic_ms() - before < 2000)
  t.fails(function() task.with_timeout("1s", function() error("inner") end) end, "inner")
end)

t.test("gather gives all results or the first failure, and stops the rest", function()
  t.eq(task.gather { function() task.sleep("5ms") return 1 end, function() return 2 end }, { 1, 2 })
  local stopped
  local ok, message, code = task.gather {
    function() local _, _, why = task.sleep("1h") stopped = why end,
    function() task.sleep("1ms") return nil, "no luck", "LUCK" end,
  }
  t.eq(ok, nil)
  t.eq(message, "no luck")
  t.eq(code, "LUCK")
  task.sleep("1ms")
  t.eq(stopped, "ECANCELED")
  t.eq(task.gather {}, {})
end)

t.test("a channel hands values over in order, bounded", function()
  local channel = task.channel(2)
  local sent = 0
  task.spawn(function()
    for i = 1, 10 do
      channel:send(i)
      sent = i
    end
    channel:close()
  end)
  task.sleep("5ms")
  t.eq(sent, 2)
  local got = {}
  while true do
    local ok, value = channel:recv()
    if not ok then break end
    got[#got + 1] = value
  end
  t.eq(got, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
  t.eq(select(3, channel:send(1)), "CLOSED")
  t.eq(select(3, channel:recv()), "CLOSED")
end)

t.test("a channel without capacity waits for a receiver", function()
  local channel = task.channel()
  local ok, _, code = channel:send("x", "5ms")
  t.eq(ok, nil)
  t.eq(code, "ETIMEDOUT")
  task.spawn(function() channel:send("y") end)
  t.eq({ channel:recv("1s") }, { true, "y" })
  t.eq(select(3, channel:recv("5ms")), "ETIMEDOUT")
  t.fails(function() task.channel(-1) end, "0 or more")
end)

t.test("a semaphore bounds how many run", function()
  local gate, inside, most = task.semaphore(3), 0, 0
  local work = {}
  for i = 1, 12 do
    work[i] = function()
      return gate:with(function()
        inside = inside + 1
        most = math.max(most, inside)
        task.sleep("2ms")
        inside = inside - 1
        return true
      end)
    end
  end
  t.eq(#task.gather(work), 12)
  t.eq(most, 3)
  t.fails(function() gate:with(function() error("inside") end) end, "inside")
  t.eq(gate:acquire("1s"), true)
  gate:release()
end)

t.test("waiting outside of a task is refused with a hint", function()
  local co = coroutine.wrap(function() task.sleep("1ms") end)
  t.fails(co, "needs a task")
  t.fails(function()
    table.sort({ 3, 2, 1 }, function(a, b) task.sleep("1ms") return a < b end)
  end, "cannot do so inside")
end)

t.test("a loop that never waits is stopped, through pcall and coroutines too", function()
  local before = task.monotonic_ms()
  local child = task.spawn(function()
    while true do
      pcall(function() while true do end end)
    end
  end)
  local ok, err = child:join()
  t.eq(ok, nil)
  t.has(tostring(err), "too long without waiting")
  t.ok(task.monotonic_ms() - before < 30000)
  local inner = task.spawn(function()
    coroutine.wrap(function() while true do end end)()
  end)
  ok, err = inner:join()
  t.eq(ok, nil)
  t.has(tostring(err), "too long without waiting")
end)

t.test("scripts cannot set __gc, load bytecode or reach files", function()
  t.fails(function() setmetatable({}, { __gc = print }) end, "__gc")
  t.eq(load("\27Lua"), nil)
  t.eq(io, nil)
  t.eq(os.execute, nil)
  t.eq(string.dump, nil)
  t.eq(debug.sethook, nil)
  t.eq(dofile, nil)
  t.fails(function() require "no.such.module" end, "neither compiled in, nor at")
  t.fails(function() require "../task" end, "words with dots")
end)
