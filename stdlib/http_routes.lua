--- Which handler answers which method and path: a table of routes for each script generation.
--
-- A path is made of literal segments, ":name" for one segment, and "*" at its end for the rest. A
-- literal goes before a name, a name before the rest; the user's routes before the built-in ones.
local core = require "sipeat.core.http"
local limits = require "sipeat.http_limits"

local M = {}

local function new_table()
  return { exact = {}, patterns = {}, list = {} }
end

local builtin, user, staged = new_table(), new_table(), nil
local is_loaded = false -- a script has been

--- At 1 the user's routes without parameters: method -> path -> route.
M.served = { user.exact }

local SLASH = ("/"):byte()
local RANK = { literal = 1, name = 2, rest = 3 }

local function segments_of(path)
  local out = {}
  for segment in path:sub(2):gmatch("[^/]*") do
    out[#out + 1] = segment
  end
  return out
end

-- "POST /api/x/:id" -> route, or nil and what is wrong with it
local function compile(spec)
  local method, path = spec:match("^(%u+) +(/[^%s?#%%]*)$")
  if not method then
    return nil, "a route is a method and a path, as in \"GET /api/orders/:id\"; got " .. spec
  end
  local route, names = { method = method, path = path, segments = {} }, {}
  local parts = segments_of(path)
  for i, part in ipairs(parts) do
    local name = part:match("^:([%a_][%w_]*)$")
    if part == "*" and i == #parts then
      route.segments[i] = { kind = "rest" }
    elseif part:find("[:*]") and not name then
      local why = "%s: %q is neither a word, nor \":name\", nor \"*\" at the end"
      return nil, why:format(spec, part)
    elseif name and names[name] then
      return nil, ("%s: the name %q is there twice"):format(spec, name)
    else
      local kind = name and "name" or "literal"
      route.segments[i] = { kind = kind, name = name, text = part }
      names[name or ""] = name
    end
  end
  return route
end

-- Does `a` go before `b` where both match?
local function before(a, b)
  for i = 1, math.max(#a.segments, #b.segments) do
    local x, y = a.segments[i], b.segments[i]
    if not x or not y then
      return x == nil
    elseif x.kind ~= y.kind then
      return RANK[x.kind] < RANK[y.kind]
    end
  end
  return a.order < b.order
end

-- The shape of a route: two routes of one shape would hide each other.
local function shape(route)
  local parts = {}
  for i, segment in ipairs(route.segments) do
    parts[i] = segment.kind == "literal" and segment.text or segment.kind == "name" and ":" or "*"
  end
  return route.method .. " /" .. table.concat(parts, "/")
end

-- In the order in which they are looked at.
local function announce()
  local list = {}
  for _, routes in ipairs { user, builtin } do
    for _, of_method in pairs(routes.patterns) do
      table.move(of_method, 1, #of_method, #list + 1, list)
    end
  end
  limits.announce(list)
end

--- Adds a route to the built-in ones (options.builtin), or to the user's: to the staged ones while
--- a script loads. What the options say of it is kept with it. true, or nil and a message.
function M.add(spec, handler, options)
  local routes = options.builtin and builtin or staged or user
  local route, message = compile(spec)
  if not route then
    return nil, message
  end
  local key = shape(route)
  if routes.list[key] then
    local why = "%s: there is a route of this shape already (%s)"
    return nil, why:format(spec, routes.list[key].path)
  end
  route.handler = handler
  route.options = options
  local fine, why = limits.apply(route, options)
  if not fine then
    return nil, ("%s: %s"):format(spec, why)
  end
  local list = routes.patterns[route.method] or {}
  routes.patterns[route.method] = list
  route.order = #list
  list[#list + 1] = route
  table.sort(list, before)
  routes.list[key] = route
  if not route.path:find("[:*]") then
    routes.exact[route.method] = routes.exact[route.method] or {}
    routes.exact[route.method][route.path] = route
  end
  if routes ~= staged and route.max_body_bytes then
    announce()
  end
  return true
end

local function match(route, parts)
  local params = {}
  for i, segment in ipairs(route.segments) do
    local part = parts[i]
    if segment.kind == "rest" then
      params["*"] = table.concat(parts, "/", i)
      return part and params
    elseif not part or segment.kind == "literal" and part ~= segment.text then
      return nil
    elseif segment.kind == "name" then
      if part == "" then
        return nil
      end
      params[segment.name] = part
    end
  end
  return #parts == #route.segments and params or nil
end

local function search(routes, method, parts)
  for _, route in ipairs(routes.patterns[method] or {}) do
    local params = match(route, parts)
    if params then
      return route, params
    end
  end
end

local function lookup(method, path, parts)
  for _, routes in ipairs { user, builtin } do
    local exact = routes.exact[method] and routes.exact[method][path]
    if exact then
      return exact
    end
    local route, params = search(routes, method, parts)
    if route then
      return route, params
    end
  end
end

-- Can a segment be one of a path of ours? One that climbs up behind an encoded slash cannot.
local function is_plain(text)
  for part in text:gmatch "[^/\\]+" do
    if part == "." or part == ".." then
      return false
    end
  end
  return utf8.len(text) ~= nil and not text:find "%c"
end

-- Decoded segments of a path as sent; nil when it is not one that a path of ours can be.
local function decode(path)
  local parts = segments_of(path)
  for i, part in ipairs(parts) do
    local text = part
    if part:find("%", 1, true) then
      text = core.decode(part)
    end
    if not text or not is_plain(text) then
      return nil
    end
    parts[i] = text
  end
  return parts
end

local function allowed(path, parts)
  local methods = {}
  for _, routes in ipairs { user, builtin } do
    for method in pairs(routes.patterns) do
      if lookup(method, path, parts) then
        methods[method] = true
      end
    end
  end
  methods.HEAD = methods.HEAD or methods.GET
  local list = {}
  for method in pairs(methods) do
    list[#list + 1] = method
  end
  table.sort(list)
  return #list > 0 and table.concat(list, ", ") or nil
end

--- The route for a request: route, params (nil: none); or nil, 400 | 404; or nil, 405, allowed
--- methods; or nil, 503: the script loads for the first time, and may yet declare it.
function M.find(method, path)
  local paths = user.exact[method]
  local exact = paths and paths[path]
  if exact then
    return exact
  elseif path:byte() ~= SLASH then
    return nil, 400
  end
  local parts = decode(path)
  if not parts then
    return nil, 400
  end
  local route, params = lookup(method, path, parts)
  if not route and method == "HEAD" then
    route, params = lookup("GET", path, parts)
  end
  if route then
    return route, params
  end
  local methods = allowed(path, parts)
  if methods then
    return nil, 405, methods
  end
  return nil, staged and not is_loaded and 503 or 404
end

--- From here on the user's routes are collected aside, and nobody sees them before commit().
function M.begin()
  staged = new_table()
end

--- The collected routes take the place of the user's former ones, at once.
function M.commit()
  if staged then
    user, staged, is_loaded = staged, nil, true
    M.served[1] = user.exact
    announce()
  end
end

--- The collected routes are forgotten.
function M.rollback()
  staged = nil
end

--- Every route that is served, sorted by path: its method, path, builtin, and what else its options
--- say (summary, query, body, answers, role …).
function M.all()
  local out = {}
  for _, routes in ipairs { user, builtin } do
    for _, route in pairs(routes.list) do
      local one = { method = route.method, path = route.path }
      for key, value in pairs(route.options) do
        one[key] = value
      end
      out[#out + 1] = one
    end
  end
  table.sort(out, function(a, b)
    return a.path == b.path and a.method < b.method or a.path < b.path
  end)
  return out
end

return M
