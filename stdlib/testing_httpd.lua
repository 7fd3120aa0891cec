--- The HTTP server of a test: no port is opened; t.request calls what the script's routes serve.
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local permissions = require "sipeat.core.permissions"
local sys = require "sipeat.core.sys"

local M = {}

local REQUEST = opts.spec("sipeat.testing.request", {
  headers = { "table", default = {} },
  body = { "string" },
  json = { "any" },
  form = { "table" },
})

local Exchange = {}
Exchange.__index = Exchange

function Exchange:head()
  local path, query = self.asked:match("^([^?#]*)%??([^#]*)")
  return self.method, path, self.asked:find("?", 1, true) and query or nil
end


function Exchange:target()
  return self.asked
end

function Exchange.remote()
  return "127.0.0.1"
end

function Exchange.client()
  return "127.0.0.1"
end

function Exchange.proxied()
  return false
end

function Exchange.secure()
  return false
end

function Exchange.takes_gzip()
  return false
end

function Exchange.take()
  return true
end

function Exchange:id()
  return self.number
end

function Exchange:headers()
  return self.given
end

function Exchange:header(name)
  return self.given[name]
end

function Exchange:body()
  return self.text
end

function Exchange:respond(status, headers, body, kind)
  if self.answer then
    return nil, "it was answered before", "EINVAL"
  end
  local found = { ["x-request-id"] = self.number, ["x-content-type-options"] = "nosniff" }
  found["content-type"] = kind
  for name, value in pairs(headers or {}) do
    local list = type(value) == "table"
    found[name:lower()] = tostring(list and value[#value] or value)
  end
  self.answer = { status = status, headers = found, parts = { body } }
  return true
end

function Exchange:stream(status, headers, kind)
  return self:respond(status, headers, "", kind)
end

function Exchange:write(chunk)
  self.answer.parts[#self.answer.parts + 1] = chunk
  return true
end

function Exchange.finish()
  return true
end

function Exchange:abort()
  self.answer.aborted = true
end

function Exchange.gone()
  return false
end

local Answer = {}

-- json is read when it is asked for.
function Answer.__index(answer, name)
  if name == "json" then
    return (json.decode(answer.body))
  end
end

local function body_of(o)
  if o.json ~= nil then
    return assert(json.encode(o.json)), "application/json"
  elseif o.form then
    return require("sipeat.http").encode_form(o.form), "application/x-www-form-urlencoded"
  end
  return o.body or ""
end

--- One request to the routes of the script: { status, headers, body, json }. A stream is answered
--- once it has ended, and with `aborted` when it failed.
function M.request(method, target, options)
  local o = REQUEST(options)
  if type(method) ~= "string" or type(target) ~= "string" or target:sub(1, 1) ~= "/" then
    error('t.request: a method and a path are needed, as in t.request("GET", "/orders?id=1")', 2)
  end
  local text, kind = body_of(o)
  local headers = { ["content-type"] = kind, host = "127.0.0.1" }
  for name, value in pairs(o.headers) do
    headers[name:lower()] = value
  end
  local exchange = setmetatable({
    method = method, asked = target, given = headers, text = text,
    number = headers["x-request-id"] or sys.uuid(),
  }, Exchange)
  require("sipeat.http_server").dispatch(exchange)
  local answer = exchange.answer
  if not answer then
    return nil, "the route left no answer", "ECONNRESET"
  end
  return setmetatable({
    status = answer.status, headers = answer.headers, body = table.concat(answer.parts),
    aborted = answer.aborted,
  }, Answer)
end

local Server = {}
Server.__index = Server

function Server:address()
  return ("%s:%d"):format(self.host, self.number)
end

function Server:port()
  return self.number
end

function Server.connections()
  return 0
end

function Server.stop()
  return true
end

--- What sipeat.core.httpd is in a test.
function M.open()
  local next_port = 40000
  return {
    listen = function(options)
      permissions.permit("ports", ("%s:%d"):format(options.host, options.port))
      next_port = next_port + 1
      local port = options.port ~= 0 and options.port or next_port
      return setmetatable({ host = options.host, number = port }, Server)
    end,
    limiter = function() end, -- a test asks as often as it wants
    body_limits = function() end,
    serve = function(spec)
      return spec.dispatch
    end,
    request_index = function(methods, makers)
      return function(req, key)
        local make = makers[key]
        if make then
          rawset(req, key, make(req))
        end
        return methods[key] or rawget(req, key)
      end
    end,
    gzip = function(text)
      return text
    end,
  }
end

return M
