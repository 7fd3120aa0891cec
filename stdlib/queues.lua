--- What waits in queues of this worker when the program stops: all of them are emptied side by
--- side, so that a service that does not answer takes no time from the others.
local opts = require "sipeat.opts"
local task = require "sipeat.task"

local M = {}

local QUEUES = { "sipeat.discord", "sipeat.batch" }
local MARGIN_MS = 200 -- of the time, for saying what is left

--- true, or nil, message, code when something was not delivered within that time.
function M.flush(timeout)
  local ms = opts.duration_ms(timeout)
  local tasks, messages, code = {}, {}, nil
  timeout = ("%dms"):format(math.max(ms - MARGIN_MS, ms // 2))
  for i, name in ipairs(QUEUES) do
    tasks[i] = task.spawn(require(name).flush, timeout)
  end
  for _, one in ipairs(tasks) do
    local ok, message, its_code = one:join()
    if not ok then
      messages[#messages + 1] = message
      code = its_code
    end
  end
  if #messages == 0 then
    return true
  end
  return nil, table.concat(messages, "; "), code
end

return M
