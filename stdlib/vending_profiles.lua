--- What sipeat.vending knows of the boards that it drives: what each can do and prove, and what the
--- codes of its engine mean for an order.
local failure = require "sipeat.failure"

local M = {}

M.LONGEST_MS = 240000 -- the longest order of any engine, unless its settings say otherwise

local function set(names)
  local out = {}
  for name in names:gmatch "%S+" do
    out[name] = true
  end
  return out
end

-- Codes of an order of which not a byte has left: it may be made again.
M.UNSENT = set [[NO_LINK LINK BUSY IN_DOUBT NOT_SENT NO_ANSWER NOT_READY COIL_ON SENSOR_SET EBUSY
  WRONG_DEVICE OTHER_DEVICE QUEUE_FULL EQUEUEFULL]]

-- Codes of a charge that the reader never saw.
M.NOT_CHARGED = set "NO_LINK LINK NUMBER DISABLED TIMEOUT BUSY NOT_READY NO_ANSWER SILENT"

-- Codes of a command that the engine refused for its fields.
local REFUSED = set "EINVAL NOT_FOUND ENOTFOUND"

--- The failure of an order that has no result, by the code that it ended with.
function M.failed(text, code)
  if REFUSED[code] then
    return failure.permanent(text, "INVALID_ORDER")
  elseif M.UNSENT[code] then
    return failure.transient(text, "NOT_SENT")
  end
  return failure.new(text, "OUTCOME_UNKNOWN", "timeout")
end

-- Codes of a question that has no answer now, and may have one later.
M.UNREAD = set "NO_LINK LINK NO_ANSWER NOT_READY TIMEOUT SILENT WRONG_DEVICE"

-- Codes that have a name of their own in sipeat.vending.
M.CODES = { JAM = "JAMMED", EMPTY = "SOLD_OUT", NO_MOTOR = "UNKNOWN_SLOT", NO_DROP = "JAMMED" }

local function is_on(value, otherwise)
  if value == nil then
    return otherwise
  end
  return value == true or type(value) == "number" and value ~= 0
end

-- Each gives the profile for its settings.
local MAKE = {
  xy = function(settings)
    local seen = is_on(settings.drive, true) and is_on(settings.sensor, true)
    return { dispenses = true, proof = seen and "sensor" or "none", settle_ms = 5000 }
  end,
  modbus = function(settings)
    local counts = (settings.counter_register or -1) >= 0
    local seen = settings.profile ~= "dispenser" or is_on(settings.result_sensor, true)
    return {
      dispenses = true, proof = seen and "sensor" or counts and "counter" or "none",
      counters = counts, shared_counter = true, weak_id = true, settle_ms = 6000,
    }
  end,
  cctalk = function(settings)
    local acceptor = settings.acceptor == 0 and 0 or 1
    return {
      dispenses = true, proof = "counter", counters = true, settle_ms = 2000,
      devices = acceptor + (settings.hoppers or 1),
    }
  end,
  qibixx = function()
    return { pays = true, proof = "none", settle_ms = 0 }
  end,
  vtk = function()
    return { pays = true, proof = "none", settle_ms = 0 }
  end,
  dex = function()
    return { audits = true, proof = "none", settle_ms = 0, is_not_asked = true }
  end,
}

--- { dispenses, pays, audits, proof, counters, shared_counter (of the whole board), weak_id (many
--- boards say the same), devices (that make up its name), is_not_asked (who it is: a session would
--- be held for that), settle_ms }
function M.of(protocol, settings)
  return MAKE[protocol](settings)
end

return M
