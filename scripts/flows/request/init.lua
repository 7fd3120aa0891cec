--- request.created: a chain of steps that a factory makes for each request.
local log = require("sipeat.log").new "request"
local sipeat = require "sipeat"
local factory = require "flows.request.factory"
local letters = require "flows.request.letters"
local mailer = require "flows.mailer"
local plan = require "flows.request.plan"

local M = {}

-- Tells the customer when the request has failed for good. Each attempt has its own end: the last
-- one's counts.
local function apologise(event, ctx)
  if not event.data.email or not ctx.on_end then
    return
  end
  ctx:on_end(function(outcome)
    if outcome.status == "dead" then
      local sent, message = mailer.send(letters.apology(event), { key = event.id .. ":apology" })
      if not sent then
        log:warn("the customer could not be told: " .. tostring(message))
      end
    end
  end)
end

M.handler = sipeat.factory(function(event, ctx)
  local memory = ctx.memory or {}
  apologise(event, ctx)
  if not memory.plan then -- once for an event: what changes meanwhile does not change its steps
    local made, problem = plan.make(event)
    if not made then
      return nil, problem
    end
    memory.plan = made
  end
  return factory.chain(event, memory.plan)
end)

return M
