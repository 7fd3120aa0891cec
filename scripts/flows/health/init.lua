--- What machines say of themselves: the state of each is kept, and a fault makes a visit due.
--
-- | event          | does                                                                   |
-- |----------------|------------------------------------------------------------------------|
-- | machine.status | the machine's row of machine_health; another board than its own: repair |
-- | machine.fault  | the row, and a visit: refill for an empty slot, repair for all else    |
-- | machine.sale   | the time of the last sale                                              |
-- | machine.audit  | the time of the last reading                                           |
local capture = require "sipeat.capture"
local sys = require "sipeat.core.sys"
local events = require "flows.events"
local store = require "flows.store"

local M = {}

-- Faults that need nobody: the order did not leave, and the next attempt may do.
local HARMLESS = { NOT_SENT = true, NO_LINK = true, NOT_DISPENSED = true, INVALID_ORDER = true }
local REFILL = { SOLD_OUT = true }

-- Writes these columns of the machine's row; the others stay as they are.
local function note(machine_id, columns)
  local row, problem = store.first("machine_health", { machine_id = machine_id })
  if row == nil then
    return nil, problem
  elseif row then
    local count
    count, problem = store.change("machine_health", { machine_id = machine_id }, columns)
    return count and true, problem
  end
  columns.machine_id, columns.state = machine_id, columns.state or "unknown"
  return store.put("machine_health", columns)
end

-- A visit as soon as possible; one that is due already stays as it is.
local function visit(event, kind, why)
  local machine_id = event.data.machineId
  local known, problem = store.first("maintenance", { machine_id = machine_id, kind = kind })
  if known == nil then
    return nil, problem
  elseif known and known.next_at <= sys.iso_time() then
    return true
  end
  capture.record("machine", {
    command = "health", what = kind .. ": " .. why, machine_id = machine_id, rows = {},
  })
  return store.put("maintenance", {
    machine_id = machine_id, kind = kind, every_days = 1, next_at = sys.iso_time(),
    event_id = event.id,
  })
end

local function on_status(event)
  local data = event.data
  local ok, problem = note(data.machineId, {
    state = data.state, reason = data.reason or "", board = data.board or "",
  })
  if ok and data.state == "wrong_board" then
    return visit(event, "repair", data.reason or data.state)
  end
  return ok, problem
end

local function on_fault(event)
  local data = event.data
  local text = data.reason and ("%s: %s"):format(data.code, data.reason) or data.code
  local ok, problem = note(data.machineId, { last_fault = text, last_fault_at = event.time })
  if not ok or HARMLESS[data.code] then
    return ok, problem
  end
  return visit(event, REFILL[data.code] and "refill" or "repair", text)
end

local function on_sale(event)
  return note(event.data.machineId, { last_sale_at = event.time })
end

local function on_audit(event)
  return note(event.data.machineId, { audited_at = event.time })
end

M.handlers = {
  [events.machine.status] = on_status,
  [events.machine.fault] = on_fault,
  [events.machine.sale] = on_sale,
  [events.machine.audit] = on_audit,
}

return M
