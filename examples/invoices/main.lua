--- Invoices: an API, a small page, and an event for each change, which is never lost.
--
-- sipeat dev examples/invoices/main.lua      with nothing installed; http://localhost:3000
-- sipeat-run examples/invoices/main.lua      with the Kafka that KAFKA_BROKER names; then
-- sipeat-run --http off examples/invoices/processor.lua handles the events in a process of its own
local env = require "sipeat.env"
local sipeat = require "sipeat"
local api = require "app.api"
local pages = require "app.pages"
local produce = require "app.produce"
local settings = require "app.settings"
local store = require "app.store"

store.open()
sipeat.topics { [settings.topic] = { partitions = 1 } } -- as in the guide: one order for all
api.routes()
pages.routes()
produce.routes()

-- The broker inside of this process ends with it, so the processor is in here, too.
if not env.get "KAFKA_BROKER" and not env.get "KAFKA_BROKERS" then
  require("app.processor").start()
end
