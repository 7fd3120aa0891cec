-- vend.lua - a drink request in steps, over a driver of sipeat.vending that the environment names.
-- It is paid with a card that is kept, or, with READER ("vtk", "qibixx"), at the machine.
local env = require "sipeat.env"
local json = require "sipeat.json"
local money = require "sipeat.money"
local sipeat = require "sipeat"
local stripe = require "sipeat.stripe"
local vending = require "sipeat.vending"

vending.ledger(env.require("LEDGER", "the file of orders"))

-- { machine = { driver, settings, payment? }, … }
for name, machine in pairs(json.decode(env.require("MACHINES", "their drivers, as JSON"))) do
  local ok, why = vending.attach {
    machine = name, driver = machine.driver, settings = machine.settings, payment = machine.payment,
  }
  if not ok then
    error(why.message, 0)
  end
end

local function price(event)
  return {
    amount = money.new(250, "EUR"), payment_method = "pm_card_visa",
    metadata = { event_id = event.id },
  }
end

local function slot(event)
  return { machine = event.data.machineId, slot = 1, ledger = vending.here() }
end

local function charge(event)
  return { machine = event.data.machineId, amount_minor = 250, ledger = vending.here() }
end

local function charged(event, ctx)
  local paid = ctx.results.payment
  return {
    machine = event.data.machineId, operation = paid.operation, amount_minor = paid.amount_minor,
  }
end

local reader = env.get "READER"
local payment, settling
if reader then
  payment = {
    "payment", args = charge, run = vending.charge, reconcile = vending.reconcile_charge,
    undo = vending.refund, effect = "at_most_once",
  }
  settling = {
    "settle", args = charged, run = vending.settle,
    effect = reader == "vtk" and "repeatable" or "at_most_once", -- it has numbers
  }
else
  payment = {
    "payment", args = price, run = stripe.capture, undo = stripe.refund,
    reconcile = stripe.reconcile, effect = "idempotent", lifetime = "23h",
  }
end

local topic = env.require("TOPIC", "the topic of this run")

sipeat.flow {
  topic = topic,
  group = topic,
  key = "data.machineId",
  dead_letter = env.get("DEAD_LETTERS", "drink-dlt"),
  retry = { attempts = 10, backoff = { "20ms", "500ms" } },
  on = {
    ["request.created"] = sipeat.chain "vend" {
      payment,
      { "dispense", args = slot, run = vending.dispense, reconcile = vending.reconcile,
        effect = "at_most_once", point_of_no_return = true },
      settling,
    },
  },
}
