--- The analytics service: revenue, counts, and whether each order's events came in their order. Any
--- number of instances share the work; with 3 partitions the fourth one waits in reserve:
--
-- sipeat run examples/orders/analytics-service.lua
require "orders.topic"()
require("figures.service").start(true)
