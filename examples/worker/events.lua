--- The events of the worker: their topics, and what their data looks like.
local sipeat = require "sipeat"

local M = {}

M.KafkaTopic = {
  CONTACT_CREATED = "contact-created",
  MACHINE_CREATED = "machine-created",
  REQUEST_CREATED = "request-created",
  NOTIFICATION = "notification",
}

local function define(topic, fields)
  return sipeat.event.define((topic:gsub("%-", ".")), fields, { topic = topic, mode = "plain" })
end

M.ContactCreated = define(M.KafkaTopic.CONTACT_CREATED, {
  name = "text(120)", email = "email", message = "text",
})
M.MachineCreated = define(M.KafkaTopic.MACHINE_CREATED, {
  machineId = "string", machineName = "string", location = "string",
})
M.RequestCreated = define(M.KafkaTopic.REQUEST_CREATED, {
  customerName = "string", drinkName = "string", machineId = "string",
})
M.Notification = define(M.KafkaTopic.NOTIFICATION, {
  level = { "info", "warning" }, text = "text",
})

return M
