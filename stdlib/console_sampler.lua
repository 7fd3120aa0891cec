--- Something that is looked at again and again while somebody uses the console, by one task.
local log = require("sipeat.log").new "console"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local KEPT_UP_MS = 15 * 60 * 1000 -- after the last use

local Sampler = {}
Sampler.__index = Sampler

--- look() gives true, or nil, message, code.
function M.new(every_ms, look)
  return setmetatable({ every_ms = every_ms, look = look, turn = task.semaphore(1) }, Sampler)
end

local function run(self)
  task.set_event_id("")
  while sys.monotonic_ms() < self.until_ms do
    local ok, message, code = self:now()
    if not ok and code == "ECANCELED" then
      break
    elseif not ok and message ~= self.told then
      log:warn(message, { code = code })
    end
    self.told = not ok and message or nil
    if not task.sleep(self.every_ms .. "ms") then
      break
    end
  end
  self.running = false
end

--- Somebody uses it: it is looked at for some minutes more.
function Sampler:touch()
  self.until_ms = sys.monotonic_ms() + KEPT_UP_MS
  if not self.running then
    self.running = true
    task.spawn(run, self)
  end
end

--- Looks now, or waits for the look that is under way and takes that. true, or nil, message, code.
function Sampler:now()
  local seen = self.looks or 0
  return self.turn:with(function()
    if self.looks and self.looks > seen then
      return true -- somebody else has looked meanwhile
    end
    local fine, ok, message, code = pcall(self.look)
    if not fine then
      ok, message, code = nil, tostring(ok), "SCRIPT"
    end
    self.looks = (self.looks or 0) + (ok and 1 or 0)
    return ok, message, code
  end)
end

return M
