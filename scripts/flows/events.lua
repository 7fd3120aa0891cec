--- The events of SipEat: what their data looks like and where they travel.
local event = require "sipeat.event"

local M = {}

--- A customer has sent the contact form.
M.ContactCreated = event.define("contact.created", {
  name = "text(200)",
  email = "email",
  phone = "string(50)?",
  companyName = "string(200)?",
  message = "text(10000)",
  type = "string(40)?", -- enterprise, support, partnership; anything else is general
  ["preferences?"] = {
    ["email?"] = "boolean", -- false: do not write to me
    ["phone?"] = "boolean", -- true: call me
    ["sms?"] = "boolean", -- true: a text message is fine
  },
}, { topic = "sipeat.contact.events", key = "email" })

--- A customer has asked for a drink.
M.RequestCreated = event.define("request.created", {
  customerName = "text(200)",
  email = "email?",
  drinkName = "text(200)",
  machineId = "text(100)",
  machineName = "string(200)?",
  slot = "integer?", -- default: the slot that has the drink
  amount = "money?", -- what the customer was quoted; default: the price in the inventory
  currency = "string?",
  payment = "string?", -- card (default), prepaid or free
  paymentMethod = "string?", -- of the payment service, for a card
}, { topic = "sipeat.request.events", key = "machineId" })

--- A machine was added, or is set up anew.
M.MachineCreated = event.define("machine.created", {
  machineId = "text(100)",
  machineName = "text(200)",
  type = "string?", -- standard (default), offline, coffee
  location = "any", -- a text, or { address, city?, country?, latitude?, longitude? }
  slots = event.list {
    slot = "integer",
    drink = "string(200)",
    stock = "integer",
    capacity = "integer?",
    price = "money?",
  },
  network = "object?", -- { mode = "dhcp" | "static", address?, gateway?, mask? }
  maintenance = "object?", -- { everyDays?, technician?, firstAt? }
  driver = "object?", -- { name?, proof?, port?, id?, settings?, … }: flows.machine.driver
  currency = "string?",
}, { topic = "sipeat.machine.events", key = "machineId" })

--- What machines tell of themselves: machine.status, machine.fault, machine.sale, machine.audit.
M.machine = require("sipeat.vending").event_types()

--- Something to be told to somebody; any flow may publish one.
M.Notification = event.define("notification", {
  channel = "string", -- email, discord, slack or sms
  to = "string?",
  subject = "string?",
  text = "string",
  priority = "string?",
  about = "string?", -- id of the event that this is about
}, { topic = "notification" })

return M
