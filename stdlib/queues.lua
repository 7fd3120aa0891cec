--- What waits in queues of this worker when the program stops: all of them are emptied side by
--- side, so that a service that does not answer takes no time from the others.
local task = require "sipeat.task"

local M = {}

local QUEUES = { "sipeat.discord", "sipeat.batch" }

--- true, or nil, message, code when something was not delivered within that time.
function M.flush(timeout)
  local tasks, messages, code = {}, {}, nil
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
