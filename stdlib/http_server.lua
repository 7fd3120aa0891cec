--- The server's side of sipeat.http: requests as tables, answers from what handlers return.
local core = require "sipeat.core.http"
local httpd = require "sipeat.core.httpd"
local json = require "sipeat.json"
local log = require("sipeat.log").new("http")
local opts = require "sipeat.opts"
local routes = require "sipeat.http_routes"
local sys = require "sipeat.core.sys"
local task = require "sipeat.core.task"

local M = {}

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

--- The fields of a query or form: name -> last value; or nil, message, "BAD_DATA".
function M.parse_form(text)
  local out = {}
  for pair in text:gmatch("[^&]+") do
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

function methods:json()
  return json.decode(self.body)
end

function methods:form()
  return M.parse_form(self.body)
end

-- Fields that cost something are made when they are first touched.
local lazy = {}

function lazy.headers(req)
  return req.exchange:headers()
end

function lazy.body(req)
  return req.exchange:body()
end

function lazy.query(req)
  return M.parse_form(req.query_text) or {}
end

local Request = {
  __index = function(req, key)
    local make = lazy[key]
    if not make then
      return methods[key]
    end
    local value = make(req)
    rawset(req, key, value)
    return value
  end,
}

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

local function header_list(headers, content_type, request_id)
  local list, typed = { { "x-request-id", request_id } }, false
  for name, value in pairs(headers or {}) do
    typed = typed or name:lower() == "content-type"
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      list[#list + 1] = { name, tostring(one) }
    end
  end
  if content_type and not typed then
    list[#list + 1] = { "content-type", content_type }
  end
  list[#list + 1] = { "x-content-type-options", "nosniff" }
  return list
end

local function traced(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

local function stream(exchange, answer, headers, route)
  local ok, message = exchange:stream(answer.status or 200, headers)
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

local function send(exchange, answer, method, route, request_id)
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
  local headers = header_list(answer.headers, kind and BODY_TYPES[kind], request_id)
  if kind == "stream" and method ~= "HEAD" then
    return stream(exchange, answer, headers, route)
  end
  local ok, message, code = exchange:respond(answer.status or (kind and 200 or 204), headers, body)
  if not ok and code ~= "ECONNRESET" then
    error(message, 0)
  end
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

local function handle(exchange, req, route, request_id)
  local answer = answer_of(route.handler(req))
  send(exchange, answer, req.method, route, request_id)
end

local function request_id_of(req)
  local given = req.headers["x-request-id"]
  if given and #given <= 60 and given:find("^[%w_.-]+$") then
    return given
  end
  return sys.uuid()
end

local function refuse(exchange, status, methods_allowed, method, request_id)
  local answer = M.problem(status)
  if status == 405 and method == "OPTIONS" then
    answer = { status = 204, headers = {} }
  end
  answer.headers.allow = methods_allowed
  send(exchange, answer, method, {}, request_id)
end

--- One request: finds its route and answers.
function M.dispatch(exchange)
  local method, target, remote = exchange:head()
  local path, query = target:match("^([^?#]*)%??([^#]*)")
  local req = setmetatable({
    exchange = exchange, method = method, remote = remote, query_text = query,
  }, Request)
  local request_id = request_id_of(req)
  task.set_event_id(request_id)
  path = path:gsub("^https?://[^/]*", "") -- the absolute form of RFC 9112 section 3.2.2
  local route, params, methods_allowed = routes.find(method, path)
  if not route then
    return refuse(exchange, params, methods_allowed, method, request_id)
  end
  req.path, req.params, req.id = core.decode(path) or path, params, request_id
  local ok, err = xpcall(handle, traced, exchange, req, route, request_id)
  if not ok and not exchange:gone() then
    log:error(("%s %s: %s"):format(method, route.path, tostring(err)))
    local answer = M.problem(500, nil, { request_id = request_id })
    pcall(send, exchange, answer, method, route, request_id) -- fails when it was answered before
  end
end

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
  max_body_bytes = { "size", default = "8mb" },
  header_timeout = { "duration", default = "10s" },
  body_timeout = { "duration", default = "60s" },
  idle_timeout = { "duration", default = "60s" },
  max_connections = { "integer", default = 1024, min = 1, max = 1000000 },
  max_per_client = { "integer", default = 512, min = 1, max = 1000000 },
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

function M.listen(host, port, o)
  local server, message, code = httpd.listen {
    host = host,
    port = port,
    handler = M.dispatch,
    max_body_bytes = o.max_body_bytes,
    max_connections = o.max_connections,
    max_per_client = o.max_per_client,
    header_timeout_ms = o.header_timeout,
    body_timeout_ms = o.body_timeout,
    idle_timeout_ms = o.idle_timeout,
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
    url = "http://" .. address,
  }, Server)
end

return M
