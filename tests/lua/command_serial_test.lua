-- How `sipeat serial` shows bytes, and what a session file holds.
local json = require "sipeat.json"
local session = require "sipeat.command_serial_session"
local show = require "sipeat.command_serial_show"
local t = require "sipeat.luatest"

local AT = 1700000000 * 1000000

local function at(us)
  return { start = us, wall = AT + us }
end

-- Frames are "<" … ">"; the words are what is between.
local function describe(bytes, from_host)
  if bytes:sub(1, 1) ~= "<" then
    return 1, "noise"
  end
  local frame = bytes:match "^<[^>]*>"
  return frame and #frame or 0, frame and (from_host and "host " or "board ") .. frame:sub(2, -2)
end

local function view(options)
  options.time = options.time or "off"
  options.describe = options.describe ~= false and describe or nil
  return show.view(options)
end

t.test("bytes are shown in hex and as text, sixteen in a row", function()
  local v = view { describe = false, time = "start" }
  local text = v:add("in", at(1500000), "ABCDEFGHIJKLMNOP\0\255")
  t.eq(text, "1.500000 < 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 50 |ABCDEFGHIJKLMNOP|\n"
    .. "         < 00 ff                                           |..|\n")
  t.has(v:add("out", at(1600000), "x"), "1.600000 > 78")
end)

t.test("frames are put together from pieces and told apart when they come as one", function()
  local v = view {}
  t.eq(v:add("in", at(1), "<po"), "")
  local text = v:add("in", at(2), "ll><b>")
  t.has(text, "|<poll>|  board poll\n")
  t.has(text, "|<b>|  board b\n")
  t.has(v:add("out", at(3), "<ack>"), "host ack")
  t.eq(v.frames, 3)
end)

t.test("the time of a frame is that of its first byte", function()
  local v = view { time = "start" }
  v:add("in", at(1000000), "<po")
  t.has(v:add("in", at(2000000), "ll>"), "1.000000 <")
end)

t.test("noise is shown in one piece, and a frame that does not end as unfinished", function()
  local v = view {}
  t.has(v:add("in", at(5), "??<a>"), "|??|  noise\n")
  t.eq(v:add("in", at(10), "<half"), "")
  t.eq(v:flush(10), "")
  t.has(v:flush(11), "|<half|  unfinished")
  t.eq(v:flush(), "")
end)

t.test("a flood that never becomes a frame is not kept for ever", function()
  local v = view {}
  local shown = 0
  for i = 1, 100 do
    shown = shown + #v:add("in", at(i), "<" .. ("x"):rep(1000))
  end
  t.ok(shown > 90000, shown)
  t.ok(#v.held["in"].bytes <= 5000)
end)

t.test("filters look at words and hex, in either case", function()
  t.eq(view({ filter = "POLL" }):add("in", at(1), "<ack>"), "")
  t.has(view({ filter = "POLL" }):add("in", at(1), "<poll>"), "board poll")
  t.eq(view({ hide = "poll" }):add("in", at(1), "<POLL>"), "")
  t.has(view({ filter = "3c 41" }):add("in", at(1), "<A>"), "board A")
  t.eq(view({ only = "out" }):add("in", at(1), "<A>"), "")
end)

t.test("text comes by lines, whatever ends them", function()
  local v = view { format = "text" }
  t.eq(v:add("in", at(1), "one\r"), "< one\n")
  t.eq(v:add("in", at(2), "\ntwo\nthr"), "< two\n")
  t.eq(v:add("in", at(3), "ee\27\n"), "< three\\x1b\n")
end)

t.test("raw is what came; json is an object a frame", function()
  t.eq(view({ format = "raw" }):add("in", at(1), "\1\2"), "\1\2")
  local object = json.decode(view({ format = "json" }):add("out", at(7), "<a>"))
  t.eq({ object.dir, object.t_us, object.hex, object.words }, { "out", 7, "3c 61 3e", "host a" })
end)

t.test("times: of the day, since the row before, with the date", function()
  local v = view { time = "delta" }
  v:add("in", at(1000000), "<a>")
  t.has(v:add("in", at(1000250), "<b>"), "+0.000250 <")
  t.has(view({ time = "iso" }):add("in", at(123456), "<a>"), "2023-11-14T22:13:20.123456Z <")
  t.ok(view({ time = "clock" }):add("in", at(123456), "<a>"):find "^%d%d:%d%d:20%.123456 <")
end)

t.test("hex is read with or without spaces and 0x", function()
  t.eq(show.unhex "FA fb,0x01", "\250\251\1")
  t.eq(show.unhex "f", nil)
  t.eq(show.unhex "zz", nil)
end)

t.test("how much makes sense: text, or frames", function()
  t.eq(show.sense("abc\1", nil), 0.75)
  t.eq(show.sense("", nil), 0)
  t.eq(show.sense("?<a><b", describe), 0.75)
end)

t.test("a session file comes back as it was written", function()
  local text = session.header { port = "/dev/x", protocol = "xy" } .. session.chunk("in", 5, "\0A")
    .. session.link(6, "lost") .. session.chunk("out", 9, "\255")
  local header, entries = session.parse(text)
  t.eq(header.port, "/dev/x")
  t.eq({ entries[1].dir, entries[1].t_us, entries[1].bytes }, { "in", 5, "\0A" })
  t.eq(entries[2].link, "lost")
  t.eq(entries[3].bytes, "\255")
end)

t.test("a session file that is wrong is refused with its line", function()
  local head = session.header { port = "p" }
  for _, case in ipairs {
    { "", "empty" }, { "x\n", "line 1: it is no JSON" }, { "{}\n", "line 1: the file does not" },
    { head .. '{"t_us":1,"dir":"up","hex":"00"}\n', 'line 2: dir is "in" or "out"' },
    { head .. '{"t_us":1,"dir":"in","hex":"0"}\n', "line 2: hex is no hex" },
    { head .. '{"t_us":1.5,"dir":"in","hex":"00"}\n', "line 2: t_us" },
    { head .. session.chunk("in", 9, "a") .. session.chunk("in", 8, "a"), "line 3: t_us" },
  } do
    local header, message = session.parse(case[1])
    t.eq(header, nil)
    t.has(message, case[2])
  end
end)
