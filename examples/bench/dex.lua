-- A vending machine's audit data over DEX or DDCMP: self test, endurance, recovery, latency.
--   sipeat bench examples/bench/dex.lua --port sim
--   sipeat bench examples/bench/dex.lua --port /dev/ttyUSB0 --set transport=ddcmp -k "self test"
local bench = require "sipeat.bench"

bench.plan {
  name = "DEX audit data",
  about = "Can the machine be read, is what it says whole, and does it say the same again?",
  protocol = "dex",
}

local reads = bench.parameter("dispenses", 1000)
local samples = bench.parameter("samples", 20)

-- One whole reading: its text and what was found wrong with it; nil and why it failed.
local function audit(device)
  local answer, message = device:command("audit", {}, "2m")
  if not answer or answer.ok == false then
    return nil, message or ("%s (%s)"):format(answer.reason or "it failed", answer.code or "-")
  end
  return answer
end

bench.phase("self test", function(device)
  local answer
  device:step("is read", function()
    local message
    answer, message = audit(device)
    return answer and answer.records, message
  end)
  device:measure("bytes", #answer.text, { min = 1, unit = "bytes" })
  device:measure("verdict", answer.verdict)
  device:measure("its checksum and count are right", answer.trusted, { equals = true })
end)

-- What the machine says that it has sold since it was built.
local function sold(device)
  local counters, message = device:command("counters", {}, "2m")
  return counters and counters.vends or device:fail("counters: " .. tostring(message))
end

bench.phase("endurance", { timeout = "24h" }, function(device)
  local times, failed = device:series("time of a reading", { unit = "ms" }), 0
  local before = sold(device)
  for n = 1, reads do
    local ms, answer, message = bench.time(audit, device)
    times:add(ms)
    if not answer then
      failed = failed + 1
      device:note(("reading %d: %s"):format(n, message))
    end
  end
  device:measure("failed", failed, { max = 0, go_on = true })
  device:measure("sold meanwhile", sold(device) - before, { equals = 0 })
end)

bench.phase("recovery", function(device)
  device:fault({ kind = "corrupt", times = 2 }, "Shake the plug while it is read.")
  device:step("is read all the same", function()
    local answer, message = audit(device)
    return answer and answer.records, message
  end)
end)

bench.phase("latency", { timeout = "1h" }, function(device)
  local times = device:series("time to identify", { unit = "ms", at_most = { max = 10000 } })
  for _ = 1, samples do
    local ms, answer, message = bench.time(device.command, device, "identify", {}, "1m")
    if not answer or answer.ok == false then
      device:fail(message or answer.reason)
    end
    times:add(ms)
  end
end)
