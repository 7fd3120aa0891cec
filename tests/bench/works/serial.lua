-- serial.lua - the orders' work in a process that also has a board on a serial line.
local serial = require "sipeat.serial"
local task = require "sipeat.task"

require "orders"

task.spawn(function()
  local board <close> = assert(serial.open { port = os.getenv "BENCH_PORT", protocol = "xy" })
  while board:state() and task.sleep "1h" do -- for as long as the script runs
  end
end)
