--- sipeat.serial: lines over pseudo-terminals, raw and framed, their loss, and mistakes of callers.
local serial = require "sipeat.serial"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

-- A board that this script plays.
local function simulate(framing)
  return t.ok(serial.simulate { framing = framing })
end

-- The host's line to it.
local function connect(board, framing)
  return t.ok(serial.open { port = board.path, framing = framing })
end

t.test("bytes are written and read", function()
  local board <close> = simulate()
  local host <close> = connect(board)
  t.eq(host:write("a\0\r\n\xff"), true)
  t.eq(board:read(2), "a\0")
  t.eq(board:read(3, "5s"), "\r\n\xff")
  t.ok(board:write("later"))
  t.ok(#host:read() > 0)
  t.eq(host:state().up, true)
  t.eq(host:state().path, board.path)
  t.eq(host:state().bytes_out, 5)
end)

t.test("expect gives captures or all that matched, and keeps what follows", function()
  local board <close> = simulate()
  local host <close> = connect(board)
  t.ok(board:write("noise VERSION 3.12 READY"))
  t.eq({ host:expect("VERSION (%d+)%.(%d+)", "5s") }, { "3", "12" })
  t.eq(host:expect("READ[XY]", "5s"), "READY")
  local found, message, code = host:expect("never", "20ms")
  t.eq({ found, code }, { nil, "ETIMEDOUT" })
  t.ok(message)
end)

t.test("reads that get nothing end in time", function()
  local board <close> = simulate()
  local host <close> = connect(board)
  local bytes, _, code = host:read(1, "10ms")
  t.eq({ bytes, code }, { nil, "ETIMEDOUT" })
  t.ok(board:write("12"))
  bytes, _, code = host:read(3, "30ms")
  t.eq({ bytes, code }, { nil, "ETIMEDOUT" })
  t.ok(board:write("3"))
  t.eq(host:read(3), "123") -- what was there has stayed
end)

t.test("frames of each preset", function()
  local cases = {
    { framing = "line", wire = "one\r\ntwo\n", frames = { "one", "two" } },
    { framing = { kind = "delimiter", delimiter = "\3" }, wire = "a\3b\3", frames = { "a", "b" } },
    {
      framing = { kind = "length", start = "\xfa\xfb", at = 3, extra = 5 },
      wire = "junk\xfa\xfb\1\2xy!\xfa\xfb\1\0.",
      frames = { "\xfa\xfb\1\2xy!", "\xfa\xfb\1\0." },
      noise = 4,
    },
    { framing = { kind = "fixed", size = 3 }, wire = "abcdef", frames = { "abc", "def" } },
    { framing = { kind = "gap", gap = "15ms" }, wire = "all of it", frames = { "all of it" } },
  }
  for _, case in ipairs(cases) do
    local board <close> = simulate(case.framing)
    local host <close> = connect(board, case.framing)
    t.ok(board:write(case.wire))
    for _, frame in ipairs(case.frames) do
      local bytes, at_us = host:frame("5s")
      t.eq(bytes, frame)
      t.eq(math.type(at_us), "integer")
    end
    if case.noise then
      local note
      repeat
        note = t.ok(host:next("5s"))
      until note.name == "noise"
      t.eq(note.dropped, case.noise)
    end
  end
end)

t.test("a question gets the next frame, and questions take turns", function()
  local board <close> = simulate("line")
  local host <close> = connect(board, "line")
  t.ok(board:answer("temp?", "21\n"))
  t.ok(board:answer("door?", "open\n"))
  local both = t.ok(task.gather {
    function() return host:ask("temp?\n", "5s") end,
    function() return host:ask("door?\n", "5s") end,
  })
  t.eq(both, { "21", "open" })
  local answer, message, code = host:ask("fuel?\n", "20ms")
  t.eq({ answer, code }, { nil, "ETIMEDOUT" })
  t.has(message, "no answer")
  t.eq(board:frame("5s"), "fuel?") -- for which it has no ready answer
  t.ok(board:answer("door?"))
  answer, message, code = host:ask("door?\n", "20ms")
  t.eq({ answer, code }, { nil, "ETIMEDOUT" }, message)
end)

t.test("the loss of the port is told, and its return", function()
  local name = "/tmp/sipeat-serial-" .. sys.uuid()
  local board <close> = t.ok(serial.simulate { link = name })
  t.eq(board.path, name)
  local host <close> = t.ok(serial.open { port = name })
  t.eq(host:next("5s").up, true)
  t.ok(board:command("unplug"))
  local bytes, message, code = host:read(1, "5s")
  t.eq(bytes, nil)
  t.ok(message and code)
  t.eq(host:next("5s").up, false)
  local ok
  ok, message, code = host:write("x")
  t.eq({ ok, code }, { nil, "ENOTCONN" }, message)
  t.eq(host:state().code ~= nil, true)
  t.ok(board:command("replug"))
  t.eq(host:next("10s").up, true)
  t.ok(host:write("back"))
  bytes, message, code = board:read(4)
  t.eq({ bytes, code }, { nil, "ENODEV" }, message) -- its own loss, once
  t.eq(board:read(4), "back")
  t.eq(host:state().lost, 1)
end)

t.test("a port that cannot be opened is a failure with a code", function()
  local line, message, code = serial.open { port = "/dev/sipeat-none" }
  t.eq({ line, code }, { nil, "ENOENT" })
  t.has(message, "is it plugged in?")
  line, message, code = serial.open { port = "/dev/null" }
  t.eq({ line, code }, { nil, "ENOTTY" }, message)
  line, message, code = serial.open { port = "ttyUSB0" }
  t.eq({ line, code }, { nil, "EINVAL" })
  t.has(message, "tcp://host:port")
  local board <close> = simulate()
  local host <close> = connect(board)
  line, message, code = serial.open { port = board.path }
  t.eq({ line, code }, { nil, "EBUSY" })
  t.has(message, "this process has it")
  t.eq(host:state().up, true)
end)

t.test("a patient line waits for its port", function()
  local name = "/tmp/sipeat-serial-" .. sys.uuid()
  local host <close> = t.ok(serial.open { port = name, patient = true })
  t.eq(host:next("5s").up, false)
  local board <close> = t.ok(serial.simulate { link = name })
  t.eq(host:next("10s").up, true)
  t.ok(board:write("hello"))
  t.eq(host:read(5), "hello")
end)

t.test("what waits on a line that is closed ends", function()
  local board <close> = simulate()
  local host = connect(board)
  t.ok(host:next("5s")) -- that it is up
  local waits = task.spawn(function() return host:next() end)
  local asks = task.spawn(function() return host:command("unknown", nil, { timeout = "1h" }) end)
  local again = task.spawn(function() return host:next("1s") end)
  local _, _, code = again:join("5s")
  t.eq(code, "EBUSY")
  t.eq(waits:done(), false)
  host:close()
  _, _, code = waits:join("5s")
  t.eq(code, "CLOSED")
  t.ok(asks:join("5s") == nil)
  host:close() -- once more is harmless
  t.eq(board:state().closed, false)
  t.eq(host:state().closed, true)
  _, _, code = host:write("x")
  t.eq(code, "CLOSED")
  _, _, code = host:next("1s")
  t.eq(code, "CLOSED")
end)

t.test("a task that is killed leaves the line to others", function()
  local board <close> = simulate()
  local host <close> = connect(board)
  t.ok(host:next("5s")) -- that it is up
  local waits = task.spawn(function() return host:next() end)
  task.sleep("1ms")
  waits:kill()
  waits:join("5s")
  t.ok(board:write("x"))
  t.eq(host:read(1), "x")
end)

t.test("a caller's mistakes throw", function()
  t.fails(function() serial.open {} end, "port is required")
  t.fails(function() serial.open { port = "/dev/x", speed = 9600 } end, "unknown option speed")
  t.fails(function() serial.open { port = "/dev/x", protocol = "modbuss" } end, "no protocol")
  t.fails(function() serial.open { port = "/dev/x", framing = "lines" } end, "must be one of")
  t.fails(function() serial.open { port = "/dev/x", settings = {} } end, "are a protocol's")
  t.fails(function() serial.simulate { link = 5 } end, "expected string")
  local board <close> = simulate("line")
  local host <close> = connect(board, "line")
  t.fails(function() host:read(1) end, "has frame() instead")
  t.fails(function() host:write("") end, "not empty")
  t.fails(function() host:command() end, "is text")
  t.fails(function() host:command("x", {}, { timeout = 5 }) end, "timeout")
  local result, message, code = host:command("writ", { bytes = "x" })
  t.eq({ result, code }, { nil, "EINVAL" })
  t.has(message, "did you mean write?")
  result, message, code = board:lines()
  t.eq({ result, code }, { nil, "ENOTSUP" }, message)
  result, message, code = serial.open { port = board.path, framing = { kind = "fixed" } }
  t.eq({ result, code }, { nil, "EINVAL" }, message)
end)

t.test("the engine of each protocol finds its simulator", function()
  for _, protocol in ipairs(serial.protocols()) do
    local board <close> = t.ok(serial.simulate { protocol = protocol.name })
    local host <close> = t.ok(serial.open { port = board.path, protocol = protocol.name })
    local result
    repeat -- some say at first that nobody has answered yet
      t.ok(host:next "20s", protocol.name)
      result = t.ok(host:command("identify", nil, { timeout = "20s" }), protocol.name)
    until result.ok
  end
end)

t.test("the machine's ports are listed", function()
  for _, port in ipairs(t.ok(serial.list())) do
    t.has(port.path, "/dev/")
  end
end)

t.test("a flood of lines starves nobody", function()
  local board <close> = simulate("line")
  local host <close> = connect(board, "line")
  local other_board <close> = simulate("line")
  local other <close> = connect(other_board, "line")
  t.ok(other_board:answer("ping", "pong\n"))
  local flood = task.spawn(function()
    for i = 1, 1000 do
      local ok, message, code = board:write(("line %d\n"):format(i))
      while code == "QUEUE_FULL" do
        task.sleep("1ms")
        ok, message, code = board:write(("line %d\n"):format(i))
      end
      t.ok(ok, message)
    end
    return true
  end)
  local asked = task.spawn(function()
    for _ = 1, 100 do
      t.eq(other:ask("ping\n", "5s"), "pong")
    end
    return true
  end)
  for i = 1, 1000 do
    t.eq(host:frame("10s"), ("line %d"):format(i))
  end
  t.eq(flood:join("30s"), true)
  t.eq(asked:join("30s"), true)
end)
