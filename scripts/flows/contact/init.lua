--- contact.created: observers, in one of four sets that a strategy chooses by the contact's type.
local sipeat = require "sipeat"
local parts = require "flows.contact.parts"
local settings = require "flows.settings"

local M = {}

--- The strategy of a contact: its type, when there is one for it.
function M.kind(event)
  return (event.data.type or "default"):lower()
end

M.handler = sipeat.strategy(M.kind, {
  enterprise = sipeat.observers {
    customer = parts.customer "enterprise",
    sales = parts.team "Enterprise contact",
    alarm = parts.alarm,
    crm = parts.crm,
  },
  support = sipeat.observers {
    customer = parts.customer "support",
    support = parts.team("Support request", settings.support_email),
    crm = parts.crm,
  },
  partnership = sipeat.observers {
    customer = parts.customer "partnership",
    sales = parts.team "Partnership offer",
    crm = parts.crm,
  },
  default = sipeat.observers {
    customer = parts.customer "default",
    sales = parts.team "New contact",
    crm = parts.crm,
  },
})

return M
