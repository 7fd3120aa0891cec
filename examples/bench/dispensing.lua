-- What the tests of dispensing boards share: one dispense, many, a jam, and how fast answers come.
local bench = require "sipeat.bench"

local M = {}

local orders = 0

-- A key of its own for each order, as an approval has one.
local function key_of(device)
  orders = orders + 1
  return ("bench-%s-%s-%d"):format(device.serial or device.port, os.time(), orders)
end

--- One order: what came of it. A refused or lost command counts as unknown.
function M.dispense(device, slot)
  local result, message, code = device:command("dispense", {
    slot = slot, quantity = 1, amount_minor = 0, key = key_of(device),
  }, "3m")
  return result or { outcome = "unknown", reason = message, code = code }
end

local function because(result)
  return ("%s: %s (%s)"):format(result.outcome, result.reason or "no reason", result.code or "-")
end

--- A step: one product must come out.
function M.expect_product(device, slot, name)
  return device:step(name or "a product comes out", function()
    local result = M.dispense(device, slot)
    if result.outcome ~= "done" then
      return nil, because(result)
    end
    return result.proof or "none"
  end)
end

--- Products for the next orders: a simulated board is told, at a real one the operator fills it.
function M.fill(device, slot, count)
  if not device.simulator then
    return device:confirm(("Fill slot %d with %d products."):format(slot, count))
  end
  local ok, message
  if device.protocol == "cctalk" then
    ok, message = device.simulator:command("refill", { slot = slot, coins = count })
  else
    ok, message = device.simulator:command("stock", { slot = slot, count = count })
  end
  return ok or device:fail("fill: " .. message)
end

-- What a simulated board says has fallen; nil at a real one.
local function fallen(device, slot)
  if not device.simulator then
    return nil
  end
  local fields = device.protocol == "cctalk" and { slot = slot } or {}
  local books, message = device.simulator:command("state", fields)
  return books and (books.fallen or books.fell) or device:fail("state: " .. tostring(message))
end

--- `count` orders. Each takes a while (a series), all must be done, and no answer may be in doubt.
function M.endurance(device, slot, count, full)
  local before = fallen(device, slot)
  local times = device:series("time of a dispense", { unit = "ms" })
  local outcomes = { done = 0, failed = 0, unknown = 0 }
  for n = 1, count do
    if n % full == 1 or full == 1 then
      M.fill(device, slot, math.min(full, count - n + 1))
    end
    local ms, result = bench.time(M.dispense, device, slot)
    outcomes[result.outcome] = (outcomes[result.outcome] or 0) + 1
    times:add(ms)
    if result.outcome ~= "done" then
      device:note(("order %d: %s"):format(n, because(result)))
    end
  end
  device:measure("dispensed", outcomes.done, { equals = count, go_on = true })
  device:measure("failed", outcomes.failed, { max = 0, go_on = true })
  device:measure("in doubt", outcomes.unknown, { max = 0 })
  if before then
    device:measure("fallen, says the board", fallen(device, slot) - before, { equals = count })
  end
end

--- A jam is seen, said, and gone after it was cleared. `clear(device)` tells the board so.
function M.jam(device, slot, clear)
  M.fill(device, slot, 5)
  device:fault({ kind = "jam" }, ("Block slot %d so that nothing can fall."):format(slot))
  device:step("the jam is seen", function()
    local result = M.dispense(device, slot)
    if result.outcome ~= "failed" then
      return nil, because(result)
    end
    return result.code
  end)
  if not device.simulator then
    device:confirm(("Take away what blocks slot %d."):format(slot))
  end
  clear(device)
  M.expect_product(device, slot, "works again")
end

--- How long `command` takes, `count` times, as a series with limits.
function M.latency(device, command, fields, count, at_most)
  local times = device:series("answer to " .. command, { unit = "ms", at_most = at_most })
  for _ = 1, count do
    local ms, answer, message = bench.time(device.command, device, command, fields)
    if not answer then
      device:fail(("%s: %s"):format(command, message))
    end
    times:add(ms)
  end
end

return M
