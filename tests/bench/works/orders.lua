-- orders.lua - the benchmark's work as a flow: four types of events, an output of five fields each.
local sipeat = require "sipeat"

local OUT = os.getenv "BENCH_OUT"

local function answer(status, sign)
  return function(event, ctx)
    local data = event.data
    return ctx:emit(OUT, event.key, {
      id = event.id,
      order = data.orderId,
      customer = data.customerId,
      status = status,
      amount = sign * data.total,
    })
  end
end

sipeat.flow {
  topic = os.getenv "BENCH_IN",
  group = os.getenv "BENCH_GROUP",
  on = {
    ["order.created"] = answer("accepted", 1),
    ["order.paid"] = answer("settled", 1),
    ["order.shipped"] = answer("closed", 1),
    ["order.cancelled"] = answer("refunded", -1),
  },
}
