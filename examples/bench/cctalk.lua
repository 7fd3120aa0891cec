-- A ccTalk bus with a coin acceptor and a hopper: self test, endurance, jam recovery, latency.
--   sipeat bench examples/bench/cctalk.lua --port sim
--   sipeat bench examples/bench/cctalk.lua --port /dev/ttyUSB0 --set echo=yes --set acceptor=0
local bench = require "sipeat.bench"
local dispensing = require "dispensing"

bench.plan {
  name = "ccTalk hopper",
  about = "Do the devices answer, does the hopper pay coins that it counts, does it notice a jam?",
  protocol = "cctalk",
}

local slot = bench.parameter("slot", 1)
local dispenses = bench.parameter("dispenses", 1000)
local samples = bench.parameter("samples", 200)

bench.phase("self test", function(device)
  device:step("says its state", function()
    local status, message = device:command "status"
    return status and status.state, message
  end)
  device:step("tests itself", function()
    local answer, message = device:command("test", { slot = slot })
    return answer and answer.flags, message or answer and answer.reason
  end)
  dispensing.fill(device, slot, 5)
  dispensing.expect_product(device, slot, "a coin comes out")
end)

bench.phase("endurance", { timeout = "24h" }, function(device)
  dispensing.endurance(device, slot, dispenses, 100)
end)

bench.phase("jam recovery", function(device)
  dispensing.jam(device, slot, function()
    device:step("reset", function()
      local answer, message = device:command("reset", { slot = slot })
      return answer and answer.ok, message or answer and answer.reason
    end)
    bench.sleep "1s" -- it starts
  end)
end)

bench.phase("latency", { timeout = "1h" }, function(device)
  dispensing.latency(device, "test", { slot = slot }, samples, { p99 = 250, max = 1000 })
end)
