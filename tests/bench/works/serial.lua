-- serial.lua - the orders' work in a process that also has a board on a serial line.
local serial = require "sipeat.serial"

local board = assert(serial.open { port = os.getenv "BENCH_PORT", protocol = "xy" })

require "orders"

return board -- kept for as long as the script runs
