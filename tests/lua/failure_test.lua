--- Failures: what kind a failure is of, and what catch makes of every way to fail.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local t = require "sipeat.luatest"

t.test("a code says which kind a failure is of", function()
  for code, kind in pairs {
    BAD_DATA = "permanent", INVALID_EVENT = "permanent", UNKNOWN_TYPE = "permanent",
    TOO_BIG = "permanent", ECANCELED = "cancelled", ETIMEDOUT = "timeout", ECONNRESET = "transient",
    ["?"] = "transient",
  } do
    t.eq(failure.new("x", code).kind, kind, code)
  end
  t.eq(failure.new("x").kind, "transient")
  t.eq(failure.permanent("x", "ETIMEDOUT").kind, "permanent")
  t.eq(failure.transient("x", "BAD_DATA").kind, "transient")
  t.fails(failure.new, 'unknown kind "fatal"', "x", "C", "fatal")
  t.eq(tostring(failure.permanent "declined"), "declined")
end)

local CATCH = {
  { "nothing", function() end, true },
  { "a result", function() return 5 end, true, 5 },
  { "false alone", function() return false end, true, false },
  { "nil and nil", function() return nil, nil end, true },
  { "nil and text", function() return nil, "broken" end, nil, "broken", "FAILED", "transient" },
  { "nil, text, code", function() return nil, "b", "BAD_DATA" end, nil, "b", "BAD_DATA",
    "permanent" },
  { "false and text", function() return false, "no" end, nil, "no", "FAILED", "transient" },
  { "nil and a failure", function() return nil, failure.permanent "p" end, nil, "p", "PERMANENT",
    "permanent" },
  { "a failure alone", function() return failure.permanent("p", "X") end, nil, "p", "X",
    "permanent" },
  { "a raised failure", function() error(failure.transient "t") end, nil, "t", "FAILED",
    "transient" },
  { "a raised text", function() error "boom" end, nil, "boom", "SCRIPT_ERROR", "bug" },
  { "a raised table", function() error {} end, nil, "raised table", "SCRIPT_ERROR", "bug" },
  { "raised nil", function() error() end, nil, "raised nil", "SCRIPT_ERROR", "bug" },
  { "an index of nil", function() return (nil).y end, nil, "attempt to index", "SCRIPT_ERROR",
    "bug" },
  { "a stack overflow", function() local function f() return 1 + f() end f() end, nil, "overflow",
    "SCRIPT_ERROR", "bug" },
}

t.test("catch tells results from every kind of failure", function()
  for _, case in ipairs(CATCH) do
    local ok, value = failure.catch(case[2])
    t.eq(ok, case[3], case[1])
    if case[3] then
      t.eq(value, case[4], case[1])
    else
      t.ok(failure.is(value), case[1])
      t.has(tostring(value), case[4])
      t.eq(value.code, case[5], case[1])
      t.eq(value.kind, case[6], case[1])
      t.eq(value.traceback ~= nil, value.kind == "bug", case[1])
    end
  end
end)

t.test("arguments go in and all results come out", function()
  t.eq({ failure.catch(function(...) return ... end, 1, "b", nil, 4) }, { true, 1, "b", nil, 4 })
end)

t.test("a traceback leads to the line that raised", function()
  local _, why = failure.catch(function()
    error "here"
  end)
  t.has(why.traceback, "failure_test.lua:" .. debug.getinfo(1, "l").currentline - 2)
end)

t.test("the traceback of a stack that has overflowed is made without walking it", function()
  local line = debug.getinfo(1, "l").currentline + 2
  local function fall()
    return 1 + fall()
  end
  local _, why = failure.catch(fall)
  t.has(why.traceback, "stack overflow\nstack traceback:\n")
  t.has(why.traceback, ("failure_test.lua:%d: in upvalue 'fall'"):format(line))
  t.has(why.traceback, "levels and more below")
  local _, lines = why.traceback:gsub("\n", "")
  t.ok(lines < 30, lines)
  t.eq(debug.traceback(false), false)
  t.eq(debug.traceback(), debug.traceback(nil, 1))
end)

t.test("only what certainly did not happen is proven absent", function()
  for _, case in ipairs {
    { failure.permanent "declined", true },
    { failure.permanent("declined", "CARD_DECLINED"), true },
    { failure.of("x", "ECONNREFUSED"), true },
    { failure.of("x", "RATE_LIMITED"), true },
    { failure.of("x", "EDNS"), true },
    { failure.of("x", "INVALID_EVENT"), true },
    { failure.of("an answer of 10 MB", "TOO_BIG"), false },
    { failure.of("answer is not JSON", "BAD_DATA"), false },
    { failure.permanent("parked", "UNKNOWN_OUTCOME"), false },
    { failure.of("x", "ETIMEDOUT"), false },
    { failure.of("x", "ECONNRESET"), false },
    { failure.of "x", false },
    { failure.new("x", "SCRIPT_ERROR", "bug"), false },
  } do
    t.eq(failure.proves_absence(case[1]), case[2], case[1].message .. " " .. case[1].code)
  end
end)

t.test("failures in plain data survive as text", function()
  local inner = failure.permanent("declined", "CARD_DECLINED")
  local outer = failure.new("3 of 4", "OBSERVERS_FAILED", "transient")
  outer.failures = { mail = inner }
  local value = { status = "failed", list = json.array(), why = outer, n = { 1, 2.5, true } }
  local text = failure.encode(value)
  t.eq(json.decode(text), json.decode(json.encode(failure.to_plain(value))))
  local back = failure.from_plain(json.decode(text))
  t.eq({ failure.is(back), failure.is(back.why), failure.is(back.why.failures.mail) },
    { false, true, true })
  t.eq({ back.why.message, back.why.failures.mail.code, back.n }, {
    "3 of 4", "CARD_DECLINED", { 1, 2.5, true },
  })
  t.eq(json.decode(failure.encode(inner)), failure.to_plain(inner))
end)

t.test("what is no plain data has no text, and says where it is", function()
  local why = failure.transient "x"
  why.cause = { f = print }
  local text, message, code = failure.encode { why = why }
  t.eq({ text == nil, code }, { true, "BAD_DATA" })
  t.has(message, "why.cause.f: a function")
end)
