--- Simulation: one event on its way through a handler whose host may die at any point, in virtual
--- time, with a journal in memory.
--
-- A world has a loop (sipeat.simulation_loop), a store (sipeat.simulation_store) and, one after the
-- other, hosts. A host does what a flow with a journal does: it takes the event, or the run that it
-- finds in the store, and calls the handler until that has ended. Around each write of the journal
-- and at each wait there is a point, at which the world's `at_point` may let the host die.
local context = require "sipeat.context"
local failure = require "sipeat.failure"
local journal = require "sipeat.journal"
local loops = require "sipeat.simulation_loop"
local opts = require "sipeat.opts"
local stores = require "sipeat.simulation_store"
local task = require "sipeat.task"

local M = {}

local World = {}
World.__index = World

local NO_LOG = {}
for _, level in ipairs { "debug", "info", "warn", "error" } do
  NO_LOG[level] = function() end
end

--- Options: `attempts` of the handler in one life of a host, `pause_ms` between them, `latency_ms`
--- of a write, `pick` (see sipeat.simulation_loop), `ctx` (fields), and
--- `at_point(world, host, name, statement)`, which answers "die", or "freeze" after it said so in
--- the host; M.describe(name, statement) says what point that is.
function M.new(options)
  local world = setmetatable({
    loop = loops.new(options.pick), store = stores.new(), epoch = 0, points = 0, outputs = {},
    attempts = options.attempts or 3, pause_ms = options.pause_ms or 1000,
    latency_ms = options.latency_ms or 0, at_point = options.at_point, ctx = options.ctx or {},
  }, World)
  function world.loop.on_wait(host)
    world:point(host, "while it waits")
  end
  return world
end

--- A point at which the host may die: then this never returns. `statement`: the one that it is
--- before or after.
function World:point(host, name, statement)
  if host.is_quiet then
    return
  end
  self.points = self.points + 1
  local what = self.at_point and self.at_point(self, host, name, statement)
  if what == "die" then
    self.loop:die(host)
  elseif what == "freeze" and not self.loop.current.waiting then
    coroutine.yield()
  end
end

-- --- writes ---

local READS = {
  records = true, run_get = true, run_at = true, run_of_event = true, runs_open = true,
  runs_due = true,
}
local PHASES = {
  "intent", "outcome", "undo intent", "undo outcome", "sleep", "wait", "signal", "state",
}

--- A point in words. What a write is about, its last statement says.
function M.describe(name, s)
  if not s then
    return name
  elseif s[1] == "record_add" then
    return ("%s record %d (%s of %s)"):format(name, s[4], PHASES[s[6]], s[7])
  elseif s[1] == "run_state" then
    return name .. " the end of the run"
  elseif s[1] == "run_take" then
    return name .. " taking the run over"
  end
  return ("%s %s"):format(name, s[1])
end

local function write(world, ...)
  local me = world.loop.current
  local host, first = me.host, ...
  if READS[first[1]] and select("#", ...) == 1 then
    return world.store:write(...)
  end
  local statements, results = table.pack(...), nil
  local last = statements[statements.n]
  world:point(host, "before", last)
  if world.latency_ms == 0 then
    results = table.pack(world.store:write(...))
  else
    world.loop:after(world.latency_ms, host, function()
      results = table.pack(world.store:write(table.unpack(statements, 1, statements.n)))
      world.loop:wake(me)
    end)
    local was_quiet = host.is_quiet
    host.is_quiet = true
    local stopped = world.loop:wait()
    host.is_quiet = was_quiet
    if stopped then
      return nil, "write: the task was stopped", "ECANCELED"
    end
  end
  world:point(host, "after", last)
  return table.unpack(results, 1, results.n)
end

--- Runs f with the journal and the tasks of this world; what it raises is raised.
function World:inside(f, ...)
  local real = journal.write
  self.loop:start()
  journal.write = function(...)
    return write(self, ...)
  end
  local results = table.pack(xpcall(f, failure.caught, ...))
  journal.write = real
  self.loop:stop()
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

-- --- hosts ---

local FLOW <const> = "simulated"

local function new_run(world, host, event)
  return journal.run {
    on_accepted = function()
      world.is_accepted = true
    end,
    epoch = host.epoch, flow = FLOW, cluster = "simulated", script = "simulated", event = event,
    record = { topic = "simulated", partition = 0, offset = event.offset or 0, headers = {} },
  }
end

-- The run of an event and its memory; or nil and how it has ended, if it has.
local function find(world, host, event)
  local rows = journal.write { "run_of_event", FLOW, event.id, 0, n = 4 }
  if not rows[1] then
    return new_run(world, host, event), {}
  end
  local id, state = rows[1][1], rows[1][2]
  if state == journal.PARKED then
    return nil, "parked"
  elseif state >= journal.DONE then
    return nil, state == journal.DONE and "done" or "dead"
  end
  local row = journal.write({ "run_get", id, n = 2 })[1]
  local run = new_run(world, host, event)
  run.id, run.added = id, true
  if journal.write { "run_take", id, row[2], host.epoch, n = 4 } == 0 then
    return nil, "fenced"
  end
  local memory, seq = journal.memory(id)
  run.seq = seq
  return run, memory
end

local function emitter(world)
  return function(_, topic, key, value, headers)
    world.outputs[#world.outputs + 1] = {
      topic = topic, key = key, value = value, headers = headers,
    }
    return true
  end
end

