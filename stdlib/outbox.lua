--- The outbox: outputs that are safe on the local disk at once, and go on to the broker when it is
-- there. This is how its file and bounds are chosen and how it is looked at; what uses it says so
-- itself, with `outbox = true` (a flow, sipeat.publish, sipeat.kafka.producer).
local core = require "sipeat.core.outbox"
local opts = require "sipeat.opts"

local M = {}

local OUTBOX = opts.spec("sipeat.outbox", {
  path = { "string" },
  max_bytes = { "size", default = "1gb" },
  when_full = { "string", default = "refuse", enum = { "refuse", "wait", "drop_oldest" } },
})

--- Sets the process's outbox up; called while the script loads. --outbox and SIPEAT_OUTBOX name the
--- file before `path` does.
function M.configure(options)
  local o = OUTBOX(options)
  local ok, message = core.configure(o)
  if not ok then
    error(message, 2)
  end
  core.want()
end

--- What is in it, and what it did since the start; nil when this program has none.
M.status = core.status

return setmetatable(M, {
  __call = function(_, options)
    return M.configure(options)
  end,
})
