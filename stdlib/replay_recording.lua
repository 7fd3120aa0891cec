--- What a recorded run says of its effects, in the order in which they are asked for again.
local plain = require "sipeat.plain"
local steps = require "sipeat.chain_steps"

local M = {}

local Recording = {}
Recording.__index = Recording

local TRY = { intent = "runs", undo_intent = "undos" }
local END = { outcome = "runs", undo_outcome = "undos" }

-- An outcome without a try of its own is what a person, or a reconcile, said of the last one.
local function sort_in(self, moment)
  local where = moment.place
  local all = self.by_place[where]
  if not all then
    all = { runs = {}, undos = {}, run = 0, undo = 0 }
    self.by_place[where] = all
  end
  if TRY[moment.phase] then
    table.insert(all[TRY[moment.phase]], { value = moment.value or {} })
  elseif END[moment.phase] then
    local list = all[END[moment.phase]]
    if list[#list] then
      list[#list].outcome = moment.value or {}
    end
  end
end

--- From the rows of an export.
function M.new(rows)
  local read = steps.read(rows)
  local self = setmetatable({ read = read, by_place = {}, order = {} }, Recording)
  for _, moment in ipairs(read.moments) do
    if moment.step then
      sort_in(self, moment)
    end
  end
  for i, step in ipairs(read.steps) do
    self.order[i] = step.place
  end
  return self
end

--- The next try of the step at that place, and whether others follow it: { value, outcome }; nil
--- when there is none.
function Recording:next(where, kind)
  local all = self.by_place[where]
  local list = all and all[kind .. "s"]
  if not list or not list[all[kind] + 1] then
    return nil
  end
  all[kind] = all[kind] + 1
  return list[all[kind]], all[kind] < #list
end

--- Are there tries of steps that nothing has asked for?
function Recording:is_open()
  for _, all in pairs(self.by_place) do
    if all.run < #all.runs then
      return true
    end
  end
  return false
end

--- Did anything below that place leave a record?
function Recording:has_below(where)
  for place in pairs(self.read.latest) do
    if place:sub(1, #where + 1) == where .. "/" then
      return true
    end
  end
  return false
end

--- The last value of a place.
function Recording:latest(where)
  return self.read.latest[where]
end

--- What was recorded of a step: its arguments and key as they were, and how it stood at the end.
function Recording:step(where)
  local step = self.read.steps[where]
  if not step then
    return nil
  end
  local record = step.record
  return {
    label = step.label, status = record.status or "open", key = record.key,
    args = record.args and plain.unpack(record.args),
  }
end

--- What ended the chain that a step belongs to.
function Recording:failure(where)
  local step = self.read.steps[where]
  local state = step and self.read.states[step.state]
  return state and state.failure, state
end

return M
