--- What the routes of the console have in common: guards, checked bodies, errors as problem+json,
--- and who is noted for a change.
local access = require "sipeat.access"
local http = require "sipeat.http"
local json = require "sipeat.json"

local M = {}

local ROOT = "/console/api/"

-- code of a failure -> status, and the code that the answer has
local PROBLEMS = {
  BAD_REQUEST = { 400 }, EINVAL = { 400, "BAD_REQUEST" }, USAGE = { 400, "BAD_REQUEST" },
  BAD_DATA = { 400, "BAD_REQUEST" }, TOPIC_EXCEPTION = { 400, "BAD_REQUEST" },
  INVALID_CONFIG = { 400, "BAD_REQUEST" }, INVALID_PARTITIONS = { 400, "BAD_REQUEST" },
  INVALID_REPLICATION_FACTOR = { 400, "BAD_REQUEST" }, POLICY_VIOLATION = { 409 },
  MSG_SIZE_TOO_LARGE = { 400 }, _UNKNOWN_PARTITION = { 400, "BAD_REQUEST" },
  NOT_FOUND = { 404 }, UNKNOWN_TOPIC_OR_PART = { 404, "NOT_FOUND" },
  _UNKNOWN_TOPIC = { 404, "NOT_FOUND" }, UNKNOWN_MACHINE = { 404, "NOT_FOUND" },
  CONFIRM = { 409 }, BUSY = { 409 }, EBUSY = { 409, "BUSY" }, REFUSED = { 409 },
  NON_EMPTY_GROUP = { 409, "BUSY" }, TOPIC_ALREADY_EXISTS = { 409 }, SCRIPT = { 409 },
  UNSUPPORTED = { 422 }, ENOTSUP = { 422, "UNSUPPORTED" },
  _UNSUPPORTED_FEATURE = { 422, "UNSUPPORTED" }, UNSUPPORTED_VERSION = { 422, "UNSUPPORTED" },
  TOO_MANY = { 429 },
}

--- The answer to a failure.
function M.problem(message, code)
  local known = PROBLEMS[code] or { 503 }
  return http.problem(known[1], message, { code = known[2] or code or "UNAVAILABLE" })
end

-- What a handler gave as an answer: an answer has a status or a stream, all else is a value.
local function answer_of(value, message, code)
  if value == nil then
    return M.problem(message or "it cannot be told", code)
  elseif type(value) == "table" and (value.stream or value.status and value.json ~= nil) then
    return value
  end
  return { status = 200, json = value }
end

--- Adds a route under /console/api/: handler(req) gives a value for JSON or an answer; or nil,
--- message, code.
---@param spec string such as "GET topics/:name"
---@param role "viewer"|"operator"|"admin"
function M.route(spec, role, handler)
  local method, path = spec:match "^(%u+) (.+)$"
  http.route(("%s %s%s"):format(method, ROOT, path), access.guard(role, function(req)
    return answer_of(handler(req))
  end), { builtin = true })
end

--- An answer with that status and value.
function M.with_status(status, value)
  return { status = status, json = value }
end

--- The body of a request, checked by a spec of sipeat.opts; or nil, message, "BAD_REQUEST".
function M.body(req, spec)
  local given, message = {}, nil
  if req.body ~= "" then
    given, message = req:json()
  end
  if type(given) ~= "table" or json.is_array(given) and #given > 0 then
    return nil, message or "the body is a JSON object", "BAD_REQUEST"
  end
  local plain = {}
  for name, value in pairs(given) do
    if value ~= json.null then
      plain[name] = value
    end
  end
  local o, why = spec(plain, false)
  if not o then
    return nil, (why:gsub("^sipeat%.console%.[%w_]+: ", "")), "BAD_REQUEST"
  end
  return o
end

--- The integer of a query's parameter or a path's, `fallback` when it is absent. nil, message, code
--- when it is not one.
function M.integer(text, name, fallback, most)
  if text == nil or text == "" then
    return fallback
  end
  local value = text:find "^%d+$" and math.tointeger(tonumber(text))
  if not value or most and value > most then
    return nil, ("%s is a number%s"):format(name, most and " of at most " .. most or ""),
      "BAD_REQUEST"
  end
  return value
end

--- Was the name typed? true; or nil, message, "CONFIRM".
function M.confirmed(given, name)
  if given == name then
    return true
  end
  return nil, ("type the name %s to confirm that"):format(name), "CONFIRM"
end

--- Notes a change before it is made. true; or nil, message, code.
M.audit = access.audit

--- The name of who is signed in.
function M.who(req)
  return req.user.name
end

return M
