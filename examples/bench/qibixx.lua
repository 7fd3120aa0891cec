-- The Qibixx MDB interface as a card reader in a machine: self test, endurance, recovery, latency.
-- The machine's customer is played by the simulator, or by the operator at a real machine.
--   sipeat bench examples/bench/qibixx.lua --port sim
--   sipeat bench examples/bench/qibixx.lua --port /dev/ttyACM0 -k "self test"
local bench = require "sipeat.bench"

bench.plan {
  name = "Qibixx MDB interface",
  about = "Does a machine accept it as a reader, does an approval bring goods, is a failure told?",
  protocol = "qibixx",
  simulator = { motor_ms = 50, stock = 255 },
}

local slot = bench.parameter("slot", 1)
local price = bench.parameter("price", 150) -- minor units
local sales = bench.parameter("dispenses", 1000)
local samples = bench.parameter("samples", 20)

-- A customer chooses; the machine's request, as the interface tells it.
local function request(device)
  if device.simulator then
    local chosen, why = device.simulator:command("select", { slot = slot, amount_minor = price })
    if not chosen or chosen.ok == false then
      return nil, why or "the machine has not enabled the reader"
    end
  else
    device:confirm(("Choose selection %d at the machine."):format(slot))
  end
  while true do
    local note, message = device.line:next "20s"
    if not note or note.name == "request" then
      return note, message
    end
  end
end

-- One sale: requested, approved, delivered. The outcome that the machine told.
local function sale(device, n)
  local asked, message = request(device)
  if not asked then
    return { outcome = "unknown", reason = message }
  end
  local result
  result, message = device:command("dispense", {
    slot = asked.slot, amount_minor = asked.amount_minor, quantity = 1,
    key = ("bench-%s-%d"):format(os.time(), n),
  }, "3m")
  return result or { outcome = "unknown", reason = message }
end

local function expect_sale(device, name)
  device:step(name, function()
    local result = sale(device, 0)
    if result.outcome ~= "done" then
      return nil, ("%s: %s"):format(result.outcome, result.reason or result.code or "no reason")
    end
    return result.proof or "none"
  end)
end

local function ready(device)
  device:step("the machine has enabled it", { retries = 20, pause = "500ms" }, function()
    local status, message = device:command "status"
    local state = status and status.state
    if state == "enabled" then
      return state
    end
    return nil, message or ("it is %s"):format(state)
  end)
end

bench.phase("self test", function(device)
  ready(device)
  expect_sale(device, "a product comes out")
end)

bench.phase("endurance", { timeout = "24h" }, function(device)
  ready(device)
  local times, failed = device:series("time of a sale", { unit = "ms" }), 0
  for n = 1, sales do
    if device.simulator and n % 200 == 1 then
      device.simulator:command("stock", { count = 255 })
    end
    local ms, result = bench.time(sale, device, n)
    times:add(ms)
    if result.outcome ~= "done" then
      failed = failed + 1
      device:note(("sale %d: %s: %s"):format(n, result.outcome, result.reason or "no reason"))
    end
  end
  device:measure("failed", failed, { max = 0 })
end)

bench.phase("jam recovery", function(device)
  ready(device)
  device:fault({ kind = "jam" }, ("Block selection %d so that nothing can fall."):format(slot))
  device:step("the machine says that it failed", { equals = "failed" }, function()
    return sale(device, 0).outcome
  end)
  expect_sale(device, "works again")
end)

-- Refuses the open request, and waits until the machine is ready for the next customer.
local function refuse(device)
  local answer, message = device:command "deny"
  if not answer or answer.ok == false then
    return nil, message or answer.reason
  end
  for _ = 1, 5000 do
    bench.sleep "1ms"
    local status = device:command "status"
    if status and status.state == "enabled" then
      return true
    end
  end
  return nil, "the machine did not become ready again"
end

bench.phase("latency", { timeout = "1h" }, function(device)
  ready(device)
  local times = device:series("time to refuse a sale", { unit = "ms", at_most = { p99 = 1000 } })
  for _ = 1, samples do
    local asked, why = request(device)
    if not asked then
      device:fail(why)
    end
    local ms, ok, message = bench.time(refuse, device)
    if not ok then
      device:fail(message)
    end
    times:add(ms)
  end
end)
