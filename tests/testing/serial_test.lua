--- Serial ports in `sipeat test`: there are none.
local serial = require "sipeat.serial"
local t = require "sipeat.testing"

t.test("a port is refused with a code", function()
  local line, message, code = serial.open { port = "/dev/ttyUSB0" }
  t.eq({ line, code }, { nil, "ENOTSUP" })
  t.ok(message:find("sipeat bench", 1, true))
  line, message, code = serial.simulate()
  t.eq({ line, code }, { nil, "ENOTSUP" }, message)
  t.eq(serial.list(), {})
  t.eq(serial.checksum("xor8", "ab"), "\3")
end)
