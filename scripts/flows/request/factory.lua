--- Makes the chain for a request from the request itself: which steps it has, and what each works
--- on.
--
-- | step         | when                                   | undone by           |
-- |--------------|----------------------------------------|---------------------|
-- | inventory    | always                                 | releasing the drink |
-- | payment      | unless the drink is free or prepaid    | a refund            |
-- | dispense     | always; at most once                   | nothing can         |
-- | record       | always                                 |                     |
-- | confirmation | when the machine proves nothing        |                     |
-- | customer     | when there is an address; not required |                     |
local sipeat = require "sipeat"
local stripe = require "sipeat.stripe"
local vending = require "sipeat.vending"
local confirmation = require "flows.request.confirmation"
local dispense = require "flows.request.dispense"
local inventory = require "flows.request.inventory"
local letters = require "flows.request.letters"
local mailer = require "flows.mailer"
local settings = require "flows.settings"

local M = {}

local function reservation(plan)
  return {
    "inventory",
    args = function(event)
      return { event_id = event.id, machine_id = event.data.machineId, slot = plan.slot }
    end,
    run = inventory.reserve,
    undo = inventory.release,
    effect = "idempotent",
  }
end

local function payment(plan)
  return {
    "payment",
    args = function(event)
      return {
        amount = plan.price,
        payment_method = event.data.paymentMethod or settings.default_payment_method(),
        description = ("%s at machine %s"):format(plan.drink, event.data.machineId),
        receipt_email = event.data.email,
        metadata = { event_id = event.id, machine_id = event.data.machineId },
      }
    end,
    run = stripe.capture,
    undo = stripe.refund,
    reconcile = stripe.reconcile,
    effect = "idempotent",
    lifetime = "23h",
  }
end

local function motor(plan)
  return {
    "dispense",
    args = function(event)
      return {
        event_id = event.id,
        machine = event.data.machineId,
        slot = plan.slot,
        drink = plan.drink,
        row = plan.machine,
        ledger = vending.here(),
      }
    end,
    run = dispense.run,
    reconcile = plan.proof == "none" and dispense.reconcile_by_asking or dispense.reconcile,
    effect = "at_most_once",
  }
end

local RECORD = {
  "record",
  args = function(event)
    return { event_id = event.id }
  end,
  run = dispense.record,
  effect = "idempotent",
}

local function question(plan)
  return {
    "confirmation",
    args = function(event, ctx)
      local paid = ctx.results.payment
      return {
        event_id = event.id,
        machine_id = event.data.machineId,
        slot = plan.slot,
        drink = plan.drink,
        customer = event.data.customerName,
        email = event.data.email,
        payment_id = paid and paid.id,
        payment_key = paid and ctx.id .. ":confirmation",
      }
    end,
    run = confirmation.ask,
    effect = "idempotent",
  }
end

local function receipt(plan)
  return {
    "customer",
    args = function(event)
      return letters.receipt(event, plan)
    end,
    run = mailer.send,
    effect = "repeatable",
    required = false,
  }
end

--- The list of steps for a request and its plan.
function M.steps(event, plan)
  local steps = { reservation(plan) }
  if plan.payment == "card" then
    steps[#steps + 1] = payment(plan)
  end
  steps[#steps + 1] = motor(plan)
  steps[#steps + 1] = RECORD
  if plan.proof == "none" then
    steps[#steps + 1] = question(plan)
  end
  if event.data.email then
    steps[#steps + 1] = receipt(plan)
  end
  return steps
end

--- The handler for a request.
function M.chain(event, plan)
  return sipeat.chain "drink-request"(M.steps(event, plan))
end

return M
