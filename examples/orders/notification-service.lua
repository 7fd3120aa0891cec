--- The notification service: tells customers of their orders. Any number of instances share the
--- work:
--
-- sipeat run examples/orders/notification-service.lua
require "orders.topic"()
require("notices.service").start(true)
