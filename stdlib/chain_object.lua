--- A run as plain data for JSON: of the command line, of /admin/chains, and of what draws it.
local bytes = require "sipeat.bytes"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local steps = require "sipeat.chain_steps"
local sys = require "sipeat.core.sys"

local M = {}

local SECRET = { "password", "passwd", "secret", "token", "authorization", "api_?key", "cvc" }

local function time(ms)
  return ms and sys.iso_time(ms) or nil
end

--- The fields of a run that a list shows.
function M.run(run)
  local object = {
    id = run.id, state = run.state, why = run.why, flow = run.flow, event_id = run.event_id,
    type = run.type, topic = run.topic, partition = run.partition, offset = run.offset,
    cluster = run.cluster, began = time(run.at_ms), changed = time(run.changed_ms),
    due = time(run.due_ms), script = run.script,
  }
  bytes.put(object, "key", run.key)
  return object
end

local function is_secret(name)
  for _, word in ipairs(SECRET) do
    if name:lower():find(word) then
      return true
    end
  end
  return false
end

--- A copy that may be shown: what is named like a secret is "***", as sipeat.secret prints.
function M.masked(value)
  if type(value) ~= "table" then
    return value
  end
  local out = setmetatable({}, getmetatable(value))
  for name, item in next, value do
    local hidden = type(name) == "string" and type(item) == "string" and is_secret(name)
    out[name] = hidden and "***" or M.masked(item)
  end
  return out
end

-- Results and arguments are kept as JSON text.
local function unpacked(text)
  local value = text and json.decode(text)
  return value ~= json.null and M.masked(value) or nil
end

local function step_object(run, step)
  local record = step.record
  return {
    step = step.label, path = step.path, status = steps.status(step, run.steps.states),
    attempts = step.tries, args = unpacked(record.args), result = unpacked(record.result),
    key = record.key, message = record.message,
  }
end

local STATUS = { intent = "begun", undo_intent = "undo begun" }

-- What an outcome says in a word.
local function status_of(moment)
  local value = type(moment.value) == "table" and moment.value or {}
  if moment.phase == "outcome" then
    return value.status or value.doubt and "failed, in doubt" or "failed"
  elseif moment.phase == "undo_outcome" then
    return value.status == "undone" and "undone" or "not undone"
  end
  return STATUS[moment.phase]
end

local function moment_object(moment)
  local object = {
    at = time(moment.at), phase = moment.phase, status = status_of(moment),
    attempt = moment.attempt, duration_ms = moment.duration_ms,
  }
  local value = moment.value
  if moment.step then
    object.step = moment.step.label
    object.message = value and value.message
    if moment.phase == "intent" then
      object.args = value and unpacked(value.args)
    else
      object.result = value and unpacked(value.result)
    end
  else
    object.place = moment.place
    if failure.is(value) then
      object.message, object.code = value.message, value.code
    else
      object.value = M.masked(failure.to_plain(value))
    end
  end
  return object
end

--- All of a run that show shows.
function M.full(run)
  local object = M.run(run)
  object.handled_by = run.handled_by
  object.steps, object.timeline = json.array {}, json.array {}
  object.audit, object.next = json.array {}, json.array {}
  for i, step in ipairs(run.steps.steps) do
    object.steps[i] = step_object(run, step)
  end
  for i, moment in ipairs(run.steps.moments) do
    object.timeline[i] = moment_object(moment)
  end
  for i, said in ipairs(run.audit) do
    object.audit[i] = { at = time(said.at_ms), who = said.who, verb = said.verb, why = said.why }
  end
  for i, what in ipairs(run.next or {}) do
    object.next[i] = what
  end
  return object
end

--- The answer of chains.list.
function M.list(list)
  local runs = json.array {}
  for i, run in ipairs(list.runs) do
    runs[i] = M.run(run)
  end
  return { runs = runs, counts = list.counts, more = list.more or false }
end

--- The answer of chains.versions.
function M.versions(list)
  local out = json.array {}
  for i, one in ipairs(list) do
    out[i] = { script = one.hash, since = time(one.at_ms), open = one.open }
  end
  return out
end

return M
