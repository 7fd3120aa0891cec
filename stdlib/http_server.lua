--- The server's side of sipeat.http: requests as tables, answers from what handlers return.
local core = require "sipeat.core.http"
local httpd = require "sipeat.core.httpd"
local core_metrics = require "sipeat.core.metrics"
local json = require "sipeat.json"
local limits = require "sipeat.http_limits"
local log = require("sipeat.log").new("http")
local metrics = require "sipeat.metrics"
local opts = require "sipeat.opts"
local routes = require "sipeat.http_routes"
local sys = require "sipeat.core.sys"
local task = require "sipeat.core.task"
local tracing = require "sipeat.tracing"

local M = {}

local clock, since = core_metrics.seconds, core_metrics.since

local duration = metrics.histogram("http_server_request_duration_seconds",
  "From reading a request to sending its answer, or the head of a stream.",
  { "http_request_method", "http_route", "http_response_status_code" },
  { limit = 2000, buckets = { 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5 } })

local TITLES = {
  [400] = "Bad Request",
  [401] = "Unauthorized",
  [403] = "Forbidden",
  [404] = "Not Found",
  [405] = "Method Not Allowed",
  [409] = "Conflict",
  [413] = "Content Too Large",
  [415] = "Unsupported Media Type",
  [422] = "Unprocessable Content",
  [429] = "Too Many Requests",
  [500] = "Internal Server Error",
  [502] = "Bad Gateway",
  [503] = "Service Unavailable",
  [504] = "Gateway Timeout",
}

--- An answer as of RFC 9457 (problem+json).
function M.problem(status, detail, fields)
  local title = TITLES[status] or "Error"
  local body = { type = "about:blank", title = title, status = status, detail = detail }
  for key, value in pairs(fields or {}) do
    body[key] = value
  end
  local headers = { ["content-type"] = "application/problem+json" }
  return { status = status, headers = headers, json = body }
end

local MAX_FIELDS = 1000 -- of a query or form

--- The fields of a query or form: name -> last value; or nil, message, "BAD_DATA".
function M.parse_form(text)
  local out, count = {}, 0
  for pair in text:gmatch("[^&]+") do
    count = count + 1
    if count > MAX_FIELDS then
      return nil, ("form: more than %d fields"):format(MAX_FIELDS), "BAD_DATA"
    end
    local name, value = pair:match("^([^=]*)=?(.*)$")
    name, value = core.decode(name, true), core.decode(value, true)
    if not name or not value or not utf8.len(name) or not utf8.len(value) then
      return nil, "form: not well-formed (percent-encoding or UTF-8)", "BAD_DATA"
    end
    out[name] = value
  end
  return out
end

-- --- requests ---

local methods = {}

-- As browsers write names: only quotes and line ends are encoded (WHATWG HTML, form submission).
local function multipart_name(text)
  local name = text:gsub("\\\"", "\""):gsub("%%22", "\"")
  return (name:gsub("%%0[Dd]%%0[Aa]", "\n"))
end

function methods:json()
  return json.decode(self.body)
end

function methods:form()
  return M.parse_form(self.body)
end

local MULTIPART = opts.spec("sipeat.http.multipart", {
  max_parts = { "integer", default = 100, min = 1, max = 10000 },
  max_part_bytes = { "size", default = "8mb" },
})

--- The parts of multipart/form-data: { fields = name -> text, files = name -> { filename, type,
--- body }, parts = list }; or nil, message, "BAD_DATA" | "TOO_BIG".
function methods:multipart(options)
  local o = MULTIPART(options)
  local parts, message, code = self.exchange:multipart(o.max_parts)
  if not parts then
    return nil, message, code
  end
  local out = { fields = {}, files = {}, parts = parts }
  for _, part in ipairs(parts) do
    part.name = multipart_name(part.name)
    part.filename = part.filename and multipart_name(part.filename)
    if #part.body > o.max_part_bytes then
      local why = "multipart: the part %s is larger than %d bytes"
      return nil, why:format(opts.show(part.name), o.max_part_bytes), "TOO_BIG"
    elseif part.filename then
      out.files[part.name] = part
    elseif not utf8.len(part.body) then
      return nil, ("multipart: the field %s is not UTF-8"):format(opts.show(part.name)), "BAD_DATA"
    else
      out.fields[part.name] = part.body
    end
  end
  return out
end

-- Fields that cost something are made when they are first touched.
local lazy = {}

function lazy.headers(req)
  return req.exchange:headers()
end

function lazy.body(req)
  return req.exchange:body()
end

function lazy.query()
  return {}
end

function lazy.remote(req)
  return req.exchange:remote()
end

function lazy.client(req)
  return req.exchange:client()
end

function lazy.id(req)
  return req.exchange:id()
end

function lazy.secure(req)
  return req.exchange:secure()
end

function lazy.proxied(req)
  return req.exchange:proxied()
end

function lazy.target(req)
  return req.exchange:target()
end

function lazy.params()
  return {}
end

