--- What a script does besides handling events: timers and loops of its own.
--
-- They belong to the version of the script that started them. While a version loads (between begin
-- and commit) they only wait; commit starts them and stops those of the version before, each after
-- what it is doing; rollback forgets them. Outside of a load they start at once.
local failure = require "sipeat.failure"
local log = require "sipeat.log".new "sipeat.background"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local Job = {}
Job.__index = Job

local running = {} -- job -> true
local pending -- jobs of the version that is loading, or nil

local function run(job)
  task.set_event_id("") -- also when a handler started it: it outlives the event
  local ok, why = failure.catch(job.f, job)
  running[job] = nil
  if not ok and why.kind ~= "cancelled" then
    log:error(("%s ended: %s"):format(job.name, why.message))
  end
end

local function start(job)
  running[job] = true
  job.task = task.spawn(run, job)
end

--- Waits inside of a job. true, or nil when the job is to stop.
function Job:rest(ms)
  self.resting = not self.stopped
  local rested = self.resting and task.sleep(ms .. "ms")
  self.resting = false
  return rested and not self.stopped or nil
end

--- Lets a job end after what it is doing.
function Job:stop()
  self.stopped = true
  if self.resting then
    self.task:kill()
  end
end

--- Waits until a job has ended.
function Job:join()
  if self.task then
    return self.task:join()
  end
  return true
end

--- Runs f(job) beside the events. f looks at job.stopped and waits with job:rest(ms).
function M.run(name, f)
  local job = setmetatable({ name = name, f = f }, Job)
  if pending then
    pending[#pending + 1] = job
  else
    start(job)
  end
  return job
end

--- Calls f() again and again, with that much time between the end of one call and the start of the
--- next; the first time after one interval. A call that fails is logged and the next one comes. Of
--- several workers the first one does so.
function M.every(interval, f)
  local ms, why = opts.duration_ms(interval)
  if not ms then
    error("sipeat.every: " .. why, 2)
  elseif ms < 1 then
    error("sipeat.every: the interval is at least \"1ms\"", 2)
  elseif type(f) ~= "function" then
    error(("sipeat.every: a function is needed, got %s"):format(opts.show(f)), 2)
  end
  if sys.worker > 1 then
    return setmetatable({ name = "every " .. interval, stopped = true }, Job) -- the first one's
  end
  return M.run("every " .. interval, function(job)
    while job:rest(ms) do
      local ok, reason = failure.catch(f)
      if not ok and reason.kind ~= "cancelled" then
        log:error(("every %s: %s"):format(interval, reason.message))
      end
    end
  end)
end

--- A version of the script begins to load.
function M.begin()
  pending = {}
end

--- It has loaded: what it declared starts, what the version before did stops.
function M.commit()
  local before, next_ones = running, pending or {}
  running, pending = {}, nil
  for job in pairs(before) do
    job:stop()
  end
  for _, job in ipairs(next_ones) do
    if not job.stopped then
      start(job)
    end
  end
end

--- It has not: what it declared is forgotten.
function M.rollback()
  pending = nil
end

--- Everything stops, as the program does.
function M.stop()
  pending = nil
  M.commit()
end

return M
