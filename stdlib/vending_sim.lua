--- A simulated vending machine behind sipeat.vending: stock per slot, takes its time, and can jam,
--- run empty, be offline or die in the middle of a command, when told to (fault).
--
-- With a file it is as a real one for whoever comes after a crash: the motor goes on, the drink
-- falls when its time has come, and the counters say so. One process at a time has such a file.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local SETTINGS = opts.spec("sipeat.vending_sim", {
  proof = { "string", default = "sensor", enum = { "sensor", "counter", "none" } },
  slots = { "table", required = true }, -- slot -> stock
  dispense_time = { "duration", default = "300ms" },
  recovery_time = { "duration", default = "2s" },
  file = { "string" }, -- where its world is kept
})

local ORDERS = 1000 -- approvals that a world remembers

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

-- Writes the world down, if it has a file; or nil, message, code.
function Device:save()
  if not self.file then
    return true
  end
  local slots = json.array()
  for slot, state in pairs(self.slots) do
    slots[#slots + 1] = {
      slot = slot, stock = state.stock, fallen = state.fallen, filled = state.filled,
    }
  end
  return sys.write_file(self.file, json.encode {
    board = self.board, slots = slots, total = self.total, turning = self.turning,
    orders = json.array(self.orders),
  })
end

-- The world that a file has, or a new one; nil, message, code.
local function world(file)
  local text, message, code
  if file then
    text, message, code = sys.read_file(file)
    if not text and code ~= "ENOENT" then
      return nil, message, code
    end
  end
  if not text then
    return { board = sys.uuid(), slots = {}, total = 0, orders = {} }
  end
  local read = json.decode(text)
  if type(read) ~= "table" or not read.board or not read.slots then
    return nil, ("vending_sim: %s has no world of a machine"):format(file), "BAD_DATA"
  end
  local slots = {}
  for _, state in ipairs(read.slots) do
    slots[state.slot] = { stock = state.stock, fallen = state.fallen, filled = state.filled }
  end
  read.slots = slots
  return read
end

local function device_of(machine, file, before)
  if getmetatable(before) == Device and before.file == file then
    return before
  end
  local device, message, code = world(file)
  if not device then
    return nil, message, code
  end
  device.machine, device.file, device.faults, device.online_at = machine, file, {}, 0
  return setmetatable(device, Device)
end

--- Are these settings of a machine? true and its proof, or nil, message.
function M.check(settings)
  local o, message = SETTINGS(settings, false)
  if not o then
    return nil, message
  end
  return true, o.proof
end

--- The device of a machine; `before` is its earlier one, whose stock and counters go on.
function M.open(machine, settings, before)
  local o = SETTINGS(settings)
  local device, message, code = device_of(machine, o.file, before)
  if not device then
    return nil, message, code
  end
  device.proof = o.proof
  device.dispense_ms, device.recovery_ms = o.dispense_time, o.recovery_time
  device.patience_ms = o.file and o.dispense_time + o.recovery_time + 1000 or 0
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
  local saved
  saved, message, code = device:save()
  if not saved then
    return nil, message, code
  end
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

-- The motor's time may be over: then the drink has fallen, whoever waited for it. `is_over`: it is.
function Device:advance(is_over)
  local turning = self.turning
  if not turning or not is_over and sys.now_ms() < turning.until_ms then
    return
  end
  self.turning = nil
  if turning.falls then
    local state = self.slots[turning.slot]
    state.stock, state.fallen = state.stock - 1, state.fallen + 1
    self.total = self.total + 1
  end
  self:save() -- when that fails it is worked out again from what was written before
end

-- The motor begins to turn; nil, message, code when the world could not be written: then it does
-- not.
function Device:turn(slot, approval, falls, ms_left)
  self.turning = { slot = slot, falls = falls, until_ms = sys.now_ms() + ms_left }
  self.orders[#self.orders + 1] = approval
  if #self.orders > ORDERS then
    table.remove(self.orders, 1)
  end
  local ok, message, code = self:save()
  if not ok then
    self.turning = nil
    return nil, message, code
  end
  return true
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
function Device:dispense(slot, approval)
  self:advance()
  local fault = self:take_fault(slot)
  local refusal = self:refusal(slot, fault)
  if refusal then
    return nil, refusal
  elseif self.turning then
    return nil, failure.transient(self:text(slot, "the motor turns"), "NOT_SENT")
  end
  local dies = fault == "die_before" or fault == "die_after"
  local takes_ms = dies and self.dispense_ms // 2 or self.dispense_ms
  local falls = fault ~= "jam" and fault ~= "die_before"
  local turns, why = self:turn(slot, approval, falls, takes_ms)
  if not turns then
    return nil, failure.transient(self:text(slot, why), "NOT_SENT")
  end
  local ok, message, code = task.sleep(ms(takes_ms))
  self:advance(ok)
  if dies then
    self:go_down()
    local text = self:text(slot, "the machine went silent while the motor turned")
    return nil, failure.new(text, "OUTCOME_UNKNOWN", "timeout")
  elseif not ok then
    return nil, failure.new(self:text(slot, message), code)
  elseif fault == "jam" and self.proof ~= "none" then
    return nil, failure.permanent(self:text(slot, "jammed: nothing fell"), "JAMMED")
  end
  return self.proof
end

--- What a board with counters answers; nothing while it is down, or when it has none.
function Device:counters()
  self:advance()
  if not self:is_online() or self.turning then
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

Device.glance = function(self) -- nobody has to be asked
  return self:status()
end

function Device:status()
  self:advance()
  local slots = {}
  for slot, state in pairs(self.slots) do
    slots[slot] = { stock = state.stock, fallen = state.fallen }
  end
  local online = self:is_online()
  return { online = online, state = online and "ready" or "offline", slots = slots }
end

return M
