--- Measured values of a series: what they come to, and what a plot of them needs. No I/O.
local M = {}

local Series = {}
Series.__index = Series

local KEPT = 100000 -- values; of more than these only count, least, most and mean are exact
local PLOTTED = 1000 -- points
local BINS = 30

function M.series(name, unit)
  return setmetatable({
    name = name, unit = unit, count = 0, sum = 0, values = {},
  }, Series)
end

--- Adds a number.
function Series:add(value)
  self.count = self.count + 1
  self.sum = self.sum + value
  self.least = math.min(self.least or value, value)
  self.most = math.max(self.most or value, value)
  if #self.values < KEPT then
    self.values[#self.values + 1] = value
  end
end

-- The value below which that part of all lies (nearest rank).
local function rank(sorted, part)
  return sorted[math.max(1, math.ceil(part * #sorted))]
end

--- { count, min, mean, p50, p95, p99, max }; nothing but count without values.
function Series:summary()
  if self.count == 0 then
    return { count = 0 }
  end
  local sorted = table.move(self.values, 1, #self.values, 1, {})
  table.sort(sorted)
  return {
    count = self.count, min = self.least, mean = self.sum / self.count, max = self.most,
    p50 = rank(sorted, 0.5), p95 = rank(sorted, 0.95), p99 = rank(sorted, 0.99),
  }
end

-- As much of a number as a plot shows.
local function short(value)
  return math.type(value) == "float" and tonumber(("%.6g"):format(value)) or value
end

--- The values in the order of measuring, at most a thousand: { { n, value }, … }. Of more, each
--- stretch gives its least and its most.
function Series:points()
  local points, count = {}, #self.values
  local step = math.max(1, math.ceil(count / (PLOTTED / 2)))
  for first = 1, count, step do
    local low, high = first, first
    for i = first, math.min(first + step - 1, count) do
      low = self.values[i] < self.values[low] and i or low
      high = self.values[i] > self.values[high] and i or high
    end
    points[#points + 1] = { math.min(low, high), short(self.values[math.min(low, high)]) }
    if low ~= high then
      points[#points + 1] = { math.max(low, high), short(self.values[math.max(low, high)]) }
    end
  end
  return points
end

--- How often values lie where: { from, to, count } in steps of equal width.
function Series:histogram()
  local bins = {}
  if self.count == 0 then
    return bins
  end
  local width = (self.most - self.least) / BINS
  local number = width > 0 and BINS or 1
  for i = 1, number do
    bins[i] = { short(self.least + (i - 1) * width), short(self.least + i * width), 0 }
  end
  for _, value in ipairs(self.values) do
    local i = width > 0 and math.min(number, math.floor((value - self.least) / width) + 1) or 1
    bins[i][3] = bins[i][3] + 1
  end
  return bins
end

--- What is wrong with the summary by these limits: at_most = { p99 = 50 }, at_least = { min = 1 };
--- or nil.
function M.beyond(summary, at_most, at_least, unit)
  local wrong = {}
  local function check(limits, word, is_wrong)
    for name, limit in pairs(limits or {}) do
      local value = summary[name]
      if value == nil or is_wrong(value, limit) then
        wrong[#wrong + 1] = ("%s is %s, %s %s"):format(
          name, M.text(value, unit), word, M.text(limit, unit))
      end
    end
  end
  check(at_most, "at most", function(value, limit)
    return value > limit
  end)
  check(at_least, "at least", function(value, limit)
    return value < limit
  end)
  table.sort(wrong)
  return #wrong > 0 and table.concat(wrong, "; ") or nil
end

--- A value as people read it.
function M.text(value, unit)
  if value == nil then
    return "nothing"
  elseif math.type(value) == "float" then
    value = math.abs(value) >= 1000 and ("%.0f"):format(value) or ("%.4g"):format(value)
  end
  return tostring(value) .. (unit and " " .. unit or "")
end

return M
