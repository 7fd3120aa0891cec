--- What is pure: every pair of states, every rule of the risk, amounts, and the diagram of README.
local decisions = require "orders.decisions"
local machine = require "orders.states"
local risk = require "orders.risk"
local t = require "sipeat.testing"

local LEGAL = {
  pending = "paid cancelled", paid = "confirmed on_hold cancelled", on_hold = "confirmed cancelled",
  confirmed = "preparing cancelled", preparing = "shipping cancelled", shipping = "delivered",
  delivered = "", cancelled = "",
}

t.test("every pair of states is legal or refused, as an order is moved too", function()
  local pairs_seen = 0
  for from, allowed in pairs(LEGAL) do
    for to in pairs(LEGAL) do
      pairs_seen = pairs_seen + 1
      local order = { id = "o", state = from, reserved = 0, items = {} }
      local told = {}
      local ok, _, code, refusal = decisions.move("o", to, { operator = true, shipper_id = "s" })(
        order, { emit = function(_, kind) told[#told + 1] = kind end })
      if (" " .. allowed .. " "):find(" " .. to .. " ", 1, true) then
        t.eq({ ok, order.state, #told }, { true, to, 1 })
      else
        t.eq({ ok, order.state, #told }, { nil, from, 0 }, from .. " to " .. to)
        t.eq(code, allowed == "" and "FINAL_STATE" or "ILLEGAL_TRANSITION")
        t.eq(refusal.allowed, machine:allowed(from))
      end
    end
  end
  t.eq(pairs_seen, 64)
end)

local QUIET = { recent = 1, restaurants = 1, declined = 0, delivered = 0, average = 0 }

local function assess(order, history)
  local all = { total = 2550, items = { { foodId = "f", quantity = 1 } } }
  for name, value in pairs(order) do
    all[name] = value
  end
  return risk.assess(all, setmetatable(history or {}, { __index = QUIET }))
end

t.test("a plain order has no risk", function()
  t.eq(assess {}, { score = 0, hold = false, rules = {} })
end)

t.test("each rule finds what it is for", function()
  local crowd = { { foodId = "f", quantity = 51 } }
  for _, case in ipairs {
    { "velocity", {}, { recent = 6 }, true }, { "restaurants", {}, { restaurants = 4 }, false },
    { "declined_cards", {}, { declined = 3 }, true },
    { "large_amount", { total = 50001 }, {}, true },
    { "jump", { total = 12751 }, { delivered = 3, average = 2550 }, false },
    { "quantity", { items = crowd }, {}, false },
  } do
    local found = assess(case[2], case[3])
    t.eq({ #found.rules, found.hold }, { 1, case[4] }, case[1])
    t.has(found.rules[1], case[1] .. ": ")
  end
end)

t.test("what each rule just lets pass is no risk, and two weak ones hold", function()
  t.eq(assess({ total = 50000, items = { { foodId = "f", quantity = 50 } } },
    { recent = 5, restaurants = 3, declined = 2 }).rules, {})
  t.eq(assess({ total = 12750 }, { delivered = 3, average = 2550 }).rules, {})
  t.eq(assess({ total = 99999 }, { delivered = 2, average = 1 }).score, 50)
  t.ok(assess({ items = { { foodId = "f", quantity = 60 } } }, { restaurants = 9 }).hold)
end)

t.test("the diagram in the README is that of the machine", function()
  local sys = require "sipeat.core.sys"
  local here = debug.getinfo(1, "S").source:match "^@?(.*/)" or "./"
  t.has(t.ok(sys.read_file(here .. "README.md")), machine:mermaid())
end)
