--- What must hold for the slots of a machine beyond their types.
local M = {}

-- What is wrong with one, or nil.
local function of_slot(slot, seen)
  if slot.slot < 1 or slot.slot > 999 then
    return ("slot %d: slots are 1 to 999"):format(slot.slot)
  elseif seen[slot.slot] then
    return ("slot %d is there twice"):format(slot.slot)
  elseif not slot.drink:find("%S") then
    return ("slot %d: its drink has no name"):format(slot.slot)
  elseif slot.stock < 0 or slot.stock > (slot.capacity or slot.stock) then
    return ("slot %d: a stock of %d is not from 0 to its capacity"):format(slot.slot, slot.stock)
  elseif slot.price and slot.price.amount_minor < 0 then
    return ("slot %d: its price is below nothing"):format(slot.slot)
  end
end

--- What is wrong with a list of slots and with which of them, or nil.
function M.problem(slots)
  if #slots == 0 then
    return "the machine has no slots"
  end
  local seen = {}
  for i, slot in ipairs(slots) do
    local problem = of_slot(slot, seen)
    if problem then
      return problem, i
    end
    seen[slot.slot] = true
  end
end

return M