local Request = { __index = httpd.request_index(methods, lazy) }

-- --- answers ---

local ANSWER = { status = 1, headers = 1, body = 1, text = 1, html = 1, json = 1, stream = 1 }
local BODY_TYPES = {
  body = "application/octet-stream",
  text = "text/plain; charset=utf-8",
  html = "text/html; charset=utf-8",
  json = "application/json",
  stream = "application/octet-stream",
}

local function check_answer(answer)
  local kind
  for key in pairs(answer) do
    if not ANSWER[key] then
      local near = opts.nearest(tostring(key), opts.names(ANSWER))
      local hint = near and "; did you mean " .. near .. "?" or ""
      error(("a handler's answer has no %s%s"):format(tostring(key), hint), 0)
    elseif BODY_TYPES[key] then
      if kind then
        error(("a handler's answer has both %s and %s"):format(kind, key), 0)
      end
      kind = key
    end
  end
  return kind
end

-- Wrapped once instead of at each call of xpcall.
local traced = task.guard(function(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end)

local function stream(exchange, answer, route)
  local ok, message = exchange:stream(answer.status or 200, answer.headers, BODY_TYPES.stream)
  if not ok then
    log:warn(("%s %s: %s"):format(route.method, route.path, message))
    return
  end
  local fine, err = xpcall(answer.stream, traced, function(chunk)
    return exchange:write(chunk)
  end)
  if fine then
    exchange:finish()
  elseif not exchange:gone() then
    log:error(("%s %s: the stream failed: %s"):format(route.method, route.path, tostring(err)))
    exchange:abort()
  end
end

-- A route keeps its series, by status: its own method, and HEAD beside it, are few.
local function measure(route, method, status, began)
  local kept = route.measured
  if not kept then
    kept = {}
    route.measured = kept
  end
  local key = method == route.method and status or method .. status
  local series = kept[key]
  if not series then
    series = duration:with(route.path and method or "", route.path or "", status)
    kept[key] = series
  end
  since(series, began)
end

local function send(exchange, answer, method, route, began)
  local kind = check_answer(answer)
  local body = kind and kind ~= "stream" and answer[kind] or ""
  if kind == "json" then
    local message
    body, message = json.encode(answer.json)
    if not body then
      error(message, 0)
    end
  elseif type(body) ~= "string" then
    error(("a handler's %s is a %s, not a string"):format(kind, type(body)), 0)
  end
  local status = answer.status or kind and 200 or 204
  if kind == "stream" and method ~= "HEAD" then
    measure(route, method, status, began)
    return stream(exchange, answer, route)
  end
  local ok, message, code =
    exchange:respond(status, answer.headers, body, kind and BODY_TYPES[kind])
  if not ok and code ~= "ECONNRESET" then
    error(message, 0)
  end
  measure(route, method, status, began)
end

-- What a handler returned, as an answer.
local function answer_of(result, message)
  if type(result) == "table" then
    return result
  elseif type(result) == "string" then
    return { text = result }
  elseif result == nil and message == nil then
    return { status = 204 }
  end
  error(result == nil and tostring(message) or "a handler returns a table, a string or nothing", 0)
end

-- What a route demands of a request before its handler sees it: an answer when it has not that.
local function refused(exchange, req, route)
  if route.max_body_bytes and #req.body > route.max_body_bytes then
    return M.problem(413)
  end
  local ok, wait_ms = true, nil
  if route.limiter then
    ok, wait_ms = exchange:take(route.limiter)
  end
  if not ok then
    local answer = M.problem(429, "too many requests; ask again later")
    answer.headers["retry-after"] = (wait_ms + 999) // 1000
    return answer
  end
end

local function handle(exchange, req, route, began)
  local answer = route.demands and refused(exchange, req, route)
  answer = answer or answer_of(route.handler(req))
  send(exchange, answer, req.method, route, began)
  return answer.status or next(answer) and 200 or 204
end

local function refuse(exchange, method, status, allowed, began)
  local answer = M.problem(status)
  if status == 405 and method == "OPTIONS" then
    answer = { status = 204, headers = {} }
  end
  answer.headers.allow = allowed
  answer.headers["retry-after"] = status == 503 and 1 or nil
  send(exchange, answer, method, {}, began)
end

-- What a handler raised: the log has it, the client gets a 500.
local function failed(exchange, req, route, began, err)
  if exchange:gone() then
    return
  end
  log:error(("%s %s: %s"):format(req.method, route.path, tostring(err)))
  require("sipeat.sentry").request_failed(req.method, route.path, err)
  local answer = M.problem(500, nil, { request_id = req.id })
  pcall(send, exchange, answer, req.method, route, began) -- fails when it was answered before
end

local function answered(exchange, req, route, began, result, message)
  send(exchange, answer_of(result, message), req.method, route, began)
end

-- What is left of a request when its handler has ended: all that serve does not do itself.
local function ended(exchange, req, route, began, ok, result, message)
  local err = result
  if ok then
    ok, err = xpcall(answered, traced, exchange, req, route, began, result, message)
  end
  if not ok then
    failed(exchange, req, route, began, err)
  end
end

local spans -- sipeat.trace_spans, once a request is looked at

-- Works in the trace that the request names, or in a new one. The span, if it is recorded.
local function trace(exchange, req, route)
  spans = spans or require "sipeat.trace_spans"
  return not route.builtin and spans.serve(exchange, req.method, route)
end

--- One request: finds its route and answers.
function M.dispatch(exchange)
  local began = clock()
  local method, path, query_text = exchange:head()
  local route, params, allowed = routes.find(method, path)
  if not route then
    return refuse(exchange, method, params, allowed, began)
  end
  local req = setmetatable({ -- few fields: most requests never ask for the others
    exchange = exchange, method = method, params = params,
    path = path:find("%", 1, true) and core.decode(path) or path,
  }, Request)
  if query_text then
    local query = M.parse_form(query_text)
    if not query then
      return refuse(exchange, method, 400, nil, began)
    end
    req.query = query
  end
  local span = tracing.on and trace(exchange, req, route)
  local ok, err = xpcall(handle, traced, exchange, req, route, began)
  if not ok then
    failed(exchange, req, route, began, err)
  end
  if span then
    spans.served(span, ok and err or 500, not ok and err or nil)
  end
end

-- The usual request goes through C (drivers/http/serve_lua.c).
local serve = httpd.serve {
  served = routes.served, class = Request, guard = traced, encode = json.encode, since = since,
  tracing = tracing, dispatch = M.dispatch, ended = ended,
}

-- --- listening ---

local Server = {}
Server.__index = Server

--- Takes no more requests, waits for those under way, and ends.
---@param grace string? duration, default "10s"
function Server:stop(grace)
  local ms, message = opts.duration_ms(grace or "10s")
  if not ms then
    error("http server: stop: " .. message, 2)
  end
  return self.core:stop(ms)
end

function Server:connections()
  return self.core:connections()
end

M.LISTEN = opts.spec("sipeat.http.listen", {
  max_head_bytes = { "size", default = "16kb" },
  max_body_bytes = { "size", default = "8mb" },
  header_timeout = { "duration", default = "10s" },
  body_timeout = { "duration", default = "60s" },
  idle_timeout = { "duration", default = "60s" },
  max_connections = { "integer", default = 1024, min = 1, max = 1000000 },
  max_per_client = { "integer", default = 512, min = 1, max = 1000000 },
  rate = { "string" },
  proxies = { "string[]" },
  tls_cert = { "string" },
  tls_key = { "string" },
})

--- "127.0.0.1:3000", ":3000", "3000", "[::1]:3000" -> host, port; or nil
function M.parse_address(address)
  local host, port = address:match("^%[([%x:.]+)%]:(%d+)$")
  if not host then
    host, port = address:match("^([^:]*):(%d+)$")
  end
  if not host then
    host, port = "", address:match("^%d+$")
  end
  port = math.tointeger(tonumber(port))
  if not port or port > 65535 then
    return nil
  end
  return host ~= "" and host or "127.0.0.1", port
end

-- The text of a PEM file; nil, message, code.
local function read_pem(path, what)
  local text, message, code = sys.read_file(path)
  if not text then
    return nil, ("http server: %s: %s"):format(what, message), code
  end
  return text
end

local function read_tls(o)
  if not o.tls_cert and not o.tls_key then
    return true
  elseif not o.tls_cert or not o.tls_key then
    return nil, "http server: of tls_cert and tls_key one is missing", "EINVAL"
  end
  local cert, message, code = read_pem(o.tls_cert, "the certificate")
  if not cert then
    return nil, message, code
  end
  local key
  key, message, code = read_pem(o.tls_key, "the key")
  if not key then
    return nil, message, code
  end
  return true, cert, key
end

function M.listen(host, port, o)
  local per_s, burst, why
  if o.rate then
    per_s, burst, why = limits.parse(o.rate)
    if not per_s then
      return nil, "http server: " .. burst, why
    end
  end
  local ok, cert, key = read_tls(o)
  if not ok then
    return nil, cert, key
  end
  local server, message, code = httpd.listen {
    host = host,
    port = port,
    handler = serve,
    max_head_bytes = o.max_head_bytes,
    max_body_bytes = o.max_body_bytes,
    max_connections = o.max_connections,
    max_per_client = o.max_per_client,
    header_timeout_ms = o.header_timeout,
    body_timeout_ms = o.body_timeout,
    idle_timeout_ms = o.idle_timeout,
    rate_per_s = per_s,
    rate_burst = burst,
    proxies = o.proxies,
    tls_cert = cert,
    tls_key = key,
  }
  if not server then
    return nil, message, code
  end
  local address = server:address()
  return setmetatable({
    core = server,
    host = host,
    port = server:port(),
    address = address,
    url = (cert and "https://" or "http://") .. address,
  }, Server)
end

return M
