-- uncollected.lua - orders.lua without the garbage collector, to see what its share is.
require "orders"

collectgarbage "stop"
