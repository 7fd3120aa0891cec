--- Options tables: every wrong call is told what is wrong, at the caller's line.
local env = require "sipeat.env"
local opts = require "sipeat.opts"
local t = require "sipeat.luatest"

local DEMO = opts.spec("demo", {
  name = { "string", required = true },
  timeout = { "duration", default = "10s" },
  limit = { "size", default = "1mb" },
  count = { "integer", min = 1, max = 9, default = 3 },
  ratio = { "number" },
  loud = { "boolean", default = false },
  mode = { "string", enum = { "fast", "slow" } },
  list = { "string[]" },
  handler = { "handler" },
  callback = { "function" },
  token = { "secret" },
  either = { "string|table" },
  retry = { "table", spec = opts.retry },
  even = { "integer", check = function(n)
    return n % 2 == 1 and "must be even" or nil
  end },
  anything = { "any" },
})

local function demo(options)
  local o = DEMO(options)
  return o
end

t.test("defaults stand in for what is missing, converted", function()
  local o = demo { name = "x" }
  t.eq(o, { name = "x", timeout = 10000, limit = 1048576, count = 3, loud = false })
end)

t.test("values are converted and copied", function()
  local secret, list, handler = env.conceal "s", { "a", "b" }, setmetatable({}, { __call = print })
  local o = demo {
    name = "", timeout = "1.5s", limit = "10KB", count = 5.0, ratio = 1, list = list,
    token = secret,
    handler = handler, either = { 1 }, retry = { attempts = 5 }, even = 4, mode = "slow",
    anything = 1,
  }
  t.eq(o.timeout, 1500)
  t.eq(o.limit, 10240)
  t.eq(math.type(o.count), "integer")
  t.eq(o.list, { "a", "b" })
  t.ok(o.list ~= list)
  t.ok(o.token == secret)
  t.ok(o.handler == handler)
  t.eq(o.retry, { attempts = 5, backoff = { "200ms", "30s" } })
end)

local WRONG = {
  { { }, "demo: option name is required (string)" },
  { { name = 5 }, "demo: option name: expected string, got 5" },
  { { name = "x", tiemout = "1s" }, "demo: unknown option tiemout (did you mean timeout?)" },
  { { name = "x", Timeout = "1s" }, "did you mean timeout?" },
  { { name = "x", zzzzzzzzzz = 1 }, "unknown option zzzzzzzzzz (known: anything, callback, count" },
  { { name = "x", [1] = 1 }, "unknown option [1]" },
  { { name = "x", [true] = 1 }, "unknown option [true]" },
  { { name = "x", timeout = 5 }, "a duration is a string with a unit" },
  { { name = "x", timeout = "5" }, '"5" is no duration' },
  { { name = "x", timeout = "5 s" }, "is no duration" },
  { { name = "x", timeout = "-5s" }, "is no duration" },
  { { name = "x", timeout = "5years" }, "is no duration" },
  { { name = "x", timeout = "999999999d" }, "is no duration" },
  { { name = "x", limit = "ten" }, "is no size" },
  { { name = "x", limit = -1 }, "is no size" },
  { { name = "x", limit = "5tb" }, "is no size" },
  { { name = "x", count = 0 }, "demo: option count must be at least 1; got 0" },
  { { name = "x", count = 10 }, "must be at most 9; got 10" },
  { { name = "x", count = 1.5 }, "expected integer, got 1.5" },
  { { name = "x", count = "5" }, 'expected integer, got "5"' },
  { { name = "x", mode = "fats" }, 'must be one of "fast", "slow"; got "fats"' },
  { { name = "x", list = { "a", 5 } }, "expected string[], got a table" },
  { { name = "x", list = { a = "b" } }, "expected string[]" },
  { { name = "x", handler = {} }, "expected handler, got a table" },
  { { name = "x", callback = {} }, "expected function" },
  { { name = "x", token = 5 }, "expected secret, got 5" },
  { { name = "x", either = 5 }, "expected string|table, got 5" },
  { { name = "x", retry = { atempts = 5 } }, "sipeat.retry: unknown option atempts" },
  { { name = "x", even = 3 }, "option even must be even" },
  { { name = env.conceal "hunter2" }, "expected string, got a secret" },
  { 5, "demo: expected a table of options, got 5" },
}

t.test("wrong calls are told what is wrong", function()
  for _, case in ipairs(WRONG) do
    t.fails(demo, case[2], case[1])
    local out, message, code = DEMO(case[1], false)
    t.eq(out, nil)
    t.has(message, case[2])
    t.eq(code, "EINVAL")
  end
end)

t.test("the caller's line is named", function()
  local ok, message = pcall(function()
    local o = demo { name = 5 }
    return o
  end)
  t.ok(not ok)
  t.has(message, "opts_test.lua:" .. debug.getinfo(1, "l").currentline - 4)
end)

t.test("a wrong spec is a mistake at load", function()
  t.fails(opts.spec, 'unknown type "strin"', "bad", { a = { "strin" } })
  t.fails(opts.spec, "unknown property defualt", "bad", { a = { "string", defualt = 1 } })
  local inner = opts.spec("inner", { time = { "duration", default = "1s" } })
  local outer = opts.spec("outer", {
    a = { "table", default = { time = "2s" }, spec = inner },
    b = { "table", default = {}, spec = inner },
  })
  t.eq(outer {}, { a = { time = 2000 }, b = { time = 1000 } })
  t.fails(opts.spec, "its default: inner: option time", "bad", {
    a = { "table", default = { time = "soon" }, spec = inner },
  })
  t.fails(opts.spec, "its default is no integer", "bad", { a = { "integer", default = "x" } })
end)

t.test("a wrong value is shown short and without secrets", function()
  t.eq(opts.show(("x"):rep(100)), '"' .. ("x"):rep(37) .. '..."')
  t.eq(opts.show "a\nb", '"a\\nb"')
  t.eq(opts.show "é\255", [["\xc3\xa9\xff"]])
  t.eq(opts.show(("x"):rep(36) .. ("é"):rep(9)), '"' .. ("x"):rep(36) .. '..."')
  t.eq(opts.show(env.conceal "hunter2"), "a secret")
end)

t.test("the nearest name is found, and none for what is far off", function()
  t.eq(opts.nearest("colour", { "color", "count" }), "color")
  t.eq(opts.nearest("", { "abc" }), nil)
  t.eq(opts.nearest("qqqqq", { "abc", "def" }), nil)
end)

t.test("pauses double up to the last one", function()
  local pause = opts.backoff { backoff = { "100ms", "1s" } }
  t.eq({ pause(1), pause(2), pause(3), pause(4), pause(5), pause(60) },
    { 100, 200, 400, 800, 1000, 1000 })
  local same = opts.backoff { backoff = { "5s" } }
  t.eq({ same(1), same(9) }, { 5000, 5000 })
  t.eq(opts.backoff { backoff = {} }(3), 0)
  t.eq(select(3, opts.backoff { backoff = { "soon" } }), "EINVAL")
  t.eq(select(3, opts.backoff { backoff = { "1s", "2s", "3s" } }), "EINVAL")
end)
