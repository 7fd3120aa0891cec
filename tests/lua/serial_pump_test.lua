--- The example of a driver for an odd board, with the board that its script plays.
local board = require "pump.board"
local driver = require "pump.driver"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

-- A board that lives, and the pump as a host sees it.
local function start(fault)
  local played = t.ok(board.new())
  played.fault = fault
  task.spawn(function()
    while played:turn() do end
  end)
  return played, t.ok(driver.open(played.path, "300ms"))
end

local function stop(played, pump)
  pump.line:close() -- it is kept, and the next board may get the same path
  played.line:close()
end

local function count(played, says)
  local n = 0
  for _, heard in ipairs(played.heard) do
    n = n + (heard == says and 1 or 0)
  end
  return n
end

t.test("a dose is pumped once, and its polls are answered meanwhile", function()
  local played, pump = start()
  t.eq(pump.version, "SYRUP 1.2")
  t.eq(pump:dose(30), "done")
  t.eq(pump:dose(12), "done")
  t.eq(pump:counter(), 42)
  t.eq({ count(played, "D30"), count(played, "D12") }, { 1, 1 })
  task.sleep "450ms"
  t.ok(count(played, "!") >= 2)
  stop(played, pump)
end)

t.test("what the pump refuses does not come out", function()
  local played, pump = start()
  local outcome, message, code = pump:dose(500)
  t.eq({ outcome, code }, { nil, "REFUSED" })
  t.has(message, "too much")
  t.eq(pump:counter(), 0)
  stop(played, pump)
end)

t.test("without word of the end, the counter tells", function()
  local played, pump = start "silent"
  t.eq(pump:dose(30), "done")
  t.eq(count(played, "D30"), 1)
  stop(played, pump)
end)

t.test("an order that is not answered is in doubt, and not said again", function()
  local played, pump = start "deaf"
  local outcome, _, code = pump:dose(30)
  t.eq({ outcome, code }, { nil, "UNKNOWN" })
  t.eq(count(played, "D30"), 1)
  stop(played, pump)
end)

t.test("a pump that is gone is told before anything was said", function()
  local played, pump = start()
  t.ok(played.line:command "unplug")
  t.eq(pump.line:next("5s").name ~= nil, true)
  local _, _, code = pump:dose(30)
  t.eq(code, "NOT_SENT")
  t.eq(count(played, "D30"), 0)
  stop(played, pump)
end)

t.test("a kept line is the same, and another one with other options", function()
  local serial = require "sipeat.serial"
  local played, pump = start()
  t.eq(driver.open(played.path, "1s").line == pump.line, true)
  local other = t.ok(serial.open { port = played.path, keep = true })
  t.eq({ other == pump.line, pump.line:state().closed }, { false, true })
  other:close()
  local again = t.ok(driver.open(played.path, "1s"))
  t.eq(again.line == pump.line, false)
  again.line:close()
  stop(played, pump)
end)
