-- A Modbus slave with motors behind relays and a drop sensor: self test, endurance, jam recovery,
-- latency. For a board with registers of its own: --set profile=dispenser and what its paper says.
--   sipeat bench examples/bench/modbus.lua --port sim
--   sipeat bench examples/bench/modbus.lua --port /dev/ttyUSB0 --set address=3 -k "self test"
local bench = require "sipeat.bench"
local dispensing = require "dispensing"

bench.plan {
  name = "Modbus relay dispenser",
  about = "Does it answer, does the sensor see what falls, does it notice a jam?",
  protocol = "modbus",
  settings = { profile = "relay", latch = "read" },
  simulator = { profile = "relay", latch = "read", fall_ms = 100 },
}

local slot = bench.parameter("slot", 1)
local dispenses = bench.parameter("dispenses", 1000)
local samples = bench.parameter("samples", 200)

bench.phase("self test", function(device)
  device:step("says its state", function()
    local status, message = device:command "status"
    return status and status.state, message
  end)
  device:step("all relays off", function()
    local answer, message = device:command "off"
    return answer and answer.ok, message or answer and answer.reason
  end)
  dispensing.fill(device, slot, 5)
  dispensing.expect_product(device, slot)
end)

bench.phase("endurance", { timeout = "24h" }, function(device)
  dispensing.endurance(device, slot, dispenses, 200)
end)

bench.phase("jam recovery", function(device)
  dispensing.jam(device, slot, function()
    device:step("all relays off", function()
      return device:command "off"
    end)
  end)
end)

bench.phase("latency", { timeout = "1h" }, function(device)
  dispensing.latency(device, "read", { ["function"] = 1, start = 0, count = 8 }, samples,
    { p99 = 100, max = 1000 })
end)
