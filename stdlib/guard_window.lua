--- Counters over the last while: ten slots, of which the oldest is forgotten as time goes on.
local M = {}

local SLOTS = 10

local Window = {}
Window.__index = Window

--- Counts over `ms` milliseconds.
function M.new(ms)
  return setmetatable({
    slot_ms = math.max(1, ms / SLOTS), last = 0, slots = {}, sums = {},
  }, Window)
end

-- Forgets what is too old for `now_ms`, on the monotonic clock.
local function advance(self, now_ms)
  local number = math.floor(now_ms / self.slot_ms)
  if number - self.last >= SLOTS then
    self.slots, self.sums = {}, {}
  else
    for old = self.last + 1, number do
      local slot = self.slots[old % SLOTS]
      for name, count in pairs(slot or {}) do
        self.sums[name] = self.sums[name] - count
      end
      self.slots[old % SLOTS] = nil
    end
  end
  self.last = math.max(self.last, number)
end

--- Counts one.
function Window:add(name, now_ms)
  advance(self, now_ms)
  local at = self.last % SLOTS
  local slot = self.slots[at] or {}
  self.slots[at] = slot
  slot[name] = (slot[name] or 0) + 1
  self.sums[name] = (self.sums[name] or 0) + 1
end

--- How many there were.
function Window:sum(name, now_ms)
  advance(self, now_ms)
  return self.sums[name] or 0
end

function Window:clear()
  self.slots, self.sums = {}, {}
end

return M
