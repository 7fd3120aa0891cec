-- port.lua - how a real port is set up, by the kernel's drivers, and who may have it.
local bench = require "sipeat.bench"
local serial = require "sipeat.serial"

bench.plan {
  name = "Port",
  line = { dtr = false, rts = true, baud = 115200 },
  serial_number = ".+",
}

local function lines(answer, message)
  return answer and ("dtr %s, rts %s"):format(answer.dtr, answer.rts) or message
end

-- Opens the port again, in another way: what `look` says of it, or the code of the failure.
local function again(device, options, look)
  options.port = options.port or device.port
  local line <close>, _, code = serial.open(options)
  return line and look(line) or code
end

local function is_up(line)
  return line:state().up
end

bench.phase("port", function(device)
  local line = device.line
  device:measure("lines", lines(line:lines()))
  device:measure("other lines", lines(line:lines { dtr = true, rts = false }))
  device:measure("break", line:send_break "50ms")
  local _, message, code = serial.open { port = device.port }
  device:measure("locked", code .. ", " .. message:gsub("^[^:]*: ", ""))
  local by_path
  for _, port in ipairs(serial.list()) do
    if port.path == device.port then
      by_path = port.by_path
      device:measure("holder", port.holder)
    end
  end
  line:write "hello"
  device:measure("answer", line:read(5, "30s"))
  line:close()
  device:measure("direction", again(device, { rs485 = true }, is_up))
  device:measure("mark", again(device, { parity = "mark", stop = 2, flow = "hard" }, is_up))
  device:measure("odd speed", again(device, { baud = 123456 }, is_up))
  device:measure("by path", again(device, { port = by_path }, function(other)
    return other:state().path
  end))
end)
