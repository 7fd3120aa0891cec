--- `sipeat console`: the console alone, for any cluster.
local access = require "sipeat.access"
local console = require "sipeat.console"
local http = require "sipeat.http"
local http_environment = require "sipeat.http_environment"
local proxy = require "sipeat.access_proxy"
local server = require "sipeat.http_server"
local task = require "sipeat.task"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, SETTINGS = 0, 1, 2, 5
local FOREVER = "365d"

local function complain(message)
  terminal.note("sipeat console: " .. message)
end

-- A link that signs in once, for whoever sees this terminal; told again after each use.
local function tell_link(state)
  return function(path)
    state.path = path
    if state.url then
      complain(("open %s%s (it signs in once)"):format(state.url, path))
    end
  end
end

-- The groups of the process whose embedded broker this is, which cannot list them itself.
local function groups_of(address)
  return function()
    local answer = http.get(("http://%s/admin/groups"):format(address), { timeout = "2s" })
    local groups = {}
    for _, one in ipairs(answer and answer:ok() and answer:json() or {}) do
      groups[one.name] = { state = one.state, members = one.members }
    end
    return groups
  end
end

local function add_routes(options, link)
  local builtin = { builtin = true }
  http.route("GET /ping", function()
    return { status = 200, headers = { ["content-type"] = "text/plain" }, body = "pong\n" }
  end, builtin)
  http.route("GET /", function()
    return { status = 303, headers = { location = "/console" } }
  end, builtin)
  require("sipeat.console_pages").add(http)
  local ok, message = access.serve { file = options.access, dev = link }
  if not ok then
    return nil, message
  end
  local address = options.embedded_http
  console.serve { mode = "console", own_groups = address and groups_of(address) or nil }
  return true
end

--- Returns the exit code.
function M.run(options)
  local name = server.parse_address(options.http)
  if not name then
    complain("--http takes HOST:PORT")
    return USAGE
  end
  local state = {}
  local is_local = proxy.is_loopback(name)
  local ok, found, message
  ok, message = add_routes(options, is_local and tell_link(state) or nil)
  if not ok then
    complain(message)
    return SETTINGS
  end
  found, message = http.listen(options.http, http_environment(options))
  if not found then
    complain(message .. " (another one: --http HOST:PORT)")
    return FAILED
  end
  state.url = found.url
  complain(("listening on %s, for the brokers %s"):format(found.url, options.broker))
  if is_local then
    tell_link(state)(state.path)
  end
  repeat -- until a signal stops this task
    local _, _, code = task.sleep(FOREVER)
  until code == "ECANCELED"
  found:stop "1s"
  return OK
end

return M
