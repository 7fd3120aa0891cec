-- The FA FB dispenser board: self test, endurance, jam recovery, latency.
--   sipeat bench examples/bench/xy.lua --port sim
--   sipeat bench examples/bench/xy.lua --port /dev/ttyUSB0 -k endurance --html endurance.html
local bench = require "sipeat.bench"
local dispensing = require "dispensing"

bench.plan {
  name = "FA FB dispenser board",
  about = "Does it answer, dispense, notice a jam, and answer in time?",
  protocol = "xy",
  simulator = { poll_ms = 110, motor_ms = 100 },
}

local slot = bench.parameter("slot", 1)
local dispenses = bench.parameter("dispenses", 1000)
local samples = bench.parameter("samples", 200)
local poll_ms = bench.parameter("poll_ms", 200) -- the board answers when it has polled

bench.phase("self test", function(device)
  device:step("says its state", function()
    local status, message = device:command "status"
    return status and status.state, message
  end)
  dispensing.fill(device, slot, 5)
  device:step("slot is ready", { retries = 2, pause = "500ms" }, function()
    local answer, message = device:command("slot", { slot = slot })
    return answer and answer.ok ~= false and answer.status, message or answer and answer.reason
  end)
  dispensing.expect_product(device, slot)
end)

bench.phase("endurance", { timeout = "24h" }, function(device)
  dispensing.endurance(device, slot, dispenses, 200)
end)

bench.phase("jam recovery", function(device)
  dispensing.jam(device, slot, function()
    device:step("clear", function()
      return device:command("clear", { slot = slot })
    end)
  end)
end)

bench.phase("latency", { timeout = "1h" }, function(device)
  dispensing.latency(device, "slot", { slot = slot }, samples, { p50 = 2 * poll_ms + 100,
    max = 10 * poll_ms })
end)
