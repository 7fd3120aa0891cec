--- The events of invoices as they stand on the wire: JSON, with the action in the body and in the
--- header event-type, and the invoice's id for a key.
local event = require "sipeat.event"

local M = {}

M.ACTIONS = { "created", "updated", "deleted" }
M.STATUSES = { "pending", "paid" }

local FIELDS = {
  action = M.ACTIONS,
  invoiceId = "text(100)",
  customerId = "text(100)?",
  amount = "integer?", -- in cents
  ["status?"] = M.STATUSES,
  timestamp = "time?",
}

--- action -> definition
M.by_action = {}
for _, action in ipairs(M.ACTIONS) do
  M.by_action[action] = event.define(action, FIELDS, { key = "invoiceId", mode = "body" })
end

--- What a customer's invoice is made of, by form or API.
M.Invoice = event.define("invoice", {
  customerId = "text(100)",
  amount = "money",
  status = M.STATUSES,
}, { currency = "USD" })

return M
