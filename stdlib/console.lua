--- The console's API under /console/api/ (docs/console-api.md): its parts, and what they need of
--- the program.
local host = require "sipeat.console_host"
local lag = require "sipeat.console_lag"
local opts = require "sipeat.opts"

local M = {}

local SERVE = opts.spec("sipeat.console.serve", {
  mode = { "string", default = "console", enum = { "run", "dev", "console" } },
  host = { "table" },
  own_groups = { "function" }, -- of the process of an embedded broker: name -> { state, members }
})

local PARTS = {
  "overview", "topics", "messages", "groups", "flows", "letters", "chains", "machines", "scripts",
  "search", "events",
}

--- Adds the routes. `host` is sipeat.core.host where a script runs.
function M.serve(options)
  local o = SERVE(options)
  host.set(o.mode, o.host)
  lag.set_own(o.own_groups or host.own_groups)
  for _, part in ipairs(PARTS) do
    require("sipeat.console_" .. part).routes()
  end
end

return M
