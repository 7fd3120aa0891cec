--- Timers and loops belong to a version of the script and end with it, after what they are doing.
local background = require "sipeat.background"
local task = require "sipeat.task"
local t = require "sipeat.luatest"

local function wait_until(predicate)
  local limit = task.monotonic_ms() + 5000
  while not predicate() do
    t.ok(task.monotonic_ms() < limit, "it did not come to pass")
    task.sleep "1ms"
  end
end

t.test("a timer runs again and again, also after a failure, until it is stopped", function()
  local calls = 0
  local job = background.every("1ms", function()
    calls = calls + 1
    if calls == 1 then
      error "the first one fails"
    elseif calls == 2 then
      return nil, "so does the second"
    end
  end)
  wait_until(function() return calls >= 4 end)
  job:stop()
  job:join()
  local before = calls
  task.sleep "10ms"
  t.eq(calls, before)
end)

t.test("what a version declares waits for its commit and replaces what was before", function()
  local old, new = 0, 0
  background.begin()
  background.every("1ms", function() old = old + 1 end)
  task.sleep "5ms"
  t.eq(old, 0)
  background.commit()
  wait_until(function() return old > 0 end)
  background.begin()
  background.every("1ms", function() new = new + 1 end)
  background.commit()
  wait_until(function() return new > 2 end)
  local before = old
  wait_until(function() return new > 10 end)
  t.ok(old <= before + 1)
  background.stop()
end)

t.test("a version that does not load leaves the one before alone", function()
  local good, bad = 0, 0
  background.begin()
  background.every("1ms", function() good = good + 1 end)
  background.commit()
  background.begin()
  background.every("1ms", function() bad = bad + 1 end)
  background.rollback()
  local before = good
  wait_until(function() return good > before + 3 end)
  t.eq(bad, 0)
  background.stop()
end)

t.test("a job that is in the middle of something finishes it", function()
  local gate, finished = task.channel(1), false
  background.begin()
  background.every("1ms", function()
    gate:send(true)
    task.sleep "20ms"
    finished = true
  end)
  background.commit()
  gate:recv()
  background.stop()
  wait_until(function() return finished end)
end)

t.test("a wrong interval or function throws", function()
  for _, case in ipairs {
    { 5, print, "a duration is a string with a unit" }, { "soon", print, "is no duration" },
    { "0ms", print, 'at least "1ms"' }, { "1s", nil, "a function is needed" },
  } do
    t.fails(background.every, case[3], case[1], case[2])
  end
end)
