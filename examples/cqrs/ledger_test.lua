--- The rules of the ledger: sipeat test examples/cqrs
local ledger = require "ledger"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

local function store()
  return assert(sipeat.eventsource.open { db = ":memory:", aggregates = { ledger.machine } })
end

t.test("what is sold was there", function()
  local s <close> = store()
  t.eq(select(3, s:execute("machine", "m-1", "sell", { slot = 1 })), "EMPTY")
  t.ok(s:execute("machine", "m-1", "refill", { slot = 1, drink = "Cola", units = 2 }))
  t.ok(s:execute("machine", "m-1", "sell", { slot = 1, cents = 200 }))
  t.ok(s:execute("machine", "m-1", "sell", { slot = 1, cents = 200 }))
  t.eq(select(3, s:execute("machine", "m-1", "sell", { slot = 1 })), "EMPTY")
  local state, version = s:load("machine", "m-1")
  t.eq({ state.slots["1"].units, version }, { 0, 3 })
end)

t.test("a slot takes what it has room for", function()
  local s <close> = store()
  t.ok(s:execute("machine", "m-1", "refill", { slot = 1, drink = "Cola", units = 50 }))
  local more = { slot = 1, drink = "Cola", units = 1 }
  local _, message, code = s:execute("machine", "m-1", "refill", more)
  t.eq(code, "NO_ROOM")
  t.has(message, "room for 0")
end)

t.test("a count appends the difference, or nothing", function()
  local s <close> = store()
  t.ok(s:execute("machine", "m-1", "refill", { slot = 1, drink = "Cola", units = 10 }))
  local done = t.ok(s:execute("machine", "m-1", "count", { slot = 1, units = 8 }))
  t.eq({ done.version, done.events[1].data.units }, { 2, -2 })
  t.eq(#t.ok(s:execute("machine", "m-1", "count", { slot = 1, units = 8 })).events, 0)
end)
