--- Money: minor units in, the same wire number out, and no cent made or lost.
local money = require "sipeat.money"
local t = require "sipeat.luatest"

local AMOUNTS = {
  { 25.5, "EUR", 2550, "25.50 EUR" }, { 1500, "EUR", 150000, "1500.00 EUR" },
  { 0, "EUR", 0, "0.00 EUR" },
  { 0.01, "USD", 1, "0.01 USD" }, { 19.99, "EUR", 1999, "19.99 EUR" },
  { -4.35, "EUR", -435, "-4.35 EUR" },
  { 1.1, "EUR", 110, "1.10 EUR" }, { 500, "JPY", 500, "500 JPY" },
  { 1.234, "BHD", 1234, "1.234 BHD" },
  { 1.2345, "CLF", 12345, "1.2345 CLF" },
  { 9999999999999.99, "EUR", 999999999999999, "9999999999999.99 EUR" },
}

t.test("amounts become minor units and come back as the same number", function()
  for _, case in ipairs(AMOUNTS) do
    local amount = money.of(case[1], case[2])
    t.eq(amount.amount_minor, case[3])
    t.eq(amount.currency, case[2])
    t.eq(math.type(amount.amount_minor), "integer")
    t.eq(money.to_number(amount), case[1])
    t.eq(tostring(amount), case[4])
  end
end)

t.test("every cent up to a thousand euros survives", function()
  for cents = 0, 100000 do
    local wire = tonumber(("%d.%02d"):format(cents // 100, cents % 100))
    local amount = money.of(wire, "EUR")
    if not amount or amount.amount_minor ~= cents or money.to_number(amount) ~= wire then
      error("lost at " .. cents)
    end
  end
end)

t.test("what is no amount is refused with the reason", function()
  for _, case in ipairs {
    { 25.505, "EUR", "more than the 2 decimals of EUR" },
    { 0.5, "JPY", "more than the 0 decimals" },
    { 1e13, "EUR", "too large" }, { math.huge, "EUR", "too large" },
    { 0 / 0, "EUR", "is a number" },
    { "25.50", "EUR", "is a number" }, { nil, "EUR", "is a number" },
  } do
    local amount, message, code = money.of(case[1], case[2])
    t.eq(amount, nil)
    t.has(message, case[3])
    t.eq(code, "BAD_DATA")
  end
  t.fails(money.new, "integer minor units", 2.5, "EUR")
  t.fails(money.new, "expected a currency", 250, "euro")
  t.fails(money.new, "expected a currency", 250)
end)

t.test("plain tables are money too, and equal money is equal", function()
  t.ok(money.is { amount_minor = 1, currency = "EUR" })
  t.ok(not money.is { amount_minor = 1.5, currency = "EUR" })
  t.ok(not money.is { amount_minor = 1 })
  t.ok(not money.is(5) and not money.is(nil))
  t.eq(money.to_number { amount_minor = 2550, currency = "EUR" }, 25.5)
  t.ok(money.new(5, "EUR") == money.new(5, "EUR"))
  t.ok(money.new(5, "EUR") ~= money.new(5, "USD"))
end)
