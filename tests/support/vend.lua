-- vend.lua - a drink request in steps, over a driver of sipeat.vending that the environment names.
local env = require "sipeat.env"
local json = require "sipeat.json"
local money = require "sipeat.money"
local sipeat = require "sipeat"
local stripe = require "sipeat.stripe"
local vending = require "sipeat.vending"

vending.ledger(env.require("LEDGER", "the file of orders"))

-- { machine = { driver, settings }, … }
for name, machine in pairs(json.decode(env.require("MACHINES", "their drivers, as JSON"))) do
  local ok, why = vending.attach {
    machine = name, driver = machine.driver, settings = machine.settings,
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

local topic = env.require("TOPIC", "the topic of this run")

sipeat.flow {
  topic = topic,
  group = topic,
  key = "data.machineId",
  dead_letter = env.get("DEAD_LETTERS", "drink-dlt"),
  retry = { attempts = 10, backoff = { "20ms", "500ms" } },
  on = {
    ["request.created"] = sipeat.chain "vend" {
      { "payment", args = price, run = stripe.capture, undo = stripe.refund,
        reconcile = stripe.reconcile, effect = "idempotent", lifetime = "23h" },
      { "dispense", args = slot, run = vending.dispense, reconcile = vending.reconcile,
        effect = "at_most_once" },
    },
  },
}
