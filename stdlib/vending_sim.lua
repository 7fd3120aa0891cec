--- A simulated vending machine behind sipeat.vending: stock per slot, takes its time, and can jam,
--- run empty, be offline or die in the middle of a command, when told to (fault).
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local SETTINGS = opts.spec("sipeat.vending_sim", {
  proof = { "string", default = "sensor", enum = { "sensor", "counter", "none" } },
  slots = { "table", required = true }, -- slot -> stock
  dispense_time = { "duration", default = "300ms" },
  recovery_time = { "duration", default = "2s" },
})

local FAULT = opts.spec("sipeat.vending_sim.fault", {
  kind = {
    "string", required = true, enum = { "jam", "empty", "offline", "die_before", "die_after" },
  },
  slot = { "any" },
  times = { "integer", default = 1, min = 1 },
})

local Device = {}
Device.__index = Device

local devices = setmetatable({}, { __mode = "v" }) -- by machine, for fault()

local function ms(count)
  return ("%dms"):format(count)
end

--- The device of a machine; `before` is its earlier one, whose stock and counters go on.
function M.open(machine, settings, before)
  local o = SETTINGS(settings)
  local device = getmetatable(before) == Device and before
  if not device then
    device = { machine = machine, slots = {}, faults = {}, total = 0, online_at = 0 }
    setmetatable(device, Device)
  end
  device.proof = o.proof
  device.dispense_ms, device.recovery_ms = o.dispense_time, o.recovery_time
  for slot, stock in pairs(o.slots) do
    local known = device.slots[slot]
    if not known then
      device.slots[slot] = { stock = stock, fallen = 0 }
    elseif known.filled ~= stock then
      known.stock = stock -- refilled
    end
    device.slots[slot].filled = stock
  end
  devices[machine] = device
  return device
end

--- The next `times` commands (to that slot) go wrong: jam (the motor turns, nothing falls), empty,
--- offline, die_before and die_after (power fails before or after the drink fell).
function M.fault(machine, options)
  local o = FAULT(options)
  local device = devices[machine]
  if not device then
    return nil, ("vending_sim: no machine %s"):format(machine), "UNKNOWN_MACHINE"
  end
  for _ = 1, o.times do
    device.faults[#device.faults + 1] = { kind = o.kind, slot = o.slot }
  end
  return true
end

function Device:take_fault(slot)
  for i, fault in ipairs(self.faults) do
    if fault.slot == nil or fault.slot == slot then
      table.remove(self.faults, i)
      return fault.kind
    end
  end
end

function Device:is_online()
  return sys.monotonic_ms() >= self.online_at
end

function Device:go_down()
  self.online_at = sys.monotonic_ms() + self.recovery_ms
end

function Device:text(slot, what)
  return ("machine %s, slot %s: %s"):format(self.machine, tostring(slot), what)
end

-- The drink falls.
function Device:drop(slot)
  local state = self.slots[slot]
  state.stock, state.fallen = state.stock - 1, state.fallen + 1
  self.total = self.total + 1
end

-- Why the motor cannot turn, or nil.
function Device:refusal(slot, fault)
  local state = self.slots[slot]
  if fault == "offline" then
    self:go_down()
  end
  if not self:is_online() then
    return failure.transient(self:text(slot, "the machine does not answer"), "NOT_SENT")
  elseif not state then
    local have = table.concat(opts.names(self.slots), ", ")
    local text = self:text(slot, ("there is no such slot (slots: %s)"):format(have))
    return failure.permanent(text, "UNKNOWN_SLOT")
  elseif fault == "empty" then
    state.stock = 0
  end
  if state.stock <= 0 then
    return failure.permanent(self:text(slot, "the slot is empty"), "SOLD_OUT")
  end
end

--- Turns the motor: what proves that the drink fell, or nil and a failure.
function Device:dispense(slot)
  local fault = self:take_fault(slot)
  local refusal = self:refusal(slot, fault)
  if refusal then
    return nil, refusal
  elseif fault == "die_before" or fault == "die_after" then
    if fault == "die_after" then
      self:drop(slot)
    end
    task.sleep(ms(self.dispense_ms // 2))
    self:go_down()
    local text = self:text(slot, "the machine went silent while the motor turned")
    return nil, failure.new(text, "OUTCOME_UNKNOWN", "timeout")
  end
  if fault ~= "jam" then
    self:drop(slot) -- first: the machine goes on although a task that waits is killed
  end
  local waited, message, code = task.sleep(ms(self.dispense_ms))
  if not waited then
    return nil, failure.new(self:text(slot, message), code)
  elseif fault == "jam" and self.proof ~= "none" then
    return nil, failure.permanent(self:text(slot, "jammed: nothing fell"), "JAMMED")
  end
  return self.proof
end

--- What a board with counters answers; nothing while it is down, or when it has none.
function Device:counters()
  if not self:is_online() then
    local text = ("machine %s does not answer"):format(self.machine)
    return nil, text, "NOT_SENT"
  elseif self.proof == "none" then
    return nil, ("machine %s has no counters"):format(self.machine), "ENOTSUP"
  end
  local slots = {}
  for slot, state in pairs(self.slots) do
    slots[slot] = state.fallen
  end
  return { total = self.total, slots = slots }
end

function Device:status()
  local slots = {}
  for slot, state in pairs(self.slots) do
    slots[slot] = { stock = state.stock, fallen = state.fallen }
  end
  local online = self:is_online()
  return { online = online, state = online and "ready" or "offline", slots = slots }
end

return M
