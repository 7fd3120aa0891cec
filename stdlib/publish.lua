--- Publishing: from data to a record that the broker has acknowledged.
local event = require "sipeat.event"
local kafka = require "sipeat.kafka"
local opts = require "sipeat.opts"

local M = {}

local PUBLISH = opts.spec("sipeat.publish", {
  topic = { "string" },
  key = { "string" },
  headers = { "table" },
  id = { "string" },
  source = { "string" },
  trace = { "string" },
  attributes = { "table" },
  outbox = { "boolean", default = false },
  mode = { "string", enum = { "binary", "structured", "plain", "body" } },
})

--- Writes an event to its topic and waits until it is acknowledged. { topic, partition, offset, id
--- } (through the outbox { topic, queued = true, id }) or nil, message, code.
function M.send(ev, topic, mode, outbox)
  local value, headers, code = event.encode(ev, { mode = mode })
  if not value then
    return nil, headers, code
  end
  local report, message
  report, message, code = kafka.producer({ outbox = outbox }):send {
    topic = topic, key = ev.key, value = value, headers = headers,
  }
  if not report then
    return nil, ("publish %s to %s: %s"):format(tostring(ev.type), topic, message), code
  end
  report.id = ev.id
  return report
end

--- An event of a definition (or of a type's name: then the data goes unchecked), its topic, its
--- mode, and whether it goes through the outbox. nil, message, "INVALID_EVENT" when the data is
--- wrong; throws when there is no topic.
function M.make(kind, data, options)
  local o = PUBLISH(options)
  local typed = event.is_definition(kind)
  if not typed and (type(kind) ~= "string" or kind == "") then
    local why = "sipeat.publish: expected a definition or a type's name, got %s"
    error(why:format(opts.show(kind)), 3)
  end
  local topic = o.topic or typed and kind.topic
  if not topic then
    local why = "sipeat.publish %s: which topic? Give it with { topic = … }, or in the definition"
    error(why:format(tostring(kind)), 3)
  end
  local mode, outbox = o.mode, o.outbox
  o.mode, o.outbox, o.topic = nil, nil, topic
  local ev, message, code
  if typed then
    ev, message, code = kind:new(data, o)
  else
    ev = event.untyped(kind, data, o)
  end
  if not ev then
    return nil, message, code
  end
  return ev, topic, mode, outbox
end

--- Makes an event and sends it.
function M.publish(kind, data, options)
  local ev, topic, mode, outbox = M.make(kind, data, options)
  if not ev then
    return nil, topic, mode -- message and code
  end
  return M.send(ev, topic, mode, outbox)
end

return M
