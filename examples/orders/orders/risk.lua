--- The risk of a paid order: rules that look at it and at what its user did before. Pure: the same
--- order and history give the same answer.
local M = {}

M.WINDOW_MS = 10 * 60 * 1000 -- of velocity
M.DECLINED_WINDOW_MS = 60 * 60 * 1000
M.HOLD_AT = 50 -- an order with this score waits for an operator

local MAX_RECENT = 5 -- orders of a user in the window
local MAX_RESTAURANTS = 3 -- different ones in the window
local MAX_DECLINED = 2 -- declined payments
local LARGE_MINOR = 50000
local JUMP = 5 -- times the average of the last orders
local MAX_QUANTITY = 50

-- name -> { score, function(order, history) -> what is wrong, or nil }
local RULES = {
  velocity = { 50, function(_, history)
    return history.recent > MAX_RECENT and ("%d orders in 10 minutes"):format(history.recent)
  end },
  restaurants = { 30, function(_, history)
    return history.restaurants > MAX_RESTAURANTS
      and ("%d restaurants in 10 minutes"):format(history.restaurants)
  end },
  declined_cards = { 50, function(_, history)
    return history.declined > MAX_DECLINED
      and ("%d declined payments in an hour"):format(history.declined)
  end },
  large_amount = { 50, function(order)
    return order.total > LARGE_MINOR and ("a total of %d"):format(order.total)
  end },
  jump = { 30, function(order, history)
    return history.delivered >= 3 and order.total > JUMP * history.average
      and ("%d, after %d on average"):format(order.total, history.average)
  end },
  quantity = { 30, function(order)
    for _, item in ipairs(order.items) do
      if item.quantity > MAX_QUANTITY then
        return ("%d of %s"):format(item.quantity, item.foodId)
      end
    end
  end },
}

local NAMES = { "velocity", "declined_cards", "large_amount", "restaurants", "jump", "quantity" }

--- { score, hold, rules = { "name: what is wrong" } }.
function M.assess(order, history)
  local score, found = 0, {}
  for _, name in ipairs(NAMES) do
    local why = RULES[name][2](order, history)
    if why then
      score, found[#found + 1] = score + RULES[name][1], name .. ": " .. why
    end
  end
  return { score = score, hold = score >= M.HOLD_AT, rules = found }
end

return M
