---@meta sipeat.money
error "sipeat.money: this file describes the module to an editor; it is not run"

---Money: integer minor units and a currency.
---@class sipeat.money
local M = {}

---@class sipeat.Money
---@field amount_minor integer cents, yen, fils
---@field currency string ISO 4217, as in "EUR"

---@param amount_minor integer
---@param currency string
---@return sipeat.Money
function M.new(amount_minor, currency) end

---An amount in major units, as it stands on the wire.
---@param amount number
---@param currency string
---@return sipeat.Money?
---@return string? message
---@return string? code "BAD_DATA": no number, too large, or more decimals than the currency has
function M.of(amount, currency) end

---@param money sipeat.Money
---@return number amount in major units
function M.to_number(money) end

---@param money sipeat.Money
---@return string text as in "25.50 EUR"
function M.format(money) end

---@param currency string
---@return integer decimals EUR 2, JPY 0, BHD 3
function M.exponent(currency) end

---@param value any
---@return boolean
function M.is(value) end

---@param code any
---@return boolean
function M.is_currency(code) end

return M
