--- For machines without proof of dispense: asks the customer whether the drink fell, and acts on
--- the answer.
--
-- A chain does not wait for people: the step writes a row in `confirmations` (state open) and
-- publishes the question; the answer comes by HTTP, whenever it comes. "no" refunds the payment,
-- "yes" closes the row. What is open can be seen in the table.
local capture = require "sipeat.capture"
local stripe = require "sipeat.stripe"
local sys = require "sipeat.core.sys"
local letters = require "flows.request.letters"
local notices = require "flows.notices"
local settings = require "flows.settings"
local store = require "flows.store"

local M = {}

local function show(what, row)
  capture.record("confirmation", {
    what = what, event_id = row.event_id, machine_id = row.machine_id, slot = row.slot,
    drink = row.drink, customer = row.customer, state = row.state,
  })
end

local function link(row)
  return ("%s/requests/%s/confirmation?token=%s"):format(
    settings.public_url(), row.event_id, row.token
  )
end

-- The row of this event, made when it is not there: a repeated step asks the same question.
local function open(args)
  local row, problem = store.first("confirmations", { event_id = args.event_id })
  if row or problem then
    return row, problem
  end
  row = {
    event_id = args.event_id,
    token = sys.uuid(),
    machine_id = args.machine_id,
    slot = args.slot,
    drink = args.drink,
    customer = args.customer,
    email = args.email,
    payment_id = args.payment_id,
    payment_key = args.payment_key,
    state = "open",
  }
  local ok
  ok, problem = store.put("confirmations", row)
  if not ok then
    return nil, problem
  end
  show("asked", row)
  return row
end

--- Asks args = { event_id, machine_id, slot, drink, customer, email?, payment_id?, payment_key? }.
function M.ask(args, ctx)
  local row, problem = open(args)
  if not row then
    return nil, problem
  end
  local sent, message, code = notices.publish({
    channel = "email",
    to = args.email or settings.support_email(),
    subject = ("Did your %s fall?"):format(args.drink),
    text = letters.question(args, link(row)),
  }, ctx)
  if not sent then
    return nil, message, code
  end
  return { asked = args.email and "customer" or "support", state = row.state }
end

-- Moves the row on; false when it was not in that state any more.
local function move(row, from, to)
  local filters = { event_id = row.event_id, state = from }
  local moved, problem = store.change("confirmations", filters, { state = to })
  if not moved then
    return nil, problem
  end
  row.state = moved == 1 and to or row.state
  return moved == 1
end

local function give_back(row)
  if row.payment_id then
    local refund, problem = stripe.refund({}, { id = row.payment_id }, { key = row.payment_key })
    if not refund then
      return nil, problem
    end
  end
  show("refunded", row)
  return move(row, "denied", "settled")
end

--- Acts on the customer's answer: "confirmed", "settled" (refunded), or nil and a failure. The
--- first answer counts; repeating it is harmless.
function M.answer(row, fell)
  local moved, problem = move(row, "open", fell and "confirmed" or "denied")
  if moved == nil then
    return nil, problem
  elseif moved and fell then
    show("confirmed", row)
  end
  if row.state == "denied" then
    local ok
    ok, problem = give_back(row)
    if ok == nil then
      return nil, problem
    end
  end
  return row.state
end

return M
