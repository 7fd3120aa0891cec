--- A journal's store in memory: the statements of runtime/journal/statements.h that a run needs,
--- with the same semantics. A write is one transaction. Parameters and rows are as in sipeat.core.
-- journal; a blob stays what it is.
local M = {}

local Store = {}
Store.__index = Store

local RUN_COLUMNS = 17
local OPEN_BELOW = 10

function M.new()
  return setmetatable({ runs = {}, order = {}, places = {}, records = {}, log = {} }, Store)
end

local function place_of(flow, cluster, topic, partition, offset)
  return table.concat({ flow, cluster, topic, partition, offset }, "\0")
end

local function owned(self, id, epoch)
  local run = self.runs[id]
  return run and run[2] == epoch and run or nil
end

-- The rows of the runs that `is_wanted` takes, in order of their ids.
local function select_runs(self, limit, is_wanted)
  local rows = {}
  for _, id in ipairs(self.order) do
    if #rows < limit and is_wanted(self.runs[id]) then
      rows[#rows + 1] = table.move(self.runs[id], 1, RUN_COLUMNS, 1, { n = RUN_COLUMNS })
    end
  end
  return rows
end

local STATEMENTS = {}

function STATEMENTS.run_add(self, s)
  local place = place_of(s[7], s[8], s[9], s[10], s[11])
  if self.runs[s[2]] or self.places[place] then
    return 0
  end
  local run = table.move(s, 2, 16, 1, { n = RUN_COLUMNS })
  run[16] = s[6]
  self.runs[s[2]], self.places[place], self.records[s[2]] = run, s[2], {}
  self.order[#self.order + 1] = s[2]
  table.sort(self.order)
  return 1
end

function STATEMENTS.run_state(self, s)
  local run = owned(self, s[2], s[3])
  if not run then
    return 0
  end
  run[3], run[4], run[16], run[17] = s[4], s[5], s[6], s[7]
  return 1
end

function STATEMENTS.run_take(self, s)
  local run = owned(self, s[2], s[3])
  if not run then
    return 0
  end
  run[2] = s[4]
  return 1
end

function STATEMENTS.record_add(self, s)
  if not owned(self, s[2], s[3]) then
    return 0
  end
  local records = self.records[s[2]]
  local at = #records
  while at > 0 and records[at][1] > s[4] do
    at = at - 1
  end
  table.insert(records, at + 1, { s[4], s[5], s[6], s[7], s[8], n = 5 })
  return 1
end

function STATEMENTS.records(self, s)
  local records = self.records[s[2]] or {}
  return table.move(records, 1, #records, 1, {})
end

function STATEMENTS.run_get(self, s)
  return select_runs(self, 1, function(run)
    return run[1] == s[2]
  end)
end

function STATEMENTS.run_at(self, s)
  local id = self.places[place_of(s[2], s[3], s[4], s[5], s[6])]
  return STATEMENTS.run_get(self, { "run_get", id })
end

function STATEMENTS.run_of_event(self, s)
  local rows = {}
  for _, run in ipairs(select_runs(self, math.huge, function(run)
    return run[6] == s[2] and run[11] == s[3] and run[5] >= s[4]
  end)) do
    rows[#rows + 1] = { run[1], run[3], n = 2 }
  end
  return rows
end

function STATEMENTS.runs_open(self, s)
  return select_runs(self, s[3], function(run)
    return run[3] < OPEN_BELOW and run[1] > s[2]
  end)
end

function STATEMENTS.runs_due(self, s)
  local rows = select_runs(self, math.huge, function(run)
    return run[3] < OPEN_BELOW and run[4] > 0 and run[4] <= s[2]
  end)
  table.sort(rows, function(a, b)
    return a[4] < b[4]
  end)
  return table.move(rows, 1, math.min(#rows, s[3]), 1, {})
end

--- Executes the statements as one transaction: a result for each.
function Store:write(...)
  local results = table.pack(...)
  for i = 1, results.n do
    local statement = results[i]
    local f = STATEMENTS[statement[1]]
    if not f then
      error(("the store in memory has no statement %s"):format(statement[1]), 2)
    end
    results[i] = f(self, statement)
  end
  self.log[#self.log + 1] = table.pack(...)
  return table.unpack(results, 1, results.n)
end

--- The store as it was `count` writes ago: what a disk says that acknowledged too early.
function Store:without_last(count)
  local earlier = M.new()
  for i = 1, #self.log - count do
    earlier:write(table.unpack(self.log[i], 1, self.log[i].n))
  end
  return earlier
end

return M
