--- Chance that a seed reproduces: a stream for what is built, and numbered decisions for what goes
--- wrong, each of which can be turned off without changing the others.
local M = {}

local Dice = {}
Dice.__index = Dice

local function mixed(x)
  x = (x ~ (x >> 30)) * 0xbf58476d1ce4e5b9
  x = (x ~ (x >> 27)) * 0x94d049bb133111eb
  return x ~ (x >> 31)
end

--- `off`: numbers of decisions that do not happen.
function M.new(seed, off)
  return setmetatable({
    seed = mixed(seed * 0x9e3779b97f4a7c15 + 1), count = 0, wrongs = 0, off = off or {},
    happened = {}, log = {},
  }, Dice)
end

local function unit(bits)
  return (bits >> 11) / (1 << 53)
end

--- 1 … n
function Dice:pick(n)
  self.count = self.count + 1
  return (mixed(self.seed + self.count * 0x9e3779b97f4a7c15) >> 11) % n + 1
end

function Dice:chance(p)
  return self:pick(1 << 20) <= p * (1 << 20)
end

--- Does this go wrong now, with that probability? Then also a number 1 … n, for what exactly.
function Dice:wrong(p, what, n)
  local number = self.wrongs + 1
  self.wrongs = number
  local bits = mixed(self.seed ~ number * 0xd1342543de82ef95)
  if unit(bits) >= p or self.off[number] then
    return false
  end
  self.happened[#self.happened + 1] = number
  self:note(("(%d) %s"):format(number, what))
  return true, (mixed(bits) >> 11) % (n or 1) + 1
end

function Dice:note(text)
  self.log[#self.log + 1] = text
end

return M
