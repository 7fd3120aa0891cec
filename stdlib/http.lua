--- HTTP: requests to others, and routes that answer requests of others.
local core = require "sipeat.core.http"
local env = require "sipeat.env"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local routes = require "sipeat.http_routes"
local server = require "sipeat.http_server"
local static = require "sipeat.http_static"
local tracing = require "sipeat.tracing"

local M = {}

local KEPT_BYTES = 8 * 1024 * 1024 -- of a body that is not streamed, unless told otherwise

local REQUEST = opts.spec("sipeat.http.request", {
  method = { "string", default = "GET" },
  url = { "secret", required = true },
  query = { "table" },
  headers = { "table" },
  body = { "string" },
  json = { "any" },
  form = { "table" },
  timeout = { "duration", default = "30s" },
  connect_timeout = { "duration", default = "10s" },
  max_body_bytes = { "size" },
  redirects = { "integer", default = 0, min = 0, max = 20 },
  stream = { "handler" },
  ca_file = { "string" },
  ca_dir = { "string" },
})

-- --- texts ---

--- Percent-encodes a part of a URL.
---@param text string
function M.encode(text)
  return core.encode(text)
end

local function text_of(value, what)
  if env.is_secret(value) then
    return env.reveal(value)
  elseif type(value) ~= "string" and type(value) ~= "number" and type(value) ~= "boolean" then
    error(("http: %s is a %s, not a text"):format(what, type(value)), 0)
  end
  return tostring(value)
end

local function sorted(t)
  local names = {}
  for name in pairs(t) do
    if type(name) ~= "string" then
      error(("http: names are strings, got the key %s"):format(tostring(name)), 0)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- name=value&… of a table, sorted by name; a list gives its name several times.
