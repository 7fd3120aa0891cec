-- The Vendotek cashless reader: self test, endurance, recovery, latency. A real reader wants a card
-- held up for each charge; each one is given back.
--   sipeat bench examples/bench/vtk.lua --port sim
--   sipeat bench examples/bench/vtk.lua --port /dev/ttyUSB0 -k "self test" --with amount=100
local bench = require "sipeat.bench"

bench.plan {
  name = "Vendotek reader",
  about = "Does it answer, charge, settle, give back, and repeat nothing when an answer is lost?",
  protocol = "vtk",
  simulator = { tap_ms = 20, keepalive_s = 1, timeout_s = 3 },
}

local amount = bench.parameter("amount", 100) -- minor units
local charges = bench.parameter("dispenses", 1000)
local samples = bench.parameter("samples", 200)

local function because(result, message)
  return message or ("%s: %s (%s)"):format(
    result.outcome or "refused", result.reason or "no reason", result.code or "-")
end

-- Charges, and then settles or gives back. nil and what went wrong.
local function sale(device, verb)
  local result, message = device:command("charge", { amount_minor = amount }, "3m")
  if not result or result.outcome ~= "done" then
    return nil, because(result, message)
  end
  local final
  if verb == "settle" then
    final, message = device:command("settle", { ok = true }, "3m")
  else
    final, message = device:command("refund", {}, "3m")
  end
  if not final or final.outcome ~= "done" and final.ok ~= true then
    return nil, verb .. " " .. because(final or {}, message)
  end
  return result.amount_minor
end

bench.phase("self test", function(device)
  device:step("is idle", { retries = 20, pause = "200ms" }, function()
    local status, message = device:command "status"
    return status and status.ok ~= false and status.state, message
  end)
  device:step("charges and gives back", { equals = amount }, function()
    return sale(device, "refund")
  end)
end)

bench.phase("endurance", { timeout = "24h" }, function(device)
  local times, failed = device:series("time of a sale", { unit = "ms" }), 0
  for n = 1, charges do
    local ms, paid, message = bench.time(sale, device, "settle")
    times:add(ms)
    if not paid then
      failed = failed + 1
      device:note(("sale %d: %s"):format(n, message))
    end
  end
  device:measure("failed", failed, { max = 0 })
end)

-- Charges in the books of a simulated reader; nil at a real one.
local function charged(device)
  local books = device.simulator and device.simulator:command("state", {})
  return books and books.charges
end

bench.phase("recovery", function(device)
  local before = charged(device)
  device:fault({ kind = "drop" }, "Pull the plug of the reader's line for five seconds.")
  device:step("no sale is lost or made twice", { equals = amount }, function()
    return sale(device, "settle")
  end)
  if before then
    device:measure("charges in its books", charged(device) - before, { equals = 1 })
  end
end)

bench.phase("latency", { timeout = "1h" }, function(device)
  local times = device:series("time to an approval", { unit = "ms", at_most = { p99 = 2000 } })
  for _ = 1, samples do
    local ms, paid, message = bench.time(sale, device, "refund")
    if not paid then
      device:fail(message)
    end
    times:add(ms)
  end
end)
