--- Time limit: a handler or client that may take so long and no longer.
local guard = require "sipeat.guard"
local opts = require "sipeat.opts"
local task = require "sipeat.task"

--- Makes a handler (or each function of a client) that answers nil, message, "ETIMEDOUT" after that
--- long; what runs is stopped.
return function(duration, target)
  local ms, why = opts.duration_ms(duration)
  if not ms then
    error("sipeat.timeout: " .. why, 2)
  elseif ms < 1 then
    error("sipeat.timeout: the limit is at least \"1ms\"", 2)
  end
  return (guard.wrap("sipeat.timeout", target, function(f)
    return function(...)
      return task.with_timeout(duration, f, ...)
    end
  end, nil, 2))
end
