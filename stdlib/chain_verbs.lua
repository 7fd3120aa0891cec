--- What a person's verbs mean for a run: which make sense where it stands, and what they write.
--
-- Nothing is repeated because of them: retry lets a step in doubt ask the world again, and only
-- skip says what the world was found to be.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local place = require "sipeat.place"
local plain = require "sipeat.plain"
local steps = require "sipeat.chain_steps"

local M = {}

local OUTCOME, UNDO_OUTCOME, STATE = 2, 4, 8 -- phases, as in runtime/journal/statements.h

local ENDED = { done = true, dead = true, abandoned = true, completed = true }
local ALLOWED = { -- verb -> states
  retry = { parked = true, held = true, abandoned = true, completed = true },
  skip = { parked = true, active = true, held = true },
  undo = {
    parked = true, active = true, held = true, sleeping = true, waiting = true, done = true,
    completed = true, abandoned = true,
  },
  complete = { parked = true, active = true, held = true, sleeping = true, waiting = true },
  abandon = { parked = true, active = true, held = true, sleeping = true, waiting = true },
}

local HINTS = { -- why a verb makes no sense there
  retry = {
    active = "it goes on by itself",
    sleeping = "it goes on by itself when it is due",
    waiting = "it goes on by itself at the signal or when it is due",
    done = "it has ended well",
    dead = "its dead letter can be replayed: sipeat dlq replay",
  },
  skip = {
    sleeping = "no step of it is in doubt", waiting = "no step of it is in doubt",
    done = "it has ended well", dead = "it has ended",
    abandoned = "it was given up: retry it first",
    completed = "it was declared done: retry it first",
  },
  undo = { dead = "it has ended; what had been done before it failed was undone then" },
}

local function refused(run, o)
  local hint = (HINTS[o.verb] or {})[run.state] or "it has ended"
  return nil, ("run %s is %s and cannot be %s: %s"):format(run.id, run.state, ({
    retry = "retried", skip = "skipped", undo = "undone", complete = "completed",
    abandon = "abandoned",
  })[o.verb], hint)
end

