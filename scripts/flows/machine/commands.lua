--- The commands that set a machine up. Each checks its part of the event, writes the rows of one
--- table, and can put back what was there before.
local failure = require "sipeat.failure"
local money = require "sipeat.money"
local sys = require "sipeat.core.sys"
local driver = require "flows.machine.driver"
local fleet = require "flows.fleet"
local network = require "flows.machine.network"
local place = require "flows.machine.place"
local rows = require "flows.machine.rows"
local slots = require "flows.machine.slots"
local store = require "flows.store"

local M = {}

local DAY_MS = 24 * 60 * 60 * 1000

--- Reads what is there before anything changes.
M.survey = {
  "survey",
  args = function(event)
    return { event_id = event.id, machine_id = event.data.machineId }
  end,
  run = rows.survey,
  effect = "repeatable",
}

--- Location validation: the machine's row, with where it stands.
function M.location(kind)
  return rows.command {
    name = "location",
    table = "machines",
    args = function(event)
      return {
        name = event.data.machineName, location = event.data.location,
        driver = event.data.driver or {},
      }
    end,
    make = function(data)
      local where, message = place.check(data.location)
      if not where then
        return nil, message, "INVALID_LOCATION"
      end
      local name, proof = driver.proof(data.driver)
      if not name then
        return nil, proof, "INVALID_DRIVER"
      end
      where.name, where.type, where.status = data.name, kind, "setting_up"
      where.driver, where.proof = name, proof
      return { where }
    end,
    after = fleet.refresh,
  }
end

--- The driver's settings: of the board that turns the motors, of the reader of cards, of the books.
M.driver = rows.command {
  name = "driver",
  table = "machine_drivers",
  args = function(event)
    return event.data.driver or {}
  end,
  make = function(data)
    local row, message = driver.check(data)
    if not row then
      return nil, message, "INVALID_DRIVER"
    end
    return { row }
  end,
  after = fleet.refresh,
}

local DEFAULT_CAPACITY = 10

--- Inventory set-up: a row for each slot.
M.inventory = rows.command {
  name = "inventory",
  table = "inventory",
  args = function(event)
    return { slots = event.data.slots, currency = event.data.currency or "EUR" }
  end,
  make = function(data)
    local out = {}
    local problem = slots.problem(data.slots)
    if problem then
      return nil, problem, "INVALID_SLOTS"
    end
    for i, slot in ipairs(data.slots) do
      local price = slot.price or money.new(0, data.currency)
      out[i] = {
        slot = slot.slot, drink = slot.drink, stock = slot.stock,
        capacity = slot.capacity or math.max(slot.stock, DEFAULT_CAPACITY),
        price_minor = price.amount_minor, currency = price.currency,
      }
    end
    return out
  end,
  after = fleet.refresh,
}

--- Network configuration: an address by DHCP, or a fixed one that no other machine has.
M.network = rows.command {
  name = "network",
  table = "machine_network",
  args = function(event)
    return event.data.network or { mode = "dhcp" }
  end,
  make = function(data)
    local row, message = network.check(data)
    if not row then
      return nil, message, "INVALID_NETWORK"
    end
    return { row }
  end,
  explain = function(problem, args)
    if problem.code ~= "SQL_UNIQUE" then
      return problem
    end
    local text = ("network: another machine has the address %s"):format(args.data.address)
    return failure.permanent(text, "ADDRESS_IN_USE")
  end,
}

-- A visit that comes back every so many days.
local function visits(name, kind, default_days)
  return rows.command {
    name = name,
    table = "maintenance",
    only = { kind = kind },
    args = function(event)
      local wanted = event.data.maintenance or {}
      return {
        days = kind == "inspection" and wanted.everyDays or default_days,
        technician = wanted.technician,
        first_at = kind == "inspection" and wanted.firstAt or nil,
        now_ms = sys.now_ms(),
      }
    end,
    make = function(data)
      local days = math.tointeger(data.days)
      if not days or days < 1 or days > 365 then
        return nil, "maintenance.everyDays is 1 to 365", "INVALID_MAINTENANCE"
      elseif data.first_at and not tostring(data.first_at):find("^%d%d%d%d%-%d%d%-%d%d") then
        return nil, "maintenance.firstAt is a date such as 2026-01-31", "INVALID_MAINTENANCE"
      end
      return { {
        kind = kind, every_days = days, technician = data.technician,
        next_at = data.first_at or sys.iso_time(data.now_ms + days * DAY_MS),
      } }
    end,
  }
end

--- Maintenance scheduling: inspections, every `days` unless the event says otherwise.
function M.maintenance(days)
  return visits("maintenance", "inspection", days)
end

--- Cleaning, for machines that brew.
function M.cleaning(days)
  return visits("cleaning", "cleaning", days)
end

-- One state of the machine's row to another.
local function move(args, from, to)
  local filters = { machine_id = args.machine_id, status = from }
  local count, problem = store.change("machines", filters, { status = to })
  if not count then
    return nil, problem
  end
  return { changed = count }
end

--- The last command: from now on the machine serves requests.
M.activation = {
  "activation",
  args = M.survey.args,
  run = function(args)
    return move(args, "setting_up", "active")
  end,
  undo = function(args)
    return move(args, "active", "setting_up")
  end,
  effect = "idempotent",
}

return M
