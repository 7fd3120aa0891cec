--- The machines that this process can command: attaches each to its driver when it is first needed,
--- from what the store knows of it.
local env = require "sipeat.env"
local json = require "sipeat.json"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local vending = require "sipeat.vending"
local settings = require "flows.settings"
local store = require "flows.store"

local M = {}

local attaching = {} -- id -> a semaphore while somebody attaches the machine: one at a time
local changed = {} -- ids of machines that were set up anew since they were attached

-- Drinks in the machine: those in stock, and those that are reserved and have not fallen yet.
local function physical_stock(machine_id, rows)
  local slots = {}
  for _, row in ipairs(rows) do
    slots[row.slot] = row.stock
  end
  for _, state in ipairs { "held", "dispensing" } do
    local waiting, problem = store.find("reservations", { machine_id = machine_id, state = state })
    if not waiting then
      return nil, problem
    end
    for _, reservation in ipairs(waiting) do
      local slot = reservation.slot
      slots[slot] = slots[slot] and slots[slot] + 1
    end
  end
  return slots
end

local function is_ready(machine)
  return vending.is_attached(machine.machine_id) and not changed[machine.machine_id]
end

-- Settings of the simulated machine: what is in its slots, and where its world is kept.
local function simulated(machine)
  local rows, problem = store.find("inventory", { machine_id = machine.machine_id })
  if not rows then
    return nil, problem
  end
  local slots
  slots, problem = physical_stock(machine.machine_id, rows)
  if not slots then
    return nil, problem
  end
  local worlds = env.get "SIPEAT_SIM_WORLDS"
  return {
    proof = machine.proof,
    slots = slots,
    dispense_time = env.get("SIPEAT_SIM_DISPENSE_TIME", "300ms"),
    file = worlds and ("%s/%s.json"):format(worlds, sys.sha256(machine.machine_id):sub(1, 16)),
  }
end

local function decoded(text)
  local value = text and json.decode(text)
  return type(value) == "table" and value or nil
end

local function attach(machine)
  if is_ready(machine) then
    return true -- while this one waited
  end
  local id = machine.machine_id
  local row, problem = store.first("machine_drivers", { machine_id = id })
  if row == nil then
    return nil, problem
  end
  row = row or {} -- a machine of before there were such rows
  local options = decoded(row.settings)
  if machine.driver == "simulated" then
    options, problem = simulated(machine)
    if not options then
      return nil, problem
    end
  end
  changed[id] = nil
  return vending.attach {
    machine = id, driver = machine.driver, settings = options or {},
    payment = decoded(row.payment), audit = decoded(row.audit),
  }
end

--- Attaches a machine (a row of the store), unless it is attached. true, or nil and a failure.
function M.attach(machine)
  if is_ready(machine) then
    return true
  end
  local id = machine.machine_id
  local turn = attaching[id] or task.semaphore(1)
  attaching[id] = turn
  local ok, problem = turn:with(attach, machine)
  if ok then
    attaching[id] = nil -- those who wait for this turn see that it is ready
  end
  return ok, problem
end

--- The machine is set up anew: it gets its new settings when it is next needed. What it was
--- commanded so far stays known.
function M.refresh(machine_id)
  changed[machine_id] = true
end

--- Orders are kept in the database beside the store's, so that whoever starts after a crash knows
--- them; and what machines say of themselves goes to its topic.
function M.start()
  vending.ledger(settings.database())
  vending.events { topic = settings.topics.health[1] }
end

return M
