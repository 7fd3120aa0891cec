--- The order service: takes orders on port 8080, and brings them from one state to the next. Any
--- number of instances share the work:
--
-- sipeat run examples/orders/order-service.lua
require "orders.topic"()
require("orders.api").start()
require("orders.service").start(true)
