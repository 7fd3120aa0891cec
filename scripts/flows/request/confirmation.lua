--- For machines without proof of dispense: asks the customer whether the drink fell, and acts on
--- the answer.
--
-- A chain does not wait for people: the step writes a row in `confirmations` (state open) and
-- publishes the question; the answer comes by HTTP, whenever it comes. "no" refunds the payment,
-- "yes" closes the row. What is open can be seen in the table.
local access = require "sipeat.access"
local capture = require "sipeat.capture"
local http = require "sipeat.http"
local stripe = require "sipeat.stripe"
local sys = require "sipeat.core.sys"
local letters = require "flows.request.letters"
local mailer = require "flows.mailer"
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

local PAGE = [[<!doctype html><meta charset="utf-8"><title>SipEat</title>
<meta name="viewport" content="width=device-width"><style nonce="%s">
body{font:1.1rem sans-serif;margin:3rem auto;max-width:30rem;padding:0 1rem}
button{font:inherit;padding:.6rem 1.2rem;margin-right:.6rem}</style>
<h1>%s</h1><p>%s</p>%s]]

local QUESTION = [[<form method="post"><input type="hidden" name="token" value="%s">
<button name="fell" value="yes">Yes, I have it</button>
<button name="fell" value="no">No, give me my money back</button></form>]]

local ANSWERS = {
  confirmed = "Thank you. Enjoy your drink.",
  settled = "We are sorry. You get your money back.",
  denied = "We are sorry. Your money is on its way back.",
}

local function page(status, title, text, form)
  local nonce = access.nonce()
  local html = PAGE:format(nonce, title, mailer.html(text), form or "")
  return access.page(html, { status = status, nonce = nonce })
end

-- The row that a request is about, or the answer to a request that names none.
local function row_of(req, token)
  local row, problem = store.first("confirmations", { event_id = req.params.id })
  if problem then
    return nil, page(503, "SipEat", "Please try again in a minute.")
  elseif not row or row.token ~= token then
    return nil, page(404, "SipEat", "There is no such question. Is the link complete?")
  end
  return row
end

local function show_question(req)
  local row, refusal = row_of(req, req.query.token)
  if not row then
    return refusal
  elseif row.state ~= "open" then
    return page(200, "SipEat", ANSWERS[row.state])
  end
  local text = ("Hello %s, did your %s fall?"):format(row.customer, row.drink)
  return page(200, "SipEat", text, QUESTION:format(row.token))
end

local function take_answer(req)
  local form = req:form() or {}
  local row, refusal = row_of(req, form.token)
  if not row then
    return refusal
  elseif form.fell ~= "yes" and form.fell ~= "no" then
    return page(400, "SipEat", "Please answer with one of the two buttons.")
  end
  local state = M.answer(row, form.fell == "yes")
  if not state then
    return page(503, "SipEat", "Your answer is noted. Please try again in a minute.")
  end
  return page(200, "SipEat", ANSWERS[state])
end

--- Registers the page with the question and the form's target.
function M.routes()
  http.route("GET /requests/:id/confirmation", show_question)
  http.route("POST /requests/:id/confirmation", take_answer)
end

return M
