-- output.lua - handlers for the four types of orders that first do something else.
local M = {}

M.group, M.source = os.getenv "BENCH_GROUP", os.getenv "BENCH_IN"

local TARGET = os.getenv "BENCH_OUT"

local function answer(status, sign, before)
  return function(event, ctx)
    before(ctx)
    local data = event.data
    return ctx:emit(TARGET, event.key, {
      id = event.id,
      order = data.orderId,
      customer = data.customerId,
      status = status,
      amount = sign * data.total,
    })
  end
end

function M.handlers(before)
  return {
    ["order.created"] = answer("accepted", 1, before),
    ["order.paid"] = answer("settled", 1, before),
    ["order.shipped"] = answer("closed", 1, before),
    ["order.cancelled"] = answer("refunded", -1, before),
  }
end

return M
