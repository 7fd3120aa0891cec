--- Runs a recorded chain again: today's handlers, yesterday's world.
--
-- Whatever a step would do is answered with what was recorded of it, in order; nothing is called.
-- ctx.world is where patterns ask (sipeat.context.effect), and ctx.run is where they say what they
-- keep, so that both can be compared with the recording.
local attempt = require "sipeat.attempt"
local context = require "sipeat.context"
local events = require "sipeat.event"
local failure = require "sipeat.failure"
local flow_run = require "sipeat.flow_run"
local journal = require "sipeat.journal"
local log = require "sipeat.log"
local place = require "sipeat.place"
local plain = require "sipeat.plain"
local recordings = require "sipeat.replay_recording"
local steps = require "sipeat.steps"

local M = {}

local MAX_ATTEMPTS = 1000
local ENDS = "NOT_RECORDED" -- the recording has no answer: the handler ends here

local function stop(text)
  error(failure.new(text, ENDS, "cancelled"), 0)
end

-- --- the world as it was ---

local World = {}
World.__index = World

-- What a try of a step that did not end well gave. The last one is final: nobody tried again.
local function failed(self, where, try, goes_on)
  local outcome = try.outcome
  local ended = self.recording:failure(where)
  local told = outcome and outcome.message or ended and ended.cause and ended.cause.message
  local text = told or "failed, as recorded"
  if not outcome or outcome.status == "unknown" then
    return nil, failure.new(text, "ETIMEDOUT", "timeout")
  elseif goes_on then
    return nil, failure.transient(text, outcome.doubt and "FAILED" or "NOT_SENT")
  end
  local code = ended and ended.cause and ended.cause.code or "RECORDED"
  return nil, failure.new(text, outcome.doubt and "BAD_DATA" or code, "permanent")
end

function World:run(name, where)
  local try, goes_on = self.recording:next(where, "run")
  if not try then
    self.unanswered = self.unanswered or where
    stop(("step %s runs, and the recording has no answer for it"):format(name))
  end
  local outcome = try.outcome
  if not outcome or outcome.status ~= "done" then
    return failed(self, where, try, goes_on)
  end
  local result = outcome.result and plain.unpack(outcome.result)
  local chain = where:match "^(.*)/steps/[^/]+$"
  if chain and self.recording:latest(chain .. "/handled") == name then
    return steps.handled(result)
  end
  return result
end

function World:reconcile(_, where)
  local recorded = self.recording:step(where)
  return recorded and recorded.status == "undone" and "not_done" or "unknown"
end

function World:undo(name, where)
  local try, goes_on = self.recording:next(where, "undo")
  if not try then
    self.unanswered = self.unanswered or where
    stop(("step %s is undone, and the recording has no answer for it"):format(name))
  elseif try.outcome and try.outcome.status == "undone" then
    return true
  end
  return nil, failure.new("not undone, as recorded", "RECORDED",
    goes_on and "transient" or "permanent")
end

-- An observer whose handler kept nothing is answered as a whole.
local function observer(self, ctx, name, handler)
  local slot = place.below(ctx.place, "observer:" .. name)
  local outcome = self.recording:latest(place.below(ctx.place, "observers", name))
  if self.recording:has_below(slot) or not outcome then
    return handler
  end
  return function()
    if outcome.done then
      return outcome.result
    end
    return nil, outcome.failure or failure.permanent("failed, as recorded", "RECORDED")
  end
end

function World:effect(ctx, what, name, f)
  if what == "observer" then
    return observer(self, ctx, name, f)
  end
  local where = place.below(ctx.place, "state", "steps", name)
  return function()
    return self[what](self, name, where)
  end
end

-- --- what is kept ---

local Run = {}
Run.__index = Run

-- Sleeps are over at once, waits get what had come.
local function answer_wait(self, phase, where, value)
  local recorded = self.recording:latest(where)
  if phase == "sleep" then
    value.due = 0
  elseif phase == "wait" and recorded and recorded.is_over then
    value.is_over, value.body, value.timed_out = true, recorded.body, recorded.timed_out
  elseif phase == "wait" then
    self.waits = true
    stop(("it waits for %s %s, and nothing had come"):format(value.name, value.key))
  end
end

