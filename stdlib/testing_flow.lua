--- Flows in a test: the real ones, with somebody who looks on and notes how each event ended, and
--- what it put out.
local core = require "sipeat.core.task"
local memory = require "sipeat.core.memory"

local M = {}

local changed = core.signal()
local flows = {} -- of the script that is loaded: { group, topics }
local pending -- of the one that loads
local outcomes = {} -- group, topic and offset -> how its event ended
local entries = setmetatable({}, { __mode = "k" }) -- job -> what was noted of it so far
local moved = {} -- group and id of an event on its way through retry topics -> its entry

local function place_of(group, topic, offset)
  return ("%s\0%s\0%d"):format(group, topic, offset)
end

local function header_map(list)
  local map = {}
  for _, header in ipairs(list or {}) do
    map[header[1]] = header[2]
  end
  return map
end

-- A ticket that notes what is put out.
local function noting(ticket, entry)
  local methods = {}
  function methods.emit(_, topic, key, value, headers, ...)
    local ok, what, code = ticket:emit(topic, key, value, headers, ...)
    if ok then
      entry.outputs[#entry.outputs + 1] = {
        topic = topic, key = key, value = value, headers = header_map(headers),
      }
    end
    return ok, what, code
  end
  function methods.keep(_, value)
    entries[value] = entry
    return ticket:keep(value)
  end
  return setmetatable(methods, {
    __index = function(_, name)
      return function(_, ...)
        return ticket[name](ticket, ...)
      end
    end,
  })
end

local function complete(entry, job)
  local id = entry.group .. "\0" .. tostring(job.event.id)
  if job.phase == "moved" then
    moved[id] = moved[id] or entry
    return
  end
  local first = moved[id] or entry
  moved[id] = nil
  if first ~= entry then -- what it put out before it was moved comes first
    table.move(entry.outputs, 1, #entry.outputs, #first.outputs + 1, first.outputs)
  end
  outcomes[first.place] = {
    status = job.phase,
    result = job.result,
    failure = job.failure,
    attempts = job.attempt,
    outputs = first.outputs,
    group = entry.group,
    event = job.event,
  }
  changed:wake()
end

-- The functions of a flow, with somebody looking on. Every event is dispatched with a job: what
-- ends well at once would leave nothing behind to look at.
local function watched(spec)
  local dispatch, finish = spec.dispatch, spec.finish
  spec.start = nil
  function spec.dispatch(record, ticket, kept, trouble)
    local entry = kept and entries[kept]
    if not entry then
      local from = record or kept.record
      entry = { group = spec.group, outputs = {} }
      entry.place = place_of(spec.group, from.topic, from.offset)
    end
    local verdict, dead, notify = dispatch(record, noting(ticket, entry), kept, trouble)
    if verdict ~= true then
      return verdict, dead, notify
    end
    entry.notify = notify
    return true, dead, true
  end
  function spec.finish(job)
    local entry = entries[job]
    if entry.notify then
      finish(job)
    end
    complete(entry, job)
  end
  return spec
end

--- What sipeat.core.flow is in a test.
function M.open(real)
  local fake = {}
  for name, value in pairs(real) do
    fake[name] = value
  end
  function fake.register(spec)
    real.register(watched(spec))
    pending[#pending + 1] = { group = spec.group, topics = spec.topics }
  end
  M.status = real.status
  return fake
end

--- A script begins to load.
function M.begin()
  pending = {}
end

--- It has loaded, and its flows take the place of those before; or it has not.
function M.finish(has_loaded)
  flows = has_loaded and pending or flows
end

--- Groups whose flows take events of the topic, in the order in which the script declares them.
function M.groups(topic)
  local groups = {}
  for _, flow in ipairs(flows) do
    for _, wanted in ipairs(flow.topics) do
      if wanted == topic or wanted:sub(1, 1) == "^" and memory.matches(wanted, topic) then
        groups[#groups + 1] = flow.group
        break
      end
    end
  end
  return groups
end

--- Every topic that a flow takes.
function M.topics()
  local names = {}
  for _, flow in ipairs(flows) do
    for _, topic in ipairs(flow.topics) do
      names[#names + 1] = topic
    end
  end
  return names
end

--- Waits for the end of the event that stands there: its outcome; or nil, message, code.
function M.wait(group, topic, offset)
  local place = place_of(group, topic, offset)
  while not outcomes[place] do
    local ok, message, code = changed:wait()
    if not ok then
      return nil, message, code
    end
  end
  return outcomes[place]
end

--- Is an event on its way?
function M.busy()
  if not M.status then -- nothing asked for flows yet
    return false
  end
  for _, flow in ipairs((M.status())) do
    if flow.running + flow.waiting > 0 then
      return true
    end
  end
  return false
end

return M
