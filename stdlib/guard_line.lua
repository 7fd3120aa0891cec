--- A line of tasks that wait for their turn, first come, first served.
local core = require "sipeat.core.task"

local M = {}

local Line = {}
Line.__index = Line

function M.new()
  return setmetatable({ count = 0 }, Line)
end

--- A place at the end.
function Line:enter()
  local place = { signal = core.signal(), before = self.last }
  if self.last then
    self.last.behind = place
  else
    self.first = place
  end
  self.last, self.count = place, self.count + 1
  return place
end

--- Gives a place up; the next one is told when it is first now.
function Line:leave(place)
  local before, behind = place.before, place.behind
  if before then
    before.behind = behind
  else
    self.first = behind
  end
  if behind then
    behind.before = before
  else
    self.last = before
  end
  self.count = self.count - 1
  if not before and behind then
    behind.signal:wake()
  end
end

return M