-- A plan under way: what is to be written, and the same in words.
local function planning(state, why)
  local plan = { changes = {}, texts = {}, state = state, why = why }
  function plan.write(phase, where, value, text)
    plan.changes[#plan.changes + 1] = { phase = phase, place = where, value = value }
    plan.texts[#plan.texts + 1] = text
  end
  return plan
end

local function copy(record)
  local out = {}
  for key, value in pairs(record) do
    out[key] = value
  end
  return out
end

-- What chains ended with is forgotten, so that they go on.
local function forget(run, plan)
  for _, state in ipairs(run.steps.states) do
    if state.failure then
      plan.write(STATE, place.below(state.place ~= "" and state.place or nil, "failure"), nil,
        "forget how " .. (state.path ~= "" and state.path or "it") .. " ended: "
          .. state.failure.message)
    end
  end
end

-- As forget; and steps that were left in doubt are asked about again.
local function reopen(run, plan)
  forget(run, plan)
  for _, step in ipairs(run.steps.steps) do
    if step.record.status == "unknown" and not run.steps.states[step.state].undoing then
      local record = copy(step.record)
      record.status, record.message = "intent", nil
      plan.write(STATE, step.place, record, "ask the world again about step " .. step.label)
    end
  end
end

-- An observer that has an outcome is not asked again: those around a place that goes on are.
local function wake_observers(run, plan, where)
  local above
  for key in where:gmatch "[^/]+" do
    local name = key:match "^observer:(.+)$"
    local outcome = name and place.below(above, "observers", place.unescape(name))
    if outcome and run.steps.latest[outcome] ~= nil then
      plan.write(STATE, outcome, nil, "open observer " .. place.unescape(name) .. " again")
      run.steps.latest[outcome] = nil
    end
    above = above and above .. "/" .. key or key
  end
end

local actions = {}

function actions.retry(run, o)
  local plan = planning("open", ("retried by %s: %s"):format(o.who, o.why))
  reopen(run, plan)
  return plan
end

-- The step that is being undone was dealt with by hand.
local function skip_undo(plan, step, record, o)
  if o.result then
    return nil, ("step %s is being undone: it can be skipped, with or without --not-done, but has "
      .. "no result"):format(step.label)
  elseif not o.not_done and record.status ~= "done" and not record.doubt then
    return nil, ("there is nothing to undo in step %s: it is %s"):format(step.label,
      record.status or "not done")
  end
  record.status, record.doubt = not o.not_done and "undone" or nil, nil
  plan.write(UNDO_OUTCOME, step.place, record, o.not_done
    and ("step %s has not happened: nothing to undo"):format(step.label)
    or ("step %s counts as undone"):format(step.label))
  return plan
end

local function result_of(o)
  if not o.result then
    return "null"
  end
  local value, message = json.decode(o.result)
  if value == nil then
    return nil, "--result is JSON: " .. tostring(message)
  end
  return plain.pack(value)
end

function actions.skip(run, o)
  if not o.step then
    return nil, "name the step that is settled"
  end
  local step, message = steps.find(run.steps.steps, o.step)
  if not step then
    return nil, message
  end
  local plan = planning("open", ("step %s settled by %s: %s"):format(step.label, o.who, o.why))
  local record, state = copy(step.record), run.steps.states[step.state]
  if state.undoing then
    forget(run, plan)
    return skip_undo(plan, step, record, o)
  elseif record.status == "done" and not o.not_done then
    return nil, ("step %s is done already"):format(step.label)
  elseif record.status == "undone" then
    return nil, ("step %s was undone"):format(step.label)
  elseif o.not_done and o.result then
    return nil, "a step that has not happened has no result: --not-done or --result, not both"
  end
  local result
  result, message = result_of(o)
  if not result then
    return nil, message
  end
  record.doubt, record.message = nil, nil
  record.status, record.result = not o.not_done and "done" or nil, not o.not_done and result or nil
  plan.write(OUTCOME, step.place, record, o.not_done
    and ("step %s has not happened: it runs again"):format(step.label)
    or ("step %s is done, with the result %s"):format(step.label, result))
  step.record = record
  reopen(run, plan)
  return plan
end

function actions.undo(run, o)
  local plan = planning("open", ("undone by %s: %s"):format(o.who, o.why))
  local cause = failure.permanent(("undone by %s: %s"):format(o.who, o.why), "UNDONE")
  local done = {} -- state's place -> names of its last step that can be undone
  for _, step in ipairs(run.steps.steps) do
    local record = step.record
    if record.status == "intent" then
      record = copy(record)
      record.status = "unknown"
      plan.write(STATE, step.place, record, ("step %s stays unknown"):format(step.label))
    elseif record.status == "done" or record.doubt then
      done[step.state] = step
    end
  end
  if next(done) == nil then
    return nil, "no step is done: there is nothing to undo"
  end
  for _, state in ipairs(run.steps.states) do
    local step = done[state.place]
    local below = state.place ~= "" and state.place or nil
    if step and state.failure then
      plan.write(STATE, place.below(below, "failure"), nil, "forget how it ended: "
        .. state.failure.message)
    end
    if step and not state.undoing then
      plan.write(STATE, place.below(below, "undoing"),
        { step = step.name, cause = cause, by = o.who },
        "undo what is done, in reverse, from step " .. step.label)
    end
    if step then
      wake_observers(run, plan, state.place)
    end
  end
  return plan
end

function actions.complete(_, o)
  return planning("completed", ("declared done by %s: %s"):format(o.who, o.why))
end

function actions.abandon(_, o)
  return planning("abandoned", ("given up by %s: %s"):format(o.who, o.why))
end

--- What a verb writes: { changes = { { phase, place, value } }, texts, state, why }, with the state
--- "open" for what goes on; or nil and why it makes no sense.
function M.plan(run, o)
  if not ALLOWED[o.verb] then
    return nil, ("there is no verb %s"):format(o.verb)
  elseif not ALLOWED[o.verb][run.state] then
    return refused(run, o)
  elseif ENDED[run.state] and o.verb == "retry" and #run.steps.moments == 0 then
    return nil, "nothing of it was recorded"
  end
  return actions[o.verb](run, o)
end

local TEXTS = {
  retry = "go on from where it stands; what is in doubt asks the world first",
  undo = "undo what is done, in reverse",
  complete = "declare it done",
  abandon = "give it up",
}

--- What can be said about a run: a list of { verb, step, text }.
function M.possible(run)
  local list = {}
  if run.handled_by then
    return list
  end
  if ALLOWED.retry[run.state] then
    list[1] = { verb = "retry", text = TEXTS.retry }
  end
  for _, step in ipairs(ALLOWED.skip[run.state] and run.steps.steps or {}) do
    local status = steps.status(step, run.steps.states)
    if status == "unknown" or status == "in doubt" or status == "to undo" or status == "failed" then
      list[#list + 1] = {
        verb = "skip", step = step.label, text = status == "to undo" and "it was undone by hand"
          or "it has happened (--result JSON), or has not (--not-done)",
      }
    end
  end
  for _, verb in ipairs { "undo", "complete", "abandon" } do
    local makes_sense = ALLOWED[verb][run.state]
    if verb == "undo" and makes_sense then
      makes_sense = false
      for _, step in ipairs(run.steps.steps) do
        makes_sense = makes_sense or step.record.status == "done" or step.record.doubt ~= nil
      end
    end
    if makes_sense then
      list[#list + 1] = { verb = verb, text = TEXTS[verb] }
    end
  end
  return list
end

return M