function Run:keep(phase, where, value)
  if phase == "sleep" or phase == "wait" then
    answer_wait(self, phase, where, value)
  elseif where:find "/steps/[^/]+$" then
    if not self.records[where] then
      self.order[#self.order + 1] = where
    end
    self.records[where] = value
  end
  return true
end

function Run:leave()
  return true
end

-- --- comparing ---

local function name_of(where)
  return place.unescape(where:match "([^/]+)$")
end

-- One step of both, or of one: { step, place, parts, recorded, now }.
local function compare_step(run, recording, where)
  local recorded, record = recording:step(where), run.records[where]
  local now = record and {
    status = record.status or "open", key = record.key,
    args = record.args and plain.unpack(record.args),
  }
  local found = { step = recorded and recorded.label or name_of(where), parts = {} }
  local function part(kind, before, after)
    table.insert(found.parts, { kind = kind, recorded = before, now = after })
  end
  if not recorded then
    part("new", nil, now.args)
  elseif not now then
    part("missing", recorded.args, nil)
  else
    if not plain.same(recorded.args, now.args) then
      part("arguments", recorded.args, now.args)
    end
    if recorded.key ~= now.key then
      part("key", recorded.key, now.key)
    end
    local unsettled = { open = true, intent = true, unknown = true }
    if recorded.status ~= now.status
      and not (unsettled[recorded.status] and unsettled[now.status]) then
      part("outcome", recorded.status, now.status)
    end
  end
  return found
end

-- The first of the steps that both have which is not in its place.
local function compare_order(run, recording)
  local function common(list, has)
    local out = {}
    for _, where in ipairs(list) do
      if has(where) then
        out[#out + 1] = where
      end
    end
    return out
  end
  local before = common(recording.order, function(where)
    return run.records[where] ~= nil
  end)
  local after = common(run.order, function(where)
    return recording:step(where) ~= nil
  end)
  for i, where in ipairs(before) do
    if where ~= after[i] then
      return { kind = "order", recorded = name_of(where), now = name_of(after[i]) }
    end
  end
end

-- How the run ended now, in the words of the journal.
local function ended(ok, why)
  if ok then
    return "done"
  elseif why.code == "UNKNOWN_OUTCOME" then
    return "parked"
  end
  return "dead"
end

local COMPARED = { done = true, dead = true, parked = true }

-- --- running ---

local function event_of(export)
  local record, message = journal.unpack_record(export.run.record)
  if not record then
    return nil, message
  end
  record.topic, record.partition = export.run.topic, export.run.partition
  record.key = export.run.key
  return events.from_record(record)
end

local function context_for(event, run, world, outputs)
  local ctx = {
    id = event.id, key = event.id, trace = event.trace, memory = {}, results = {}, attempt = 1,
    final = false, flow = run.flow, log = log.new "replay", run = run, world = world,
  }
  function ctx.emit(_, topic, key, value)
    outputs[#outputs + 1] = { kind = "emit", topic = topic, key = key, value = value }
    return true
  end
  function ctx.publish(_, published)
    outputs[#outputs + 1] = { kind = "publish", type = published.type, value = published.data }
    return true
  end
  function ctx.on_end()
    return true
  end
  return context.complete(event, ctx)
end

-- What a person had undone does not happen by itself: it is said again.
local function undo_by_person(recording, memory)
  local said = false
  for _, state in ipairs(recording.read.states) do
    local undoing = state.undoing
    if undoing and undoing.by then
      local below = state.place ~= "" and state.place or nil
      place.put(memory, place.below(below, "failure"), nil)
      place.put(memory, place.below(below, "undoing"), undoing)
      local above
      for key in state.place:gmatch "[^/]+" do
        local name = key:match "^observer:(.+)$"
        if name then
          place.put(memory, place.below(above, "observers", place.unescape(name)), nil)
        end
        above = above and above .. "/" .. key or key
      end
      said = true
    end
  end
  return said
end

-- Handles the event as often as it was: true, or nil and the failure that it ended with.
local function handle(flow, event, ctx, recording)
  local ok, why
  for n = 1, MAX_ATTEMPTS do
    ctx.attempt = n
    ok, why = failure.catch(flow_run.handle, flow, event, ctx)
    local again = not ok and why.kind ~= "permanent" and why.kind ~= "cancelled"
    if not again or not recording:is_open() then
      break
    end
  end
  if (ok or why.code ~= ENDS) and undo_by_person(recording, ctx.memory) then
    ok, why = failure.catch(flow_run.handle, flow, event, ctx)
  end
  return ok, why
end

--- Runs what sipeat.chain_export.read gave on a flow's handlers. A report: { same, steps, parts,
--- outcome = { recorded, now, message }, outputs }; or nil, message, code.
function M.run(export, flow, outputs)
  local event, message, code = event_of(export)
  if not event then
    return nil, "the event of the file: " .. tostring(message), code or "BAD_DATA"
  end
  local recording = recordings.new(export.rows)
  local run = setmetatable({
    id = 0, flow = export.run.flow, added = true, records = {}, order = {}, recording = recording,
  }, Run)
  local world = setmetatable({ recording = recording }, World)
  local ctx = context_for(event, run, world, outputs)
  attempt.sleep = function()
    return true
  end
  local ok, why = handle(flow, event, ctx, recording)
  local report = { same = true, steps = {}, parts = {}, outputs = outputs }
  for _, list in ipairs { recording.order, run.order } do
    for _, where in ipairs(list) do
      if list == recording.order or not recording:step(where) then
        local step = compare_step(run, recording, where)
        report.steps[#report.steps + 1] = step
        report.same = report.same and #step.parts == 0
      end
    end
  end
  report.parts[1] = compare_order(run, recording)
  local now = not ok and why.code == ENDS and (run.waits and "waiting" or "stopped")
    or ended(ok, why)
  local text = not ok and why.message or nil
  report.outcome = { recorded = export.run.state, now = now, message = text }
  local stopped = now == "stopped"
  local other = COMPARED[export.run.state] and now ~= export.run.state and now ~= "stopped"
  if other then
    table.insert(report.parts, { kind = "outcome", recorded = export.run.state, now = now })
  end
  report.same = report.same and #report.parts == 0 and not stopped
  return report
end

return M
