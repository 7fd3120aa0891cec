--- The five messages of `sipeat discord test`: what a channel looks like when everything works.
local embed = require "sipeat.discord_embed"
local sys = require "sipeat.core.sys"

local M = {}

local function rich()
  return {
    {
      title = "🧪 SipEat test",
      description = "If you can read this, rich embeds arrive in this channel.",
      color = embed.BLUE,
      fields = {
        { name = "Sent by", value = "sipeat discord test", inline = true },
        { name = "Version", value = sys.version, inline = true },
      },
      footer = { text = "Nothing has happened; this is a test" },
      timestamp = sys.iso_time(),
    },
    {
      title = "🎨 Colours",
      description = "Green: an event was processed. Red: it failed. Blue: a notice.",
      color = embed.GREEN,
      timestamp = sys.iso_time(),
    },
  }
end

local EVENTS = {
  {
    name = "successful contact.created",
    notice = {
      type = "contact.created",
      ok = true,
      event_id = "test-contact",
      data = {
        name = "John Doe",
        email = "john@example.com",
        phone = "+1234567890",
        companyName = "Acme Inc",
        message = "I'd like to inquire about your services",
      },
    },
  },
  {
    name = "failed request.created",
    notice = {
      type = "request.created",
      ok = false,
      error = "Payment processing failed",
      event_id = "test-request",
      data = {
        customerName = "Jane Smith",
        drinkName = "Coca-Cola",
        machineId = "M12345",
        machineName = "Office Lobby",
      },
    },
  },
  {
    name = "successful machine.created",
    notice = {
      type = "machine.created",
      ok = true,
      event_id = "test-machine",
      data = {
        machineId = "M12345",
        machineName = "Office Lobby",
        location = { address = "1 Main Street", city = "Springfield", floor = "Ground floor" },
        slots = 24,
      },
    },
  },
}

--- {name, message} of each, in order.
---@return {name: string, message: table}[]
function M.messages()
  local list = {
    {
      name = "simple text",
      message = { content = "🧪 SipEat test: this webhook works. Four more messages follow." },
    },
    { name = "rich embeds", message = { embeds = rich() } },
  }
  for _, sample in ipairs(EVENTS) do
    list[#list + 1] = { name = sample.name, message = { embeds = { embed.build(sample.notice) } } }
  end
  return list
end

return M