local function context_of(world, event, run, memory, attempt)
  local ctx = {
    id = event.id, key = event.id, attempt = attempt, final = attempt >= world.attempts,
    memory = memory, run = run, log = NO_LOG, emit = emitter(world),
  }
  for name, value in pairs(world.ctx) do
    ctx[name] = value
  end
  return ctx
end

local function ending(run, state, name, result, why)
  local ok, refused = run:finish(state, why and why.message)
  if not ok then
    return { state = "cancelled", failure = refused }
  end
  return { state = name, result = result, failure = why }
end

-- What a host does with the event: its life.
local function live(world, host, handler, event)
  local run, memory = find(world, host, event)
  if not run then
    return { state = memory }
  end
  for attempt = 1, world.attempts do
    local ctx = context_of(world, event, run, memory, attempt)
    local ok, result = failure.catch(handler, event, ctx)
    local why = not ok and result or nil
    if why and why.kind == "cancelled" then
      return { state = "cancelled", failure = why }
    elseif ok or why.kind == "permanent" or attempt == world.attempts then
      local open = context.unfinished(memory)
      if open or why and failure.in_doubt(why) then
        why = why or failure.new(("%s was stopped on its way"):format(open), "UNKNOWN_OUTCOME")
        return ending(run, journal.PARKED, "parked", nil, why)
      elseif ok then
        return ending(run, journal.DONE, "done", result)
      end
      return ending(run, journal.DEAD, "dead", nil, why)
    end
    task.sleep(world.pause_ms .. "ms")
  end
end

--- A new host takes the event up. Its outcome, { state = "done" | "dead" | "parked" | "cancelled"
--- | "fenced", result, failure }; or nil when it died or was lost.
function World:host(handler, event)
  self.epoch = self.epoch + 1
  local host = loops.host()
  host.epoch = self.epoch
  local main = self.loop:spawn(host, live, self, host, handler, event)
  local outcome, message = self.loop:run(main)
  if message then
    error(message, 0)
  elseif not outcome and not host.dead and not host.is_lost then
    error("the handler waits for what never comes", 0)
  end
  return outcome, host
end

--- Has another host taken a run over from that one?
function World:is_taken_from(host)
  for _, run in pairs(self.store.runs) do
    if run[2] ~= host.epoch then
      return true
    end
  end
  return false
end

-- --- crash_at_every_step ---

local OPTIONS = opts.spec("sipeat.testing.crash_at_every_step", {
  crashes = { "integer", default = 2, min = 1, max = 4 },
  attempts = { "integer", default = 3, min = 1, max = 100 },
  pause = { "duration", default = "1s" },
  max_runs = { "integer", default = 20000, min = 1 },
  ctx = { "table" },
})

-- Calls f once in a world whose hosts die at the points of that schedule. How many points there
-- were; or nil and what broke.
local function play(f, o, schedule, number)
  local names = {}
  local world = M.new {
    attempts = o.attempts, pause_ms = o.pause, ctx = o.ctx,
    at_point = function(world, _, name, statement)
      if world.points == schedule[#names + 1] then
        names[#names + 1] = M.describe(name, statement)
        return "die"
      end
    end,
  }
  local run = setmetatable({ outputs = world.outputs }, { __call = function(_, handler, event)
    local outcome
    event = event or { id = ("event-%d"):format(number), type = "simulated", data = {} }
    repeat
      outcome = world:host(handler, event)
    until outcome
    return outcome
  end })
  --- A crash may happen here too: for fakes, between what they do.
  function run.point(name)
    local me = world.loop.current
    if me then
      world:point(me.host, name)
    end
  end
  local ok, why = pcall(world.inside, world, f, run)
  if ok then
    return world.points
  end
  local lines = { "crash_at_every_step: " .. tostring(failure.is(why) and why.message or why) }
  for i, name in ipairs(names) do
    lines[#lines + 1] = ("  crash %d: at point %d, %s"):format(i, schedule[i], name)
  end
  if #names == 0 then
    lines[#lines + 1] = "  without any crash"
  end
  return nil, table.concat(lines, "\n")
end

local function explore(f, o, schedule, report)
  report.runs = report.runs + 1
  if report.runs > o.max_runs then
    error(("crash_at_every_step: more than %d runs; fewer crashes in a row, or a higher max_runs")
      :format(o.max_runs), 0)
  elseif report.runs % 100 == 0 and coroutine.isyieldable() then
    task.sleep "0ms" -- other tasks are waiting
  end
  local points, why = play(f, o, schedule, report.runs)
  if not points then
    error(why, 0)
  end
  report.points = report.points or points
  if #schedule == o.crashes then
    return
  end
  for at = (schedule[#schedule] or 0) + 1, points do
    schedule[#schedule + 1] = at
    explore(f, o, schedule, report)
    schedule[#schedule] = nil
  end
end

--- Calls f(run) again and again, each time with a crash at another point: before and after each
--- record of the journal, at each wait, and at each run.point(name); then with two crashes in a
--- row, and so on up to `crashes`. f makes fresh fakes, calls run(handler, event) for the outcome
--- of the event (without one: of an event with an id of its own) and checks what the fakes saw:
--- what it raises is raised with the points of the crashes. Returns { runs, points }.
function M.crash_at_every_step(f, options)
  if not opts.is_callable(f) then
    error("crash_at_every_step: a function is needed, got " .. opts.show(f), 2)
  end
  local report = { runs = 0 }
  explore(f, OPTIONS(options or {}), {}, report)
  return report
end

return M
