--- The one topic of all order events, as every service declares it.
local env = require "sipeat.env"
local settings = require "orders.settings"
local topics = require "sipeat.topics"

return function()
  topics {
    [settings.topic()] = {
      partitions = settings.partitions, retention = env.get("ORDERS_RETENTION", "7d"),
      replication = math.tointeger(tonumber(env.get("ORDERS_REPLICATION", "0"))),
    },
  }
end
