--- Undoing what a list of steps has done: in reverse, each with retries of its own.
--
-- Resumable like the run itself: what is undone stays undone, and an interrupted undo goes on at
-- the next attempt. After a point of no return nothing is undone.
local attempt = require "sipeat.attempt"
local context = require "sipeat.context"
local failure = require "sipeat.failure"
local local_effects = require "sipeat.local_effects"
local plain = require "sipeat.plain"
local tracing = require "sipeat.tracing"

local M = {}

-- The name of the last step that is done and cannot be gone back behind.
local function point_of_no_return(run)
  for i = #run.chain.steps, 1, -1 do
    local step = run.chain.steps[i]
    local record = run.state.steps[step.name]
    if step.point_of_no_return and record and record.status == "done" then
      return step.name
    end
  end
end

-- Each attempt is announced: a host that was frozen finds out here that it has no say any more.
local function undo_one(run, step, record, keep)
  local transact
  if step.effect == "local" then
    transact = local_effects.method(run, step, record, "undo_outcome", "undone")
  end
  local ctx = context.step(run.ctx, step.part, record.key .. ":undo", run.results, transact)
  local result = record.result and plain.unpack(record.result)
  return attempt.run(run.chain.undo_plan, nil, function()
    local kept, stopped = keep(run, "undo_intent", step, record)
    if not kept then
      return nil, stopped
    end
    local undo = context.effect(run.ctx, "undo", step.name, step.undo)
    local ok, why = attempt.once(step.timeout, undo, plain.unpack(record.args), result, ctx)
    local settled, cancelled = local_effects.settled(record, "undone")
    return settled or ok, cancelled or why
  end)
end

-- The same with a span around it, if the event is recorded.
local function traced(run, step, record, keep)
  local span = require("sipeat.trace_spans").step("undo", run, step)
  local ok, why = undo_one(run, step, record, keep)
  if span then
    span:ended(ok, why, why and why.code)
  end
  return ok, why
end

-- Undoes what can be undone and fills the lists of the report. nil and a failure when the task was
-- stopped on the way.
local function undo_steps(run, report, keep)
  for i = #run.chain.steps, 1, -1 do
    local step = run.chain.steps[i]
    local record = run.state.steps[step.name] or {}
    if record.status == "unknown" then
      table.insert(report.unknown, step.name)
    elseif record.status == "undone" then
      table.insert(report.undone, step.name)
    elseif record.status == "done" or record.doubt then
      local ok, why
      if step.undo then
        local undo = tracing.on and tracing.recording() and traced or undo_one
        ok, why = undo(run, step, record, keep)
      end
      if ok then
        record.status, record.doubt = "undone", nil
        keep(run, "undo_outcome", step, record, true)
        table.insert(report.undone, step.name)
      elseif why and why.kind == "cancelled" then
        return nil, why
      elseif why then
        table.insert(report.not_undone, { step = step.name, message = why.message })
      elseif record.status == "done" then
        table.insert(report.kept, step.name)
      end
    end
  end
  return true
end

local function describe(report)
  local parts = {}
  if report.after then
    parts[1] = ("past the point of no return %s: nothing was undone"):format(report.after)
  elseif #report.undone + #report.not_undone + #report.kept == 0 then
    parts[1] = "nothing to undo"
  end
  if #report.undone > 0 then
    parts[#parts + 1] = "undone: " .. table.concat(report.undone, ", ")
  end
  for _, entry in ipairs(report.not_undone) do
    parts[#parts + 1] = ("NOT undone: %s (%s)"):format(entry.step, entry.message)
  end
  if #report.kept > 0 then
    parts[#parts + 1] = "has no undo: " .. table.concat(report.kept, ", ")
  end
  if #report.unknown > 0 then
    parts[#parts + 1] = "outcome unknown: " .. table.concat(report.unknown, ", ")
  end
  return table.concat(parts, "; ")
end

--- Undoes the steps of a run that has failed for good (run.state.undoing says why) and returns nil
--- and the failure of the run, which lists what was undone and what was not.
function M.all(run, keep)
  local undoing = run.state.undoing
  local failed, cause = undoing.step, undoing.cause
  local report = {
    undone = {}, not_undone = {}, kept = {}, unknown = {},
    after = not undoing.by and point_of_no_return(run) or nil, -- a person may go back behind it
  }
  if not report.after then
    local ok, stopped = undo_steps(run, report, keep)
    if not ok then
      return nil, stopped
    end
  end
  local complete = not report.after and #report.not_undone == 0
  local text = ("%s: step %s: %s (%s)"):format(
    run.chain.title, failed, cause.message, describe(report)
  )
  local why = failure.new(text, cause.code, complete and cause.kind or "permanent")
  why.chain, why.step, why.traceback = run.chain.name, failed, cause.traceback
  why.undone, why.kept, why.unknown = report.undone, report.kept, report.unknown
  why.cause, why.not_undone, why.decided_by = cause, {}, undoing.by
  for i, entry in ipairs(report.not_undone) do
    why.not_undone[i] = entry.step
    run.ctx.log:error(("%s: step %s was not undone: %s"):format(
      run.chain.title, entry.step, entry.message
    ))
  end
  run.state.failure, run.state.undoing = why, nil
  return nil, why
end

return M