---@param fields table
function M.encode_form(fields)
  local parts = {}
  for _, name in ipairs(sorted(fields)) do
    local value = fields[name]
    local list = type(value) == "table" and not env.is_secret(value) and value or { value }
    for _, one in ipairs(list) do
      parts[#parts + 1] = core.encode(name) .. "=" .. core.encode(text_of(one, name))
    end
  end
  return table.concat(parts, "&")
end

-- --- requests ---

local function header_list(headers)
  local list, typed = {}, false
  for _, name in ipairs(sorted(headers or {})) do
    local value = headers[name]
    local values = type(value) == "table" and not env.is_secret(value) and value or { value }
    typed = typed or name:lower() == "content-type"
    for _, one in ipairs(values) do
      list[#list + 1] = { name, text_of(one, "header " .. name) }
    end
  end
  return list, typed
end

-- The body and its type; nil, message, code when it cannot be written.
local function body_of(o)
  local given = (o.body and 1 or 0) + (o.json ~= nil and 1 or 0) + (o.form and 1 or 0)
  if given > 1 then
    error("http: one of body, json and form, not several", 0)
  elseif o.json ~= nil then
    local text, message, code = json.encode(o.json)
    return text, text and "application/json" or message, code
  elseif o.form then
    return M.encode_form(o.form), "application/x-www-form-urlencoded"
  end
  return o.body
end

local function with_query(url, query)
  if not query or next(query) == nil then
    return url
  end
  local base, fragment = url:match("^([^#]*)(.*)$")
  return base .. (base:find("?", 1, true) and "&" or "?") .. M.encode_form(query) .. fragment
end

-- Checked options as sipeat.core.http takes them; nil, message, code for data that cannot be sent.
local function prepare(o)
  local headers, typed = header_list(o.headers)
  local body, kind, code = body_of(o)
  if code then
    return nil, kind, code
  elseif kind and not typed then
    headers[#headers + 1] = { "content-type", kind }
  end
  return {
    method = o.method, url = with_query(env.reveal(o.url), o.query), headers = headers, body = body,
    timeout_ms = math.max(1, o.timeout), connect_timeout_ms = math.max(1, o.connect_timeout),
    max_body_bytes = o.max_body_bytes or not o.stream and KEPT_BYTES or nil,
    redirects = o.redirects, stream = o.stream ~= nil, ca_file = o.ca_file, ca_dir = o.ca_dir,
  }
end

local Response = {}
Response.__index = Response

--- The body as JSON: its value, or nil, message, "BAD_DATA".
function Response:json()
  return json.decode(self.body)
end

--- A status of 200 to 299.
function Response:ok()
  return self.status >= 200 and self.status < 300
end

local function response(status, headers, body)
  return setmetatable({ status = status, headers = headers, body = body }, Response)
end

local function pump(call, consume)
  local status, headers, code = call:head()
  if not status then
    return nil, headers, code
  end
  local answer = response(status, headers, "")
  while true do
    local chunk, message, why = call:read()
    if chunk == nil and message then
      return nil, message, why
    elseif chunk == nil then
      return answer
    elseif consume(chunk, answer) == false then
      answer.stopped = true
      return answer
    end
  end
end

local function plainly(request, consume)
  local call, message, code = core.start(request)
  if not call then
    return nil, message, code
  end
  local _ <close> = call
  if consume then
    return pump(call, consume)
  end
  local status, headers, body = call:all()
  if not status then
    return nil, headers, body
  end
  return response(status, headers, body)
end

-- The same in the trace of the task: the request names it, and has a span if it is recorded. What
-- the caller says of the trace itself stays.
local function traced(request, consume, url)
  local span = require("sipeat.trace_spans").request(request.method, url)
  request.headers = tracing.inject(request.headers)
  local answer, message, code = plainly(request, consume)
  if span then
    require("sipeat.trace_spans").requested(span, answer, message, code)
  end
  return answer, message, code
end

local function perform(request, o)
  if tracing.on and tracing.current() then
    return traced(request, o.stream, o.url)
  end
  return plainly(request, o.stream)
end

-- What prepare raises about the options is the mistake of the caller's caller.
local function prepared(o)
  local fine, request, message, code = pcall(prepare, o)
  if not fine then
    error(request, 3)
  elseif not request then
    return nil, "http: " .. message, code
  end
  return request
end

--- One request. Every answer of the server is a response, whatever its status.
---@param options sipeat.http.RequestOptions
---@return sipeat.http.Response? response
---@return string? message
---@return string? code
function M.request(options)
  local o = REQUEST(options)
  local request, message, code = prepared(o)
  if not request then
    return nil, message, code
  end
  return perform(request, o)
end

local function verb(method)
  return function(url, options)
    local merged = { method = method, url = url }
    for key, value in pairs(options or {}) do
      merged[key] = value
    end
    local o = REQUEST(merged)
    local request, message, code = prepared(o)
    if not request then
      return nil, message, code
    end
    return perform(request, o)
  end
end

M.get = verb "GET"
M.post = verb "POST"
M.put = verb "PUT"
M.patch = verb "PATCH"
M.delete = verb "DELETE"

-- --- serving ---

local ROUTE = opts.spec("sipeat.http.route", {
  builtin = { "boolean", default = false },
  summary = { "string" },
  description = { "string" },
  tags = { "string[]" },
  params = { "table" },
  query = { "table" },
  headers = { "table" },
  body = { "table" },
  answers = { "table" },
  role = { "string", enum = { "viewer", "operator", "admin" } },
  guard = { "handler" },
  max_body_bytes = { "size" },
  rate = { "string" },
})

--- Answers requests of a method and path: http.route("GET /api/orders/:id", function(req) … end).
--- The options may also come before the handler, where they read better.
---@param spec string
---@param handler fun(req: sipeat.http.Request): sipeat.http.Answer|string|nil
---@param options sipeat.http.RouteOptions?
function M.route(spec, handler, options)
  if type(handler) == "table" and type(options) == "function" then
    handler, options = options, handler
  end
  local o = ROUTE(options)
  if type(spec) ~= "string" then
    error("http.route: a method and a path, as in \"GET /api/orders/:id\"; got a " .. type(spec), 2)
  elseif type(handler) ~= "function" then
    error("http.route: the handler is a function, got a " .. type(handler), 2)
  end
  if o.role then
    handler = (o.guard or require("sipeat.access").guard)(o.role, handler)
  end
  local ok, message = routes.add(spec, handler, o)
  if not ok then
    error("http.route: " .. message, 2)
  end
end

--- For the program itself: the user's routes are collected aside until the script has loaded.
M.begin_routes = routes.begin
M.commit_routes = routes.commit
M.rollback_routes = routes.rollback
M.routes = routes.all

M.problem = server.problem
M.asset = static.asset

local HEAD_LEAST, HEAD_MOST = 2048, 1048576

--- Opens a server for the routes. A server, or nil, message, "EADDRINUSE" | …
---@param address string "127.0.0.1:3000"; port 0 takes any free one
---@param options sipeat.http.ListenOptions?
---@return sipeat.http.Server?
---@return string? message
---@return string? code
function M.listen(address, options)
  local o = server.LISTEN(options)
  local host, port
  if type(address) == "string" then
    host, port = server.parse_address(address)
  end
  if not host then
    local why = "http.listen: %s is no address; expected \"127.0.0.1:3000\""
    error(why:format(opts.show(address)), 2)
  elseif o.max_head_bytes < HEAD_LEAST or o.max_head_bytes > HEAD_MOST then
    error("http.listen: max_head_bytes is 2kb to 1mb", 2)
  end
  return server.listen(host, port, o)
end

local function event_text(event)
  if type(event) ~= "table" then
    event = { data = event }
  end
  local lines = {}
  for _, key in ipairs { "id", "event", "retry" } do
    local value = event[key]
    if value ~= nil then
      lines[#lines + 1] = ("%s: %s\n"):format(key, (tostring(value):gsub("[\r\n%z]", " ")))
    end
  end
  local data = tostring(event.data or ""):gsub("\r\n?", "\n")
  for line in (data .. "\n"):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = "data: " .. line .. "\n"
  end
  return table.concat(lines) .. "\n"
end

--- An answer of server-sent events. `run(send, write)` runs until the client is gone: it is stopped
--- then. send takes a text, or {data =, event =, id =, retry =}.
---@param run fun(send: fun(event: any), write: fun(text: string))
---@return sipeat.http.Answer
function M.sse(run)
  return {
    headers = {
      ["content-type"] = "text/event-stream",
      ["cache-control"] = "no-store",
      ["x-accel-buffering"] = "no", -- nginx in between does not hold them back
    },
    stream = function(write)
      write(":\n\n") -- the client sees at once that it is connected
      return run(function(event)
        return write(event_text(event))
      end, write)
    end,
  }
end

return M
