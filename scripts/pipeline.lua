--- SipEat: contacts, drink requests and machines, and the notices that they lead to.
--
-- sipeat dev scripts/pipeline.lua      with nothing installed: everything is simulated and shown
-- sipeat-run scripts/pipeline.lua      with the services that .env.local names
local discord = require "sipeat.discord"
local sipeat = require "sipeat"
local contact = require "flows.contact"
local demo = require "flows.demo"
local events = require "flows.events"
local fleet = require "flows.fleet"
local health = require "flows.health"
local machine = require "flows.machine"
local notification = require "flows.notification"
local request = require "flows.request"
local settings = require "flows.settings"
local submissions = require "flows.submissions"
local topics = require "flows.topics"
local web = require "web"

-- One consumer group for each type of event; Discord is told how every event ended. An event may
-- also have its topic's name for a type, as in "contact-created".
local function flow(name, definition, handler, options)
  local told = discord.notified(submissions.noted(handler))
  options.topics = settings.topics[name]
  options.group = settings.groups[name]
  options.on_dead = discord.on_dead
  options.on = { [definition] = told }
  local alias = definition.type:gsub("%.", "-")
  if alias ~= definition.type then
    options.on[alias] = function(event, ctx)
      event.type = definition.type
      local ok, message, code = definition:accept(event)
      if not ok then
        return nil, message, code
      end
      return told(event, ctx)
    end
  end
  sipeat.flow(options)
end

topics.create()
fleet.start()
demo.seed()
web.mount()

flow("contact", events.ContactCreated, contact.handler, { key = "data.email", concurrency = 64 })

flow("request", events.RequestCreated, request.handler, {
  order = "none", -- the stock is guarded by the store, and each machine takes one command at a time
  concurrency = 64,
  retry = { attempts = 5, backoff = { "200ms", "30s" } },
})

flow("machine", events.MachineCreated, machine.handler, {
  key = "data.machineId",
  concurrency = 16,
})

sipeat.flow {
  topics = settings.topics.health,
  group = settings.groups.health,
  key = "data.machineId",
  on_dead = discord.on_dead,
  on = health.handlers,
}

flow("notification", events.Notification, notification.handler, { order = "none" })
