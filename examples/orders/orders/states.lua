--- How an order goes on: from pending to delivered, or to cancelled.
local states = require "sipeat.states"

local function by_operator(context)
  return context ~= nil and context.operator == true, "only an operator releases an order"
end

return states.define("order", {
  initial = "pending",
  final = { "delivered", "cancelled" },
  transitions = {
    pending = { { "paid", name = "pay" }, { "cancelled", name = "cancel" } },
    paid = {
      { "confirmed", name = "accept" }, { "on_hold", name = "hold" },
      { "cancelled", name = "cancel" },
    },
    on_hold = {
      { "confirmed", name = "release", guard = by_operator }, { "cancelled", name = "reject" },
    },
    confirmed = { { "preparing", name = "cook" }, { "cancelled", name = "cancel" } },
    preparing = { { "shipping", name = "assign a shipper" }, { "cancelled", name = "cancel" } },
    shipping = { { "delivered", name = "deliver" } },
  },
})
