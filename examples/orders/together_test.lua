--- Batches of many handlers: what is added meanwhile goes into the next one, and whoever is stopped
--- holds up nobody.
local t = require "sipeat.testing"
local task = require "sipeat.task"
local together = require "orders.together"

local function recorded(run)
  local batches = {}
  return together.new(function(items)
    batches[#batches + 1] = table.concat(items, " ")
    task.sleep "10ms"
    return run and run(items) or items
  end, 3), batches
end

local function add(batch, results, item)
  return task.spawn(function()
    local result, problem = batch:add(item)
    results[item] = result or problem.code
  end)
end

t.test("what comes while a batch is written goes together into the next one", function()
  local batch, batches = recorded()
  local results = {}
  for i = 1, 6 do
    add(batch, results, "i" .. i)
    if i == 1 then
      task.sleep "1ms"
    end
  end
  t.advance "1s"
  t.eq(batches, { "i1", "i2 i3 i4", "i5 i6" })
  t.eq(results, { i1 = "i1", i2 = "i2", i3 = "i3", i4 = "i4", i5 = "i5", i6 = "i6" })
end)

t.test("a batch that fails fails for all of it, and the next one goes on", function()
  local batch = recorded(function(items)
    if items[1] == "bad" then
      error "broken"
    end
    return items
  end)
  local results = {}
  add(batch, results, "bad")
  task.sleep "1ms"
  add(batch, results, "good")
  t.advance "1s"
  t.eq(results, { bad = "SCRIPT_ERROR", good = "good" })
end)

t.test("whoever is stopped, at any moment, leaves nobody waiting", function()
  for moment = 0, 25 do
    local batch = recorded()
    local results, tasks = {}, {}
    for i = 1, 8 do
      tasks[i] = add(batch, results, "i" .. i)
    end
    task.sleep(math.max(1, moment) .. "ms")
    for _, i in ipairs { 1, 2, 4, 5 } do
      tasks[i]:kill()
    end
    t.advance "1s"
    for _, i in ipairs { 3, 6, 7, 8 } do
      t.eq(results["i" .. i], "i" .. i, ("stopped after %d ms"):format(moment))
    end
    add(batch, results, "last")
    t.advance "1s"
    t.eq(results.last, "last")
  end
end)
