--- What the program itself answers over HTTP: /ping, /ready, /version, /metrics, /admin/reload; and
--- what it asks of Lua when it starts and stops. Loaded by `sipeat run` and `sipeat dev`.
local deadletter = require "sipeat.deadletter_state"
local flow = require "sipeat.core.flow"
local host = require "sipeat.core.host"
local json = require "sipeat.json"
local kafka = require "sipeat.core.kafka"
local local_requests = require "sipeat.access_proxy"
local log = require("sipeat.log").new "service"
local opts = require "sipeat.opts"

local M = {}

local OPEN = opts.spec("sipeat.service.open", {
  http = { "string", required = true },
  dev = { "boolean", default = false },
  access = { "string", default = ":memory:" },
  tls_cert = { "string", default = "" },
  tls_key = { "string", default = "" },
})

local PORTS_TRIED = 100 -- by `dev`, from the one that was asked for
local OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

-- --- routes ---

local function ping()
  return { status = 200, headers = { ["content-type"] = "text/plain" }, body = "pong\n" }
end

-- What each flow of each worker says of itself.
local function all_flows()
  local flows = flow.status()
  for _, one in ipairs((host.workers())) do
    flows[#flows + 1] = one
  end
  return flows
end

--- Why the program does not take events now; an empty list when it does.
function M.unready()
  local status, reasons = host.status(), {}
  if status.phase == "starting" then
    reasons[#reasons + 1] = "the script is loading"
  elseif status.phase ~= "running" then
    reasons[#reasons + 1] = "draining: events in flight are finished, new ones are not taken"
  end
  local flows = {} -- those that need a broker now: with an outbox, outputs are safe without one
  for _, one in ipairs(all_flows()) do
    if status.connected or not one.outbox then
      flows[#flows + 1] = one
    end
  end
  local _, _, _, others_connected = host.workers()
  if #flows > 0 and not (status.connected and others_connected) then
    local why = kafka.trouble()
    reasons[#reasons + 1] = "no broker answers" .. (why and ": " .. why or "")
  end
  for _, one in ipairs(flows) do
    if one.error then
      reasons[#reasons + 1] = ("flow %s: %s"):format(one.group, one.error)
    elseif not one.assigned then
      reasons[#reasons + 1] = ("flow %s: joining its group"):format(one.group)
    end
  end
  return reasons
end

-- What works and should be looked at all the same.
local function warnings()
  local letters, list = deadletter.status(), {}
  if letters.late > 0 then
    list[1] = ("dead letters cannot be written: %d wait, the first one for %d s%s"):format(
      letters.late, letters.oldest_ms // 1000, letters.message and ": " .. letters.message or ""
    )
  end
  return #list > 0 and list or nil
end

local function ready()
  local reasons = M.unready()
  if #reasons == 0 then
    return { status = 200, json = { ready = true, warnings = warnings() } }
  end
  return { status = 503, json = { ready = false, reasons = reasons, warnings = warnings() } }
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
  for _, one in ipairs(all_flows()) do
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

-- --- metrics ---

-- OpenMetrics wants these three escaped in the value of a label.
local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function labels_of(labels)
  local names, out = opts.names(labels), {}
  for i, name in ipairs(names) do
    out[i] = ('%s="%s"'):format(name, (tostring(labels[name]):gsub('[\\"\n]', ESCAPES)))
  end
  return #out > 0 and "{" .. table.concat(out, ",") .. "}" or ""
end

local Page = {}
Page.__index = Page

--- One family: `samples` is a number, or a list of {labels, number}.
function Page:family(name, kind, help, samples)
  if samples == nil then
    return
  end
  self[#self + 1] = ("# TYPE %s %s"):format(name, kind)
  self[#self + 1] = ("# HELP %s %s"):format(name, help)
  local suffix = kind == "counter" and "_total" or ""
  if type(samples) == "number" then
    samples = { { {}, samples } }
  end
  for _, sample in ipairs(samples) do
    self[#self + 1] = ("%s%s%s %s"):format(name, suffix, labels_of(sample[1]), sample[2])
  end
end

local function host_metrics(page)
  local status = host.status()
  local _, bytes, tasks = host.workers()
  page:family("sipeat_workers", "gauge", "Threads that handle events.", status.workers)
  page:family("sipeat_ready", "gauge", "1 while events are taken.", #M.unready() == 0 and 1 or 0)
  page:family("sipeat_uptime_seconds", "gauge", "Since the start.", status.uptime_ms / 1000)
  page:family("sipeat_lua_memory_bytes", "gauge", "Held by scripts.",
    status.memory_bytes + bytes)
  page:family("sipeat_tasks", "gauge", "Tasks that have not ended.", status.tasks + tasks)
  page:family("sipeat_reloads", "counter", "Versions of the script taken over.", status.reloads)
  page:family("sipeat_reloads_refused", "counter", "Versions refused.", status.refused)
end

local FLOW_COUNTERS = {
  { "taken", "Events taken from the broker." },
  { "finished", "Events that came to their end, dead letters included." },
  { "dead", "Events that went to the dead letters." },
  { "unfinished", "Events given back without an outcome." },
  { "redelivered", "Events dispatched again after a crash or a failed output." },
  { "skipped", "Events that came again after a restart and were finished already." },
  { "committed", "Transactions committed." },
  { "aborted", "Transactions aborted." },
}
local FLOW_GAUGES = {
  { "partitions", "Partitions held." },
  { "running", "Events being handled." },
  { "waiting", "Events taken whose turn has not come." },
  { "later", "Of these: in retry topics, and not due." },
  { "bytes", "Bytes of keys and values that max_bytes is for." },
}

-- Numbers of a group: two flows may share one, with topics of their own.
local function by_group(flows, name)
  local sums, samples = {}, {}
  for _, one in ipairs(flows) do
    sums[one.group] = (sums[one.group] or 0) + one[name]
  end
  for _, group in ipairs(opts.names(sums)) do
    samples[#samples + 1] = { { group = group }, sums[group] }
  end
  return #samples > 0 and samples or nil
end

local function flow_metrics(page)
  local flows = all_flows()
  for _, one in ipairs(FLOW_COUNTERS) do
    page:family("sipeat_flow_" .. one[1], "counter", one[2], by_group(flows, one[1]))
  end
  for _, one in ipairs(FLOW_GAUGES) do
    page:family("sipeat_flow_" .. one[1], "gauge", one[2], by_group(flows, one[1]))
  end
end

local OUTBOX_GAUGES = {
  { "queued", "queued_records", "Records on the disk that no broker has acknowledged." },
  { "queued_bytes", "queued_bytes", "Their bytes." },
  { "refused", "refused_records", "Records on the disk that the broker will never take." },
}
local OUTBOX_COUNTERS = {
  { "put", "put", "Records taken in." },
  { "sent", "sent", "Records acknowledged by a broker." },
  { "turned_away", "full", "Records that found no room." },
  { "refusals", "refused", "Records refused by the broker for good." },
  { "dropped", "dropped", "Records lost because it was full (drop_oldest)." },
  { "repeated", "repeated", "Records sent again after a failure." },
  { "commits", "commits", "Transactions on the disk, each of any number of records." },
}

local function outbox_metrics(page)
  local status = require("sipeat.core.outbox").status()
  if not status or not status.open then
    return
  end
  for _, one in ipairs(OUTBOX_GAUGES) do
    page:family("sipeat_outbox_" .. one[2], "gauge", one[3], status[one[1]])
  end
  page:family("sipeat_outbox_oldest_seconds", "gauge", "How long the oldest record has waited.",
    status.oldest_age_ms / 1000)
  page:family("sipeat_outbox_writable", "gauge", "0 while the file cannot be written.",
    status.trouble and 0 or 1)
  for _, one in ipairs(OUTBOX_COUNTERS) do
    page:family("sipeat_outbox_" .. one[2], "counter", one[3], status[one[1]])
  end
end

local function retry_metrics(page)
  local samples, moved = {}, require("sipeat.retry_topic").moved()
  for i, group in ipairs(opts.names(moved)) do
    samples[i] = { { group = group }, moved[group] }
  end
  local text = "Events that went to a retry topic."
  page:family("sipeat_flow_moved", "counter", text, #samples > 0 and samples or nil)
end

local function discord_metrics(page)
  local stats = require("sipeat.discord").stats()
  page:family("sipeat_discord_queued", "gauge", "Notices that wait.", stats.queued)
  local samples = {}
  for _, name in ipairs { "sent", "left_out", "dropped", "filtered" } do
    samples[#samples + 1] = { { outcome = name }, stats[name] }
  end
  page:family("sipeat_discord_notices", "counter", "Notices by what became of them.", samples)
end

local function batch_metrics(page)
  local queued, bytes, retries, items = {}, {}, {}, {}
  for i, one in ipairs(require("sipeat.batch").status()) do
    queued[i] = { { name = one.name }, one.queued }
    bytes[i] = { { name = one.name }, one.queued_bytes }
    retries[i] = { { name = one.name }, one.retries }
    for _, outcome in ipairs { "sent", "full", "too_big", "rejected", "failed" } do
      items[#items + 1] = { { name = one.name, outcome = outcome }, one[outcome] }
    end
  end
  if #queued == 0 then
    return
  end
  page:family("sipeat_batch_queued_items", "gauge", "Items that wait.", queued)
  page:family("sipeat_batch_queued_bytes", "gauge", "Their bytes.", bytes)
  page:family("sipeat_batch_retries", "counter", "Tries of a batch after the first.", retries)
  page:family("sipeat_batch_items", "counter", "Items by what became of them.", items)
end

local function letter_metrics(page)
  local letters = deadletter.status()
  local text = "Dead letters that wait for being written; their events are not finished."
  page:family("sipeat_dead_letters_waiting", "gauge", text, letters.waiting)
  text = "How long the first of them has waited."
  page:family("sipeat_dead_letters_oldest_seconds", "gauge", text, letters.oldest_ms / 1000)
  text = "Tries of a dead letter that failed."
  page:family("sipeat_dead_letter_failures", "counter", text, letters.failures)
  text = "Dead letters that went to a local file instead."
  page:family("sipeat_dead_letters_parked", "counter", text, letters.parked)
end

local function metrics()
  local page = setmetatable({}, Page)
  host_metrics(page)
  flow_metrics(page)
  retry_metrics(page)
  outbox_metrics(page)
  discord_metrics(page)
  letter_metrics(page)
  batch_metrics(page)
  require "sipeat.guard_metrics"(page)
  page[#page + 1] = require("sipeat.core.metrics").text "openmetrics" .. "# EOF\n"
  return {
    status = 200, headers = { ["content-type"] = OPENMETRICS }, body = table.concat(page, "\n"),
  }
end

-- --- start and stop ---

local function routes()
  local http = require "sipeat.http"
  local builtin = { builtin = true }
  http.route("GET /ping", ping, builtin)
  http.route("GET /ready", ready, builtin)
  http.route("GET /version", version, builtin)
  http.route("GET /metrics", metrics, builtin)
  http.route("POST /admin/reload", guarded(noted("script.reload", reload)), builtin)
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
