--- Running something that may fail: with a time limit, several times, with pauses that grow.
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local retry_budget = require "sipeat.retry_budget"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

--- Waits between attempts; a replay does not.
function M.sleep(duration)
  return task.sleep(duration)
end

-- Two catches are around f: the inner one's answer is among the outer one's results, unless the
-- time limit itself failed.
local function sort_out(ok, first, ...)
  if not ok then
    return nil, first
  end
  return first, ...
end

--- Runs f(...) for at most `timeout_ms` (nil: as long as it takes). true and its results, or nil
--- and a failure.
function M.once(timeout_ms, f, ...)
  if not timeout_ms then
    return failure.catch(f, ...)
  end
  return sort_out(failure.catch(task.with_timeout, timeout_ms .. "ms", failure.catch, f, ...))
end

--- A retry option in the form that M.pause takes; nil makes "once". Throws at `level` when the
--- backoff is wrong.
function M.plan(retry, what, level)
  if not retry then
    return { attempts = 1 }
  end
  local pause, why = opts.backoff(retry)
  if not pause then
    error(("%s: option retry: %s"):format(what, why), (level or 2) + 1)
  end
  local budget = retry.budget and retry_budget.of(retry.budget, (level or 2) + 1)
  return { attempts = retry.attempts, pause = pause, budget = budget }
end

--- Asks the plan's budget for the n-th attempt: nil when it may begin, or how many ms to wait
--- before asking again. `again`: the first attempt was counted before.
function M.held(plan, n, again)
  local budget = plan.budget
  if not budget then
    return nil
  elseif n == 1 and not again then
    budget:note()
    return nil
  end
  return not budget:take() and budget:pause_ms() or nil
end

--- How many ms there are until what refused the call would let it pass; 0 when nothing is known.
function M.refused_for_ms(why)
  return math.max(0, math.ceil((why.retry_at_ms or 0) - sys.monotonic_ms()))
end

--- Waits before the attempt after the n-th, which ended in that failure: the plan's pause, no less
--- than what refused the call asks for, and until the budget allows it. true, or nil and a failure
--- when the task was stopped.
function M.pause(plan, n, why)
  local ms = math.max(plan.pause(n), M.refused_for_ms(why))
  repeat
    local ok, message, code = M.sleep(ms .. "ms")
    if not ok then
      return nil, failure.of(message, code)
    end
    ms = M.held(plan, n + 1)
  until not ms
  return true
end

--- May the plan try again after its n-th attempt ended in that failure?
function M.goes_on(plan, n, why)
  return n < plan.attempts and why.kind ~= "permanent" and why.kind ~= "cancelled"
end

--- M.once, as often as the plan allows.
function M.run(plan, timeout_ms, f, ...)
  M.held(plan, 1)
  for n = 1, plan.attempts do
    local results = table.pack(M.once(timeout_ms, f, ...))
    if results[1] then
      return table.unpack(results, 1, results.n)
    elseif not M.goes_on(plan, n, results[2]) then
      return nil, results[2]
    end
    local ok, stopped = M.pause(plan, n, results[2])
    if not ok then
      return nil, stopped
    end
  end
end

return M
