--- How a machine is commanded, as machine.created says it: { name, proof?, … }.
--
-- Without a name it is simulated. A real board has { name = "xy", port, id?, settings? (of the
-- protocol), slotOffset?, dispenseTime?, settleTime?, readyTime?, baud?, dtr?, rts?, rs485? }, and
-- beside it, each with a name and settings of its own, `payment` (a reader of cards) and `audit`
-- (its books).
local json = require "sipeat.json"
local vending = require "sipeat.vending"

local M = {}

local PROOFS = { sensor = true, counter = true, none = true }
local PARTS = { "payment", "audit" }

-- Fields of the event that become settings of the driver.
local FIELDS = {
  port = "port", id = "id", settings = "settings", slotOffset = "slot_offset",
  dispenseTime = "dispense_time", settleTime = "settle_time", readyTime = "ready_time",
  baud = "baud", dtr = "dtr", rts = "rts", rs485 = "rs485",
}
local OTHERS = { name = true, proof = true, payment = true, audit = true }

-- The driver's settings, or nil and what is wrong with the fields.
local function settings_of(data)
  local out = {}
  for field, value in pairs(data) do
    if FIELDS[field] then
      out[FIELDS[field]] = value
    elseif not OTHERS[field] then
      return nil, ("driver.%s is not known"):format(tostring(field))
    end
  end
  return out
end

-- Driver and settings of a board, and what proves a dispense; or nil and what is wrong.
local function board(data, what)
  if type(data) ~= "table" or type(data.name) ~= "string" then
    return nil, what .. ".name is a text"
  end
  local settings, message = settings_of(data)
  if not settings then
    return nil, message
  end
  local ok, proof = vending.check(data.name, settings)
  if not ok then
    return nil, (proof.message:gsub("^vending: ", what .. ": "))
  end
  return settings, proof
end

local function is_simulated(data)
  return data.name == nil or data.name == "simulated"
end

--- The driver's name and the proof of dispense of a machine, or nil and what is wrong.
function M.proof(data)
  if data.proof ~= nil and not PROOFS[data.proof] then
    return nil, "driver.proof is sensor, counter or none"
  elseif is_simulated(data) then
    return "simulated", data.proof or "sensor"
  end
  local settings, proof = board(data, "driver")
  if not settings then
    return nil, proof
  elseif data.proof and data.proof ~= "none" and data.proof ~= proof then
    local text = "driver.proof: %s with these settings proves by %s, not by %s"
    return nil, text:format(data.name, proof, data.proof)
  end
  return data.name, data.proof or proof
end

--- The row of machine_drivers, or nil and what is wrong.
function M.check(data)
  local settings, message
  if not is_simulated(data) then
    settings, message = board(data, "driver")
    if not settings then
      return nil, message
    end
  end
  local row = { settings = json.encode(settings or {}) }
  for _, part in ipairs(PARTS) do
    if data[part] ~= nil then
      settings, message = board(data[part], "driver." .. part)
      if not settings then
        return nil, message
      end
      row[part] = json.encode { driver = data[part].name, settings = settings }
    end
  end
  return row
end

return M
