-- unplugged.lua - one order, during which somebody pulls the cable, and what can be said of it
-- once the board is back.
local bench = require "sipeat.bench"
local task = require "sipeat.task"

bench.plan {
  name = "Unplugged",
  protocol = "modbus",
  settings = {
    profile = "dispenser", counter_register = 0, identify_register = 10, identify_value = 0x5150,
  },
  serial_number = ".+",
}

-- What the board counted so far; waits until it is there.
local function count(device)
  for _ = 1, 300 do
    local answer = device:command "counters"
    if answer and answer.ok then
      return answer.count
    end
    task.sleep "200ms"
  end
  device:fail "the board does not come back"
end

bench.phase("order", function(device)
  local before = count(device)
  local result = device:command("dispense", { slot = 1, quantity = 1, key = "order-1" }, "1m")
  device:measure("outcome", result and result.outcome or "refused")
  device:measure("link after", device.line:state().up and "up" or "down")
  count(device)
  local after = device:command("resolve", { slot = 1, quantity = 1, count = before })
  device:measure("resolved", after and after.outcome or "refused")
end)

bench.phase("next order", function(device)
  local order = { slot = 2, quantity = 1, key = "order-2" }
  local result, message = device:command("dispense", order, "1m")
  device:measure("outcome", result and result.outcome or message)
end)
