--- The Kafka worker: one consumer for each topic, apart from what serves requests, and a route that
--- publishes without waiting for any of them.
local events = require "events"
local sipeat = require "sipeat"

local Topic = events.KafkaTopic

sipeat.topics {
  [Topic.CONTACT_CREATED] = {}, [Topic.MACHINE_CREATED] = {}, [Topic.REQUEST_CREATED] = {},
  [Topic.NOTIFICATION] = {},
}

-- Tells the others: an event that follows from one.
local function notify(ctx, text)
  return ctx:publish(assert(events.Notification:new { level = "info", text = text }))
end

-- A consumer: the handler gets typed data; what is no such event goes to the dead letters.
local function consume(group, definition, handler)
  sipeat.create_topic_consumer(group, definition.topic, function(event, ctx)
    local ok, message, code = definition:accept(event)
    if not ok then
      return nil, message, code
    end
    return handler(event.data, ctx)
  end)
end

consume("contact-service", events.ContactCreated, function(contact, ctx)
  return notify(ctx, ("%s wants to be contacted at %s"):format(contact.name, contact.email))
end)

consume("machine-service", events.MachineCreated, function(machine, ctx)
  return notify(ctx, ("machine %s at %s is new"):format(machine.machineName, machine.location))
end)

consume("request-service", events.RequestCreated, function(request, ctx)
  return notify(ctx, ("%s would like %s of %s"):format(request.customerName, request.drinkName,
    request.machineId))
end)

consume("notification-service", events.Notification, function(notification, ctx)
  ctx.log:info(notification.text)
  return true
end)

-- The API: the event is made, checked and sent; who works on it is the worker's concern.
sipeat.http.route("POST /api/:topic", function(req)
  local definition
  for _, one in pairs(events) do
    definition = definition or sipeat.event.is_definition(one) and one.topic == req.params.topic
      and one
  end
  if not definition then
    return { status = 404, json = { error = "there is no topic " .. req.params.topic } }
  end
  local data, message, code = definition:validate(req:json())
  if not data then
    return { status = 400, json = { error = message, code = code } }
  end
  local event = sipeat.create_kafka_event(definition.topic, data)
  local sent
  sent, message, code = sipeat.send_message(definition.topic, event)
  if not sent then
    return { status = 503, json = { error = message, code = code } }
  end
  return { status = 202, json = { id = event.id } }
end)
