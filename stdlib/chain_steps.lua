--- What the records of a run say about its steps: where each stands, and what happened when.
--
-- A record's place is where its value lies in the memory of the event: "chain:drink/state/steps/
-- payment" for a step, "chain:drink/state/failure" for what the chain ended with. The last record
-- of each place counts.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local place = require "sipeat.place"

local M = {}

M.PHASES = {
  "intent", "outcome", "undo_intent", "undo_outcome", "sleep", "wait", "signal", "state",
}
local ENDS = { outcome = "intent", undo_outcome = "undo_intent", signal = "wait" }

-- "chain:drink/state/steps/pay" as "chain:drink/state" and "pay".
local function step_place(where)
  local state, name = where:match "^(.*)/steps/([^/]+)$"
  if not state then
    state, name = "", where:match "^steps/([^/]+)$"
  end
  return name and state, name and place.unescape(name)
end

-- "observer:sale/chain:drink/state" as "sale/drink".
local function path_of(state)
  local parts = {}
  for key in state:gmatch "[^/]+" do
    local name = key:match "^%w+:(.+)$"
    parts[#parts + 1] = name and place.unescape(name) or nil
  end
  return table.concat(parts, "/")
end

local function value_of(body)
  local value = body and json.decode(body)
  if value == json.null then
    value = nil
  end
  return failure.from_plain(value)
end

-- One moment of the timeline from a record. `began`: place -> the moment that it ends.
local function moment_of(row, value, began, tries)
  local phase = M.PHASES[row[3]] or ("phase " .. row[3])
  local moment = { seq = row[1], at = row[2], phase = phase, place = row[4], value = value }
  if phase == "intent" or phase == "undo_intent" or phase == "wait" then
    tries[row[4]] = (tries[row[4]] or 0) + (phase == "intent" and 1 or 0)
    began[row[4]] = moment
  end
  local before = ENDS[phase] and began[row[4]]
  if before and before.phase == ENDS[phase] then
    moment.duration_ms, before.ended = moment.at - before.at, moment
    began[row[4]] = nil
  end
  if phase == "intent" or phase == "outcome" then
    moment.attempt = tries[row[4]]
  end
  return moment
end

local function known(list, where, fields)
  local one = list[where]
  if not one then
    one = fields
    list[where], list[#list + 1] = one, one
  end
  return one
end

-- Steps are named by their name where that is enough, else with the path that leads to them.
local function name_steps(steps)
  local counts = {}
  for _, step in ipairs(steps) do
    counts[step.name] = (counts[step.name] or 0) + 1
  end
  for _, step in ipairs(steps) do
    local path = path_of(step.state)
    step.path = path ~= "" and path .. "/" .. step.name or step.name
    step.label = counts[step.name] == 1 and step.name or step.path
  end
end

--- Rows of the statement "records" as { seq, steps, states, moments, latest }: `steps` in the order
--- of their first records, { name, label, path, place, state, record, tries }; `states` of chains,
--- { place, path, failure, undoing }; `latest` the last value of each place. Lists are also indexed
--- by place.
function M.read(rows)
  local out = { seq = 0, steps = {}, states = {}, moments = {}, latest = {} }
  local began, tries = {}, {}
  for i, row in ipairs(rows) do
    local where, value = row[4], value_of(row[5])
    out.seq, out.latest[where] = row[1], value
    local moment = moment_of(row, value, began, tries)
    out.moments[i] = moment
    local state, name = step_place(where)
    if name then
      moment.step = known(out.steps, where, { name = name, place = where, state = state })
      moment.step.record, moment.step.tries = value or {}, tries[where] or 0
      known(out.states, state, { place = state, path = path_of(state) })
    elseif where:find "/failure$" or where:find "/undoing$" then
      state, name = where:match "^(.*)/(%l+)$"
      known(out.states, state, { place = state, path = path_of(state) })[name] = value
    end
  end
  name_steps(out.steps)
  return out
end

--- Where a step stands, in a word.
function M.status(step, states)
  local record = step.record
  if record.status == "intent" then
    return "unknown"
  elseif record.status == "done" and states[step.state] and states[step.state].undoing then
    return "to undo"
  end
  return record.status or record.doubt and "in doubt" or step.tries > 0 and "failed" or "open"
end

--- The step of that name or path; or nil and a message that names those that there are.
function M.find(steps, name)
  local found, names = nil, {}
  for i, step in ipairs(steps) do
    names[i] = step.label
    if step.path == name then
      return step
    elseif step.name == name then
      if found then
        return nil, ("several steps are named %s: say %s or %s"):format(name, found.path, step.path)
      end
      found = step
    end
  end
  if not found and #names == 0 then
    return nil, "no step of this run has begun"
  end
  return found, ("no step %s has begun (there are: %s)"):format(name, table.concat(names, ", "))
end

return M
