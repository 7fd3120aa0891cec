--- The document of an HTTP API (OpenAPI 3.1), made from what its routes say of themselves: their
--- paths, queries, bodies (typed events or tables of fields), answers and roles.
local event = require "sipeat.event"
local http = require "sipeat.http"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local schema = require "sipeat.openapi_schema"
local sys = require "sipeat.core.sys"

local M = {}

local DOCUMENT = opts.spec("sipeat.openapi.document", {
  title = { "string", required = true },
  version = { "string" },
  description = { "string" },
  server = { "string", default = "/" },
  routes = { "table" },
})

-- What an answer is when the route only says its status, or nothing.
local TEXTS = {
  [200] = "Done", [201] = "Made", [202] = "Taken: the work goes on afterwards", [204] = "Done",
  [303] = "Look there", [400] = "The request is not well-formed",
  [401] = "Sign in, or send a token", [403] = "Not for you", [404] = "There is no such thing",
  [409] = "It conflicts with what there is",
  [413] = "The body is too large", [415] = "The body has to be JSON",
  [422] = "Some fields are wrong", [429] = "Too many requests", [503] = "Not now: try again later",
}

local METHODS = { GET = "get", POST = "post", PUT = "put", PATCH = "patch", DELETE = "delete" }

-- --- parts of an operation ---

-- A body or an answer's content: a definition goes into the components under its name.
local function schema_of(what, where, components)
  if not event.is_definition(what) then
    return schema.of_fields(what, where)
  end
  local name = what.title or what.type
  components[name] = components[name] or schema.of_node(what.shape.node)
  return { ["$ref"] = "#/components/schemas/" .. name }
end

local PROBLEM = { ["$ref"] = "#/components/schemas/Problem" }

-- "POST /a/:id" as "post_a_id".
local function operation_id(spec)
  return (spec:lower():gsub("[^%w]+", "_"):gsub("_$", ""))
end

-- What a route says of one answer: a text, fields or a definition, or { text =, body =, type =,
-- headers = { name = text }, links = { name = { route, parameter = expression } } }.
local function answer_of(status, said, where, components)
  local text, body, kind, headers = TEXTS[status] or "An answer", nil, "application/json", nil
  if type(said) == "string" then
    text = said
  elseif event.is_definition(said) then
    body = said
  elseif type(said) == "table" then
    text, body, kind, headers = said.text or text, said.body, said.type or kind, said.headers
  end
  local out = { description = text }
  if status >= 400 then
    out.content = { ["application/problem+json"] = { schema = PROBLEM } }
  elseif body then
    out.content = { [kind] = { schema = schema_of(body, where, components) } }
  elseif type(said) == "table" and said.type then
    out.content = { [kind] = { schema = { type = "string" } } }
  end
  for name, meaning in pairs(headers or {}) do
    out.headers = out.headers or {}
    out.headers[name] = { description = meaning, schema = { type = "string" } }
  end
  for name, link in pairs(type(said) == "table" and said.links or {}) do
    out.links = out.links or {}
    local parameters = {}
    for parameter, expression in pairs(link) do
      if parameter ~= 1 then
        parameters[parameter] = expression
      end
    end
    out.links[name] = { operationId = operation_id(link[1]), parameters = parameters }
  end
  return out
end

-- The statuses that a route answers without its handler's doing.
local function implied(route)
  local list = { 400 }
  if route.body then
    table.move({ 413, 415, 422 }, 1, 3, #list + 1, list)
  end
  if route.role then
    table.move({ 401, 403 }, 1, 2, #list + 1, list)
  end
  return list
end

local function answers_of(route, where, components)
  local out = {}
  for status, said in pairs(route.answers or { [200] = "Done" }) do
    out[tostring(status)] = answer_of(status, said, where, components)
  end
  for _, status in ipairs(implied(route)) do
    out[tostring(status)] = out[tostring(status)] or answer_of(status, nil, where, components)
  end
  return out
end

local function parameter(name, place, type_, where)
  local one, optional, text = schema.of_type(type_, where)
  return {
    name = name, ["in"] = place, schema = one, description = text,
    required = place == "path" or not optional or nil,
  }
end

-- "/a/:id" as "/a/{id}", and the names in it.
local function path_of(route)
  local names = {}
  local path = route.path:gsub(":([%a_][%w_]*)", function(name)
    names[#names + 1] = name
    return "{" .. name .. "}"
  end)
  return path, names
end

local function parameters_of(route, names, where)
  local list = json.array {}
  for _, name in ipairs(names) do
    local type_ = (route.params or {})[name] or "string"
    list[#list + 1] = parameter(name, "path", type_, where)
  end
  for _, key in ipairs(opts.names(route.query or {})) do
    local name = key:gsub("%?$", "")
    local one = parameter(name, "query", route.query[key], where)
    if name ~= key then
      one.required = nil
    end
    list[#list + 1] = one
  end
  for _, name in ipairs(opts.names(route.headers or {})) do
    list[#list + 1] = parameter(name, "header", route.headers[name], where)
  end
  return list
end

local function operation(route, names, components)
  local where = route.method .. " " .. route.path
  local out = {
    summary = route.summary, description = route.description,
    tags = route.tags and json.array(table.move(route.tags, 1, #route.tags, 1, {})),
    operationId = operation_id(where),
    responses = answers_of(route, where, components),
  }
  local parameters = parameters_of(route, names, where)
  if #parameters > 0 then
    out.parameters = parameters
  end
  if route.body then
    out.requestBody = {
      required = true,
      content = { ["application/json"] = { schema = schema_of(route.body, where, components) } },
    }
  end
  if route.role then
    out.security = json.array { { token = json.empty_array }, { session = json.empty_array } }
    out["x-role"] = route.role
  end
  return out
end

-- --- the document ---

-- Routes that say what they do; the others are no part of the API.
local function is_described(route)
  return route.summary ~= nil and METHODS[route.method] ~= nil
end

--- The document as a table for sipeat.json. `routes` are those of http.routes() unless given.
function M.document(options)
  local o = DOCUMENT(options)
  local components, paths, has_roles = { Problem = schema.PROBLEM }, {}, false
  for _, route in ipairs(o.routes or http.routes()) do
    if is_described(route) then
      local path, names = path_of(route)
      paths[path] = paths[path] or {}
      paths[path][METHODS[route.method]] = operation(route, names, components)
      has_roles = has_roles or route.role ~= nil
    end
  end
  return {
    openapi = "3.1.0",
    info = { title = o.title, version = o.version or sys.version, description = o.description },
    servers = json.array { { url = o.server } },
    paths = paths,
    components = {
      schemas = components,
      securitySchemes = has_roles and {
        token = { type = "http", scheme = "bearer" },
        session = { type = "apiKey", ["in"] = "cookie", name = "sipeat_session" },
      } or nil,
    },
  }
end

--- Serves the document at `path`, made from the routes that there are when it is asked for.
function M.serve(options, path)
  http.route("GET " .. (path or "/openapi.json"), function()
    return { json = M.document(options) }
  end)
end

return M
