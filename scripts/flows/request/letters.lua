--- What customers are written about their drink.
local html = require "sipeat.html"
local money = require "sipeat.money"

local M = {}

local function place(data)
  return data.machineName or "machine " .. data.machineId
end

-- What is known of the drink: a machine without proof of dispense only knows that it tried.
local function news(event, plan)
  local where = ("%s (slot %d)"):format(place(event.data), plan.slot)
  if plan.proof == "none" then
    return ("the motor for your %s has turned at %s."):format(plan.drink, where)
  end
  return ("your %s has fallen at %s."):format(plan.drink, where)
end

--- The receipt. Its caller sees to it that the customer gave an address.
function M.receipt(event, plan)
  local data = event.data
  local paid = plan.payment == "card" and "You paid " .. money.format(plan.price) .. "."
    or plan.payment == "prepaid" and "It was prepaid."
    or "It was on us."
  local body = news(event, plan) .. " " .. paid
  return {
    to = data.email,
    subject = "SipEat: your " .. plan.drink,
    text = ("Hello %s,\n\n%s\n\nSipEat\n"):format(data.customerName, body),
    html = ("<p>Hello %s,</p><p>%s</p><p>SipEat</p>"):format(
      html.escape(data.customerName), html.escape(body)
    ),
  }
end

--- The bad news, and what became of the money.
function M.apology(event)
  local data = event.data
  return {
    to = data.email,
    subject = "SipEat: no " .. data.drinkName .. " this time",
    text = ("Hello %s,\n\nyour %s at %s could not be served. If a payment was taken, it is given "
      .. "back, or we write to you. Your reference is %s.\n\nSipEat\n"):format(
        data.customerName, data.drinkName, place(data), event.id
      ),
  }
end

--- The question of a machine that cannot see whether the drink fell.
function M.question(args, link)
  return ("Hello %s,\n\nmachine %s has turned the motor for your %s, but cannot see whether it "
    .. "fell. Please tell us:\n\n%s\n\nIf it did not, you get your money back at once.\n\nSipEat\n")
    :format(args.customer, args.machine_id, args.drink, link)
end

return M
