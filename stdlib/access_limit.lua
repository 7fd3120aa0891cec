--- How often somebody may try to sign in: a few times at once, then after pauses that double.
--- Attempts are counted when they begin, so that many at the same time are not one.
local sys = require "sipeat.core.sys"

local M = {}

local ENTRIES = 10000
local FORGOTTEN_MS = 60 * 60 * 1000 -- without an attempt

local Limit = {}
Limit.__index = Limit

--- options: free (attempts without a pause), first_ms, longest_ms.
function M.new(options)
  return setmetatable({ o = options, entries = {}, count = 0 }, Limit)
end

-- Forgets what is old; when that is little, a quarter of all, so that it is not done each time.
local function make_room(self, now)
  local others = self.count - ENTRIES * 3 // 4
  for _, old in ipairs { true, false } do
    for key, entry in pairs(self.entries) do
      if old and now - entry.last > FORGOTTEN_MS or not old and others > 0 then
        self.entries[key] = nil
        self.count, others = self.count - 1, others - 1
      end
    end
  end
end

--- Counts an attempt: true; or false and for how many ms there is none.
function Limit:take(key)
  local now = sys.monotonic_ms()
  local entry = self.entries[key]
  if entry and now - entry.last > FORGOTTEN_MS then
    entry.tries, entry.free_at = 0, now
  elseif not entry then
    if self.count >= ENTRIES then
      make_room(self, now)
    end
    entry = { tries = 0, free_at = now }
    self.entries[key] = entry
    self.count = self.count + 1
  end
  if now < entry.free_at then
    return false, entry.free_at - now
  end
  entry.last, entry.tries = now, entry.tries + 1
  local beyond = entry.tries - self.o.free
  if beyond >= 0 then
    entry.free_at = now + math.min(self.o.first_ms * 2 ^ math.min(beyond, 30), self.o.longest_ms)
  end
  return true
end

--- It was the right password: all attempts are forgotten.
function Limit:clear(key)
  if self.entries[key] then
    self.entries[key] = nil
    self.count = self.count - 1
  end
end

--- It was a right password: this attempt does not count. The others do, since whoever has one
--- password may be after another one.
function Limit:give_back(key)
  local entry = self.entries[key]
  if entry then
    entry.tries = entry.tries - 1
  end
end

return M
