-- web.lua - the benchmark's routes: one that answers from Lua alone, and one that publishes and
-- does not wait for the broker.
local http = require "sipeat.http"
local env = require "sipeat.env"
local kafka = require "sipeat.kafka"

local TOPIC = env.get "BENCH_OUT"

http.route("POST /lua", function(req)
  local order, message = req:json()
  if not order then
    return http.problem(400, message)
  end
  return { json = { id = order.id, total = order.quantity * order.price } }
end)

if TOPIC then
  local producer = kafka.producer()
  http.route("POST /publish", function(req)
    local order, message = req:json()
    if not order then
      return http.problem(400, message)
    end
    local sent, why = producer:post { topic = TOPIC, key = order.id, value = req.body }
    if not sent then
      return http.problem(503, why)
    end
    return { status = 202, json = { id = order.id } }
  end)
end
