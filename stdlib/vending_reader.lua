--- Readers of cards as `payment` of a machine: a charge is an order as any other (at most one for
--- an approval, in the ledger before it leaves), and is settled with what became of the delivery.
--
-- A Vendotek reader (vtk) takes a charge with the number that it was given before as the same one,
-- so one whose answer was lost is taken up again under its number. A Qibixx interface has no
-- numbers.
local failure = require "sipeat.failure"
local profiles = require "sipeat.vending_profiles"

local M = {}

local CHARGE = { timeout = "6m" } -- a customer, and beyond the engine's own deadline
local SETTLE = { timeout = "4m" }

--- What is kept with a charge: its amount, and the number that the reader will know it by.
function M.before(self, _, args)
  local before = { amount_minor = args.amount_minor }
  if self.protocol == "vtk" then
    local counters, why = self:ask "counters"
    if not counters then
      return nil, why
    end
    before.operation = counters.next_operation
  end
  return before
end

local function more_of(result, before)
  return {
    amount_minor = result.amount_minor, operation = result.operation or before.operation,
    receipt = result.receipt,
  }
end

local function text_of(self, result, otherwise)
  return "vending: " .. self:text(result.reason or result.code or otherwise)
end

--- Charges once: "none" (a reader proves no delivery) and what was approved; or nil and a failure.
function M.charge(self, slot, approval, args, before)
  local result, message, code = self.line:command("charge", {
    amount_minor = before.amount_minor, operation = before.operation, key = approval,
    slot = math.tointeger(tonumber(slot)), product = args.product,
  }, CHARGE)
  if not result then
    return nil, profiles.failed("vending: " .. self:text(message), code)
  elseif result.outcome == "done" then
    return "none", nil, more_of(result, before)
  elseif result.outcome == "failed" and profiles.NOT_CHARGED[result.code] then
    return nil, failure.transient(text_of(self, result, "not charged"), "NOT_SENT")
  elseif result.outcome == "failed" then
    return nil, failure.permanent(text_of(self, result, "declined"), result.code or "DECLINED")
  end
  local text = text_of(self, result, "nothing says how the charge ended")
  return nil, failure.new(text, "OUTCOME_UNKNOWN", "timeout")
end

-- The reader saw the charge: the same number again gives what became of it.
local function again(self, before)
  local result, message, code = self.line:command("charge", {
    amount_minor = before.amount_minor, operation = before.operation, again = true,
  }, CHARGE)
  if not result then
    return nil, failure.transient("vending: " .. self:text(message), code)
  elseif result.outcome == "done" then
    return "done", "none", more_of(result, before)
  elseif result.outcome == "failed" then
    return "not_done"
  elseif profiles.UNREAD[result.code] then
    return nil, failure.transient(text_of(self, result, "unknown"), "OUTCOME_UNKNOWN")
  end
  return "unknown"
end

--- What became of a charge.
function M.resolve(self, _, before)
  if not before.operation then
    return "unknown"
  end
  local result, message, code = self.line:command("resolve", { operation = before.operation },
    { timeout = "30s" })
  if not result then
    return nil, failure.transient("vending: " .. self:text(message), code)
  elseif result.outcome == "failed" then
    return "not_done"
  elseif result.code == "SEEN" then
    return again(self, before)
  elseif profiles.UNREAD[result.code] then
    return nil, failure.transient(text_of(self, result, "unknown"), "OUTCOME_UNKNOWN")
  end
  return "unknown"
end

--- Tells the reader what was delivered: true and the result, or nil and a failure. vtk: the same
--- again is harmless.
function M.settle(self, operation, amount_minor, is_delivered)
  local ok, why = self:ready()
  if not ok then
    return nil, failure.transient(failure.of(why).message, "NOT_SENT")
  end
  local fields = { operation = operation, ok = is_delivered, amount_minor = amount_minor }
  local result, message, code = self.line:command("settle", fields, SETTLE)
  if not result then
    return nil, failure.transient("vending: " .. self:text(message), code)
  elseif result.outcome == "done" or result.ok then
    return { operation = operation, amount_minor = result.amount_minor, receipt = result.receipt }
  elseif result.outcome == "failed" and profiles.NOT_CHARGED[result.code] then
    return nil, failure.transient(text_of(self, result, "not settled"), "NOT_SENT")
  elseif result.outcome == "failed" and result.code ~= "NOT_APPROVED" then
    return nil, failure.permanent(text_of(self, result, "not settled"), result.code)
  end -- what it had approved it has forgotten, and decided by itself
  return nil, failure.new(text_of(self, result, "not confirmed"), "OUTCOME_UNKNOWN", "timeout")
end

return M
