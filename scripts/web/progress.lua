--- How far the event of a submission has come: the steps of its chain or commands from the journal,
-- how it ended, and the same as HTML and as server-sent events.
--
-- Without a journal, or before an event has its first effect, there is only what flows.submissions
-- knows.
local chains = require "sipeat.chains"
local html = require "sipeat.html"
local http = require "sipeat.http"
local task = require "sipeat.task"
local submissions = require "flows.submissions"

local M = {}

local h = html.tags

local LOOK = "250ms" -- how often a page that is open looks again
local FRESH_MS = 200 -- what was read is read again after that: however many pages look
local PING_MS = 15000 -- shorter than what browsers and proxies take for dead
local LONGEST_MS = 30 * 60 * 1000
local MAX_STREAMS = 256

-- --- reading ---

local ENDED = { done = true, dead = true, completed = true, abandoned = true, parked = true }

-- Of a journal's step to what a page shows.
local STATES = {
  done = "done", undone = "undone", failed = "failed", unknown = "unknown", open = "waiting",
  skipped = "skipped", ["to undo"] = "undoing", ["in doubt"] = "working",
}

local function step_state(step, run)
  local record = step.record
  local state = require("sipeat.chain_steps").status(step, run.steps.states)
  if state == "unknown" and not ENDED[run.state] then
    return "working" -- begun, and not ended yet
  elseif state == "failed" and not ENDED[run.state] and not record.undoing then
    return "working" -- it is tried again
  end
  return STATES[state] or state
end

-- The run in the journal, when there is one.
local function run_of(id)
  if not chains.is_open() then
    return nil
  end
  return (chains.show(id))
end

local function from_run(view, run)
  local by_name = {}
  for _, step in ipairs(run.steps.steps) do
    by_name[step.name] = { state = step_state(step, run), record = step.record }
  end
  for _, step in ipairs(view.steps) do
    local found = by_name[step.name]
    if found then
      step.state, step.result = found.state, found.record.result
    end
  end
  for _, state in pairs(run.steps.states) do
    if type(state) == "table" and state.undoing then
      local cause = state.undoing.cause
      view.undoing, view.failed = true, state.undoing.step
      view.why = cause and cause.code or view.why -- the end is noted in the row a moment later
    elseif type(state) == "table" and state.failure then
      view.failed = state.failure.step or view.failed
      view.why = state.failure.code or view.why
    end
  end
end

-- What the flow noted at the end says where steps stand, also when there is no run any more.
local MARKED = { undone = "undone", not_undone = "stuck", unknown = "unknown" }

local function from_end(view, row)
  local states = {}
  for list, state in pairs(MARKED) do
    for _, name in ipairs(row.ended and row.ended[list] or {}) do
      states[name] = state
    end
  end
  view.failed = row.ended and row.ended.failed or view.failed
  for _, step in ipairs(view.steps) do
    step.state = states[step.name] or step.state
    if row.state == "done" and step.state == "waiting" then
      step.state = "done"
    end
  end
end

local OF_RUN = {
  done = "done", completed = "done", dead = "failed", abandoned = "failed", parked = "unknown",
}
local OF_ROW = { taken = "sending", lost = "lost", done = "done" }

-- A run that a person lets go on is under way again, whatever was noted before.
local function state_of(row, run)
  if run then
    return row.state == "done" and "done" or OF_RUN[run.state] or "working"
  elseif row.state == "dead" then
    return row.why == "UNKNOWN_OUTCOME" and "unknown" or "failed"
  end
  return OF_ROW[row.state] or "waiting"
end

local ENDS = { done = true, failed = true, unknown = true }

-- What is shown: { id, state, steps, failed?, why?, ended, row }; state is "sending", "waiting",
-- "working", "done", "failed", "unknown" or "lost".
local function look(row)
  local view = { id = row.event_id, steps = {}, why = row.why, row = row }
  for i, name in ipairs(row.about.steps or {}) do
    view.steps[i] = { name = name, state = "waiting" }
  end
  local run = run_of(row.event_id)
  if run then
    from_run(view, run)
  end
  view.state = state_of(row, run)
  view.ended = ENDS[view.state] or false
  if view.ended then
    from_end(view, row)
  end
  return view
end

local cache = {} -- id -> { at, view, row problem }

local function forget_old(now)
  for id, entry in pairs(cache) do
    if now - entry.at > FRESH_MS then
      cache[id] = nil
    end
  end
end

--- How far the submission of that id and kind is; false when there is none; nil and a failure.
function M.read(id, kind)
  local now = task.monotonic_ms()
  local entry = cache[id]
  if not entry or now - entry.at > FRESH_MS then
    forget_old(now)
    local row, problem = submissions.find(id)
    if not row then
      return row, problem
    end
    entry = { at = now, view = look(row) }
    cache[id] = entry
  end
  return entry.view.row.kind == kind and entry.view or false
end

-- --- showing ---

local MARKS = {
  done = "✓", failed = "!", undone = "↩", undoing = "↩", unknown = "?", stuck = "!",
  skipped = "–",
}
local WORDS = {
  waiting = "waiting", working = "under way", done = "done", failed = "failed",
  undone = "taken back", undoing = "is taken back", unknown = "not known", skipped = "left out",
}

--- The steps as a list; `labels` says what each is called.
function M.steps(view, labels)
  local items = {}
  for _, step in ipairs(view.steps) do
    local label = labels[step.name]
    if label then
      local state = step.state
      if view.failed == step.name and (state == "waiting" or state == "working") then
        state = "failed"
      elseif state == "waiting" and view.ended then
        state = "skipped"
      end
      items[#items + 1] = h.li {
        class = state == "undoing" and "working" or state,
        h.span { class = "mark", ["aria-hidden"] = "true", MARKS[state] },
        h.span { class = "what", label },
        h.span { class = "state", WORDS[state] or state },
      }
    end
  end
  return h.ol { class = "steps", items }
end

--- What a page shows of it and keeps live: content(view) makes the HTML. Without JavaScript there
--- is a link to look again.
function M.live(view, events, here, content)
  return html.join(
    h.div {
      ["data-live"] = not view.ended and events, ["aria-live"] = "polite",
      content(view),
    },
    not view.ended and h.noscript { h.p { h.a { class = "button", href = here, "Look again" } } }
  )
end

-- --- live ---

local streams = 0

local function follow(id, kind, content, send, write)
  local shown, quiet, began = nil, task.monotonic_ms(), task.monotonic_ms()
  while task.monotonic_ms() - began < LONGEST_MS do
    local view = M.read(id, kind)
    local now = task.monotonic_ms()
    local text = view and tostring(content(view))
    if text and text ~= shown then
      shown, quiet = text, now
      if not send { event = "progress", data = text } then
        return
      end
    elseif now - quiet > PING_MS then
      quiet = now
      if not write ": still here\n\n" then
        return
      end
    end
    if view == false or view and view.ended then
      break
    elseif not task.sleep(LOOK) then
      return
    end
  end
  send { event = "end", data = "" }
end

--- The answer with the progress of a submission as server-sent events, until it has ended.
function M.events(id, kind, content)
  local view = M.read(id, kind)
  if view == nil or streams >= MAX_STREAMS then
    local answer = http.problem(503, view and "too many pages are open" or "the store is away")
    answer.headers["retry-after"] = "10"
    return answer
  elseif not view then
    return http.problem(404)
  end
  return http.sse(function(send, write)
    streams = streams + 1
    local guard <close> = setmetatable({}, { __close = function()
      streams = streams - 1
    end })
    follow(id, kind, content, send, write)
    return guard
  end)
end

return M
