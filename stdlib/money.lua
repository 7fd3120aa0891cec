--- Money: integer minor units and a currency, never a float.
--
-- On the wire an amount is a decimal in major units (25.50); here it is { amount_minor = 2550,
-- currency = "EUR" }, a plain table that survives a journal.
local M = {}

local LIMIT = 10 ^ 15 -- beyond it a double no longer holds every cent

-- ISO 4217: currencies whose minor unit is not a hundredth.
local EXPONENTS = {
  BIF = 0, CLP = 0, DJF = 0, GNF = 0, ISK = 0, JPY = 0, KMF = 0, KRW = 0, PYG = 0, RWF = 0, UGX = 0,
  UYI = 0, VND = 0, VUV = 0, XAF = 0, XOF = 0, XPF = 0,
  BHD = 3, IQD = 3, JOD = 3, KWD = 3, LYD = 3, OMR = 3, TND = 3,
  CLF = 4, UYW = 4,
}

local Money = {
  __name = "sipeat.money",
  __tostring = function(self)
    return M.format(self)
  end,
  __eq = function(a, b)
    return a.amount_minor == b.amount_minor and a.currency == b.currency
  end,
}

function M.is_currency(code)
  return type(code) == "string" and code:find("^%u%u%u$") ~= nil
end

--- How many decimals a currency has: EUR 2, JPY 0, BHD 3.
function M.exponent(currency)
  return EXPONENTS[currency] or 2
end

function M.is(value)
  return type(value) == "table"
    and math.type(value.amount_minor) == "integer"
    and M.is_currency(value.currency)
end

--- An amount in minor units.
function M.new(amount_minor, currency)
  local minor = type(amount_minor) == "number" and math.tointeger(amount_minor)
  if not minor then
    error(("money.new: expected integer minor units, got %s"):format(tostring(amount_minor)), 2)
  elseif not M.is_currency(currency) then
    error(("money.new: expected a currency such as \"EUR\", got %s"):format(tostring(currency)), 2)
  end
  return setmetatable({ amount_minor = minor, currency = currency }, Money)
end

--- An amount in major units as it stands on the wire. nil, message, "BAD_DATA" when it is no
--- number, is too large, or has more decimals than the currency.
function M.of(amount, currency)
  if type(amount) ~= "number" or amount ~= amount then
    return nil, "an amount is a number", "BAD_DATA"
  elseif math.abs(amount) >= LIMIT / 10 ^ M.exponent(currency) then
    return nil, ("the amount %s is too large"):format(amount), "BAD_DATA"
  end
  local scale = 10 ^ M.exponent(currency)
  local minor = math.floor(amount * scale + 0.5)
  if minor / scale ~= amount then
    return nil, ("%.14g has more than the %d decimals of %s"):format(
      amount, M.exponent(currency), currency
    ), "BAD_DATA"
  end
  return M.new(minor, currency)
end

--- The amount in major units: the number that money.of was given.
function M.to_number(money)
  local number = money.amount_minor / 10 ^ M.exponent(money.currency)
  return math.tointeger(number) or number
end

--- "25.50 EUR".
function M.format(money)
  local digits = M.exponent(money.currency)
  return ("%." .. digits .. "f %s"):format(money.amount_minor / 10 ^ digits, money.currency)
end

return M
