--- What the program itself answers over HTTP: /ping, /ready, /health, /version, /metrics,
--- /admin/reload; and what it asks of Lua when it starts and stops. Loaded by `sipeat run` and
--- `sipeat dev`.
local health = require "sipeat.service_health"
local host = require "sipeat.core.host"
local json = require "sipeat.json"
local local_requests = require "sipeat.access_proxy"
local log = require("sipeat.log").new "service"
local opts = require "sipeat.opts"

local M = { unready = health.unready }

local OPEN = opts.spec("sipeat.service.open", {
  http = { "string", required = true },
  dev = { "boolean", default = false },
  access = { "string", default = ":memory:" },
  tls_cert = { "string" },
  tls_key = { "string" },
})

local PORTS_TRIED = 100 -- by `dev`, from the one that was asked for

-- --- routes ---

local function ping()
  return { status = 200, headers = { ["content-type"] = "text/plain" }, body = "pong\n" }
end

local function version()
  local status = host.status()
  return {
    status = 200,
    json = {
      name = "sipeat", version = status.program, script = status.script,
      script_version = status.version, generation = status.generation,
      uptime_ms = status.uptime_ms, reload_error = status.reload_error,
    },
  }
end

-- A page of another site can make a browser on this machine send a POST, but not without an Origin.
local function from_a_page(req)
  return req.headers.origin ~= nil or req.headers["sec-fetch-site"] ~= nil
end

-- A handler that only programs on this machine reach.
local function guarded(handler)
  return function(req)
    if not local_requests.is_local(req) or from_a_page(req) then
      return { status = 403, json = { error = "this is for programs on this machine" } }
    end
    return handler(req)
  end
end

-- A change that is noted first, as those of people are. A program is not held up when it cannot be.
local function noted(what, handler)
  return function(req)
    local who = { name = "a program on this machine", via = "program" }
    local ok, message = require("sipeat.access").audit(who, what)
    if not ok then
      log:warn(("%s is not noted: %s"):format(what, message))
    end
    return handler(req)
  end
end

local function reload()
  local now, message, code = host.reload()
  if now then
    return { status = 200, json = { reloaded = true, script_version = now } }
  end
  return { status = 409, json = { reloaded = false, error = message, code = code } }
end

-- The groups of this process, since an embedded broker cannot list the ones it has.
local function groups()
  local members, list = {}, json.array {}
  for _, one in ipairs(health.flows()) do
    members[one.group] = (members[one.group] or 0) + 1
  end
  for i, name in ipairs(opts.names(members)) do
    list[i] = { name = name, state = "Stable", members = members[name] }
  end
  return { status = 200, json = list }
end

local function create_topic(req)
  local wanted, message = req:json()
  local name = type(wanted) == "table" and wanted.name
  local partitions = type(wanted) == "table" and math.tointeger(wanted.partitions)
  if type(name) ~= "string" or not partitions then
    return { status = 400, json = { error = message or "name and partitions are needed" } }
  end
  local made, why, code = host.create_topic(name, partitions)
  if not made then
    return { status = 409, json = { error = why, code = code } }
  end
  return { status = 201, json = { name = name, partitions = partitions } }
end

-- --- start and stop ---

local function routes()
  local http = require "sipeat.http"
  local builtin = { builtin = true }
  http.route("GET /ping", ping, builtin)
  http.route("GET /ready", health.ready, builtin)
  http.route("GET /health", health.health, builtin)
  http.route("GET /version", version, builtin)
  http.route("GET /metrics", require("sipeat.metrics_page").answer, builtin)
  http.route("POST /admin/reload", guarded(noted("script.reload", reload)), builtin)
  http.route("GET /admin/tap", guarded(require("sipeat.service_tap").answer), builtin)
  require("sipeat.chain_routes").add(http, guarded)
  require("sipeat.console_pages").add(http)
  http.route("POST /webhooks/discord", function(req)
    return require("sipeat.webhook").discord({})(req)
  end, builtin)
  if host.status().may_embed then
    http.route("GET /admin/groups", guarded(groups), builtin)
    http.route("POST /admin/topics", guarded(noted("topic.create", create_topic)), builtin)
  end
end

-- Listens on `address`; in dev on the next free port when that one is taken.
local function listen(address, next_free, options)
  local http = require "sipeat.http"
  local name, port = require("sipeat.http_server").parse_address(address)
  if not port then
    return nil, ("--http takes HOST:PORT or off, got %s"):format(opts.show(address)), "EINVAL"
  end
  local last = next_free and port ~= 0 and math.min(port + PORTS_TRIED, 65535) or port
  local found, message, code
  for try = port, last do
    local where = (name:find ":" and "[%s]:%d" or "%s:%d"):format(name, try)
    found, message, code = http.listen(where, options)
    if found and try ~= port then
      log:warn(("port %d is taken: using %s"):format(port, found.address))
    end
    if found or code ~= "EADDRINUSE" then
      return found, message, code
    end
  end
  local hint = code == "EADDRINUSE" and " (another one: --http HOST:PORT, or --http off)" or ""
  return nil, message .. hint, code
end

--- 1 when the script has a page at / of its own, else 0.
function M.has_site()
  for _, route in ipairs(require("sipeat.http").routes()) do
    if route.method == "GET" and route.path == "/" and not route.builtin then
      return 1
    end
  end
  return 0
end

local server -- the one that open started

-- Signing in; on a machine of its developer, `sipeat dev` also shows a link that does so once.
local function open_access(o)
  local name = o.dev and require("sipeat.http_server").parse_address(o.http)
  local dev = name and local_requests.is_loopback(name) and function(path)
    host.set_console(path)
    if server then
      log:info(("the next link to the console: %s%s"):format(server.url, path))
    end
  end
  local ok, message, code = require("sipeat.access").serve { file = o.access, dev = dev or nil }
  if ok then
    require("sipeat.console").serve { mode = o.dev and "dev" or "run", host = host }
  end
  return ok, message, code
end

--- Opens the HTTP server with the program's own routes. nil, message, code when it cannot.
function M.open(options)
  local o = OPEN(options)
  require("sipeat.topics").made_by(host.create_topic)
  if o.http == "off" then
    return true
  end
  routes()
  local ok, message, code = open_access(o)
  if not ok then
    return nil, message, code
  end
  if o.dev then
    require("sipeat.capture").enable()
  end
  server, message, code = listen(o.http, o.dev, require "sipeat.http_environment"(o))
  if not server then
    return nil, message, code
  end
  -- where others on this machine find it when it listens everywhere
  local address = server.address:gsub("^0%.0%.0%.0:", "127.0.0.1:"):gsub("^%[::%]:", "[::1]:")
  host.set_http(address)
  log:info(("listening on %s://%s"):format(server.url:match "^%a+", address))
  return true
end

--- What scripts left in queues is sent, within `left_ms`, and requests under way are answered.
function M.flush(left_ms)
  local ok, message, code = require("sipeat.queues").flush(left_ms .. "ms")
  if server then
    server:stop "1s"
  end
  return ok, message, code
end

return M
