-- drink.lua - a drink request in steps, against the fakes of tests/support: what the tests kill.
-- Each kind of machine has its own chain: "blind" ones have no counter that could be asked.
local env = require "sipeat.env"
local http = require "sipeat.http"
local mail = require "sipeat.mail"
local money = require "sipeat.money"
local sipeat = require "sipeat"
local stripe = require "sipeat.stripe"

local MACHINES = env.require("MACHINES_URL", "the fake dispenser's address")
local TIMEOUT = env.get("STEP_TIMEOUT", "5s")

-- --- stock: rows in the journal's database; nothing keeps two of an event out ---

local TAKEN = "CREATE TABLE IF NOT EXISTS taken (event TEXT NOT NULL)"
local inventory = {}

function inventory.args(event)
  return { event = event.id }
end

function inventory.reserve(args, ctx)
  return ctx:transact { { TAKEN }, { "INSERT INTO taken VALUES (?)", args.event } }
end

function inventory.release(args, _, ctx)
  return ctx:transact { { "DELETE FROM taken WHERE event = ?", args.event, expect = 1 } }
end

-- --- machines ---

local machine = {}

local function ask(args, what)
  return ("%s/machines/%s/%s"):format(MACHINES, args.machine, what)
end

-- How many drinks fell from the slot since the machine was built; or nil and why.
local function fallen(args)
  local answer, message, code = http.get(ask(args, "counters"), { timeout = "2s" })
  if not answer then
    return nil, message, code
  elseif not answer:ok() then
    return nil, "the counters are not answered: " .. answer.status, "NO_COUNTERS"
  end
  return answer:json().slots[tostring(args.slot)] or 0
end

function machine.slot(event)
  return { machine = event.data.machineId, slot = 1 }
end

function machine.look(args)
  local count, message, code = fallen(args)
  if not count then
    return nil, message, code
  end
  return { count = count }
end

function machine.slot_after_look(event, ctx)
  local seen = ctx.results.counter
  return { machine = event.data.machineId, slot = 1, before = seen and seen.count }
end

function machine.dispense(args, ctx)
  local answer, message, code = http.post(ask(args, "dispense"), {
    json = { slot = args.slot, request = ctx.key }, timeout = TIMEOUT,
  })
  if not answer then
    return nil, message, code
  elseif answer.status == 503 then
    return nil, "the motor turns", "NOT_SENT"
  end
  local said = answer:json()
  if not said or said.request ~= ctx.key then
    return nil, "an answer to another request", "OUTCOME_UNKNOWN"
  elseif said.state == "jam" then
    return sipeat.permanent("jammed: nothing fell", "JAMMED")
  elseif said.state ~= "dropped" then
    return nil, "the drop sensor says nothing", "OUTCOME_UNKNOWN"
  end
  return { proof = "sensor" }
end

function machine.reconcile(args)
  local count, message, code = fallen(args)
  if not count then
    return nil, message, code
  elseif count == args.before then
    return "not_done"
  elseif count == args.before + 1 then
    return "done", { proof = "counter" }
  end
  return "unknown"
end

-- --- the chain ---

local function price(event)
  return {
    amount = money.new(250, "EUR"),
    payment_method = event.data.paymentMethod or "pm_card_visa",
    metadata = { event_id = event.id },
  }
end

local function receipt(event)
  return { to = "ada@customer.example", subject = "Your drink", text = event.id .. ": enjoy it." }
end

local function send(letter, ctx)
  letter.message_id = ctx.key
  return mail.send(letter)
end

local function chain(kind)
  local is_blind = kind == "blind"
  local list = {
    { "inventory", args = inventory.args, run = inventory.reserve, undo = inventory.release,
      effect = "local" },
    { "payment", args = price, run = stripe.capture, undo = stripe.refund,
      reconcile = stripe.reconcile, effect = "idempotent", timeout = TIMEOUT,
      lifetime = "23h" },
    { "dispense", args = machine.slot_after_look, run = machine.dispense,
      reconcile = not is_blind and machine.reconcile or nil, effect = "at_most_once" },
    { "customer", args = receipt, run = send, effect = "repeatable", required = false },
  }
  if not is_blind then
    table.insert(list, 3,
      { "counter", args = machine.slot, run = machine.look, effect = "repeatable" })
  end
  return sipeat.chain("drink")(list)
end

local RequestCreated = sipeat.event.define("request.created", {
  machineId = "string", paymentMethod = "string?",
})
local blind, counting = chain "blind", chain "counting"

sipeat.flow {
  topic = env.require("TOPIC", "the topic of this run"),
  group = env.get("GROUP") or env.get("TOPIC"),
  key = "data.machineId",
  dead_letter = env.get("DEAD_LETTERS", "drink-dlt"),
  retry = { attempts = 20, backoff = { "20ms", "200ms" } },
  on = {
    [RequestCreated] = sipeat.strategy(function(event)
      return event.data.machineId:match "^%a+"
    end, { blind = blind, default = counting }),
  },
}
