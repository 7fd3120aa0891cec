-- swapped.lua - orders before and after somebody puts another board behind the same adapter.
local bench = require "sipeat.bench"
local log = require "sipeat.log"
local task = require "sipeat.task"

bench.plan {
  name = "Swapped",
  protocol = "modbus",
  settings = {
    profile = "dispenser", counter_register = 0, identify_register = 10, identify_value = 0x5150,
  },
  serial_number = ".+",
}

local function order(device, key)
  local result, message = device:command("dispense", { slot = 1, quantity = 1, key = key }, "1m")
  return result and result.outcome or "refused: " .. tostring(message), result and result.code
end

bench.phase("orders", function(device)
  device:measure("first", (order(device, "order-1")))
  log.info("the first order is over")
  local opened = device.line:state().opened
  while device.line:state().opened == opened or not device.line:state().up do
    task.sleep "50ms"
  end
  local outcome, code = order(device, "order-2")
  device:measure("with another board", outcome)
  device:measure("because", code or "refused")
end)
