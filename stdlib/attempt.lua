--- Running something that may fail: with a time limit, several times, with pauses that grow.
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local task = require "sipeat.task"

local M = {}

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
  return { attempts = retry.attempts, pause = pause }
end

--- Waits before the attempt after the n-th. true, or nil and a failure when the task was stopped.
function M.pause(plan, n)
  local ok, message, code = task.sleep(plan.pause(n) .. "ms")
  if not ok then
    return nil, failure.of(message, code)
  end
  return true
end

--- May the plan try again after its n-th attempt ended in that failure?
function M.goes_on(plan, n, why)
  return n < plan.attempts and why.kind ~= "permanent" and why.kind ~= "cancelled"
end

--- M.once, as often as the plan allows.
function M.run(plan, timeout_ms, f, ...)
  for n = 1, plan.attempts do
    local results = table.pack(M.once(timeout_ms, f, ...))
    if results[1] then
      return table.unpack(results, 1, results.n)
    elseif not M.goes_on(plan, n, results[2]) then
      return nil, results[2]
    end
    local ok, stopped = M.pause(plan, n)
    if not ok then
      return nil, stopped
    end
  end
end

return M
