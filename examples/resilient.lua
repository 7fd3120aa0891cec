-- resilient.lua - orders that are paid by a service in trouble: retry topics, a breaker, a rate
-- limit, a budget, and outputs that are safe on the local disk.
-- Run it: sipeat dev examples/resilient.lua
local sipeat = require "sipeat"

sipeat.outbox { path = "resilient-outbox.db", max_bytes = "100mb" }

local Order = sipeat.event.define("shop.ordered", { amount = "integer", trouble = "integer?" },
  { topic = "shop.orders" })

-- Stands for a payment service: it fails for the first `trouble` attempts of an order.
local function charge(event, ctx)
  if event.data.amount <= 0 then
    return nil, sipeat.permanent("nothing to pay", "NO_AMOUNT") -- no other attempt would help
  elseif ctx.attempt <= (event.data.trouble or 0) then
    return nil, sipeat.transient("the service is down", "SERVICE_DOWN")
  end
  return "paid at attempt " .. ctx.attempt
end

-- Not more calls than it can bear, and none while it fails; each ends within 2 s.
local pay = sipeat.breaker { name = "payments", failures = 5, window = "10s", open = "2s" }(
  sipeat.rate_limit { name = "payments", rate = "50/s" }(sipeat.timeout("2s", charge)))

sipeat.flow {
  topic = "shop.orders", group = "shop",
  order = "none", -- so what fails can wait in a topic of its own, and holds up nobody
  retry = { attempts = 4, topics = { "500ms", "5s" } },
  budget = { time = "1s", memory = "16mb" }, -- of an attempt: a loop without end fails alone
  outbox = true, -- a broker that is away holds up no result
  on = { [Order] = function(event, ctx)
    local receipt, why, code = pay(event, ctx)
    if not receipt then
      return nil, why, code
    end
    ctx:emit("shop.paid", event.key, receipt)
    return receipt
  end },
}
