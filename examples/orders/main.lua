--- All three services of the example in one process: orders, notifications and figures.
--
-- sipeat dev examples/orders/main.lua
require "orders.topic"()
require("orders.api").start()
require("orders.service").start()
require("notices.service").start()
require("figures.service").start()
