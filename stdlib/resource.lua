--- Routes of an API whose query and body are typed: what comes is checked before the handler sees
--- it, and what is wrong is said for each field, in problem+json. What the route says of itself
--- (http.route) is what sipeat.openapi makes its document from.
local event = require "sipeat.event"
local fields = require "sipeat.fields"
local http = require "sipeat.http"
local sys = require "sipeat.core.sys"

local M = {}

local CURRENCY = "EUR" -- of amounts in a table of fields, unless the body says another
local MAX_KEY = 200 -- bytes of an Idempotency-Key

local function problem_list(problems)
  local list = {}
  for i, problem in ipairs(problems) do
    list[i] = { field = problem.field, message = problem.message, code = problem.code }
  end
  return list
end

--- The answer to a request some of whose fields are wrong: a list of { field, message, code }.
function M.refuse(problems, detail, status)
  return http.problem(status or 422, detail or "some fields are wrong", {
    errors = problem_list(problems),
  })
end

-- --- body ---

local function is_json(kind)
  kind = (kind or ""):lower():match "^%s*([^;%s]*)"
  return kind == "application/json" or kind:find "^application/[%w.+-]+%+json$" ~= nil
end

-- A definition or a table of fields as something with validate.
local function checker(body, where)
  if event.is_definition(body) then
    return function(data)
      local typed, _, _, problems = body:validate(data)
      return typed, problems
    end
  end
  local shape = fields.compile(body, where, true)
  return function(data)
    local typed, _, problems = shape.check(data, CURRENCY)
    return typed, problems
  end
end

--- The typed body of a request, or nil and the answer that refuses it.
local function body_of(req, check)
  if not is_json(req.headers["content-type"]) then
    return nil, http.problem(415, "send the body as application/json", {
      headers_needed = { ["content-type"] = "application/json" },
    })
  end
  local data, message = req:json()
  if data == nil then
    return nil, http.problem(400, message or "the body is not JSON")
  end
  local typed, problems = check(data)
  if not typed then
    return nil, M.refuse(problems)
  end
  return typed
end

-- --- query ---

local FROM_TEXT = {
  boolean = function(text)
    if text == "true" or text == "false" then
      return text == "true"
    end
    return text
  end,
  integer = function(text)
    return text:find "^-?%d+$" and math.tointeger(tonumber(text)) or text
  end,
  number = function(text)
    return text:find "^-?%d+%.?%d*$" and tonumber(text) or text
  end,
}

local function query_checker(query, where)
  local shape = fields.compile(query or {}, where, true)
  local children = shape.node.children
  return function(req)
    local values = {}
    for name, text in pairs(req.query) do
      local child = children[name]
      local convert = child and FROM_TEXT[child.node.kind]
      values[name] = convert and convert(text) or text
      if convert and convert(text) == false then
        values[name] = false
      end
    end
    local typed, _, problems = shape.check(values)
    if not typed then
      return nil, M.refuse(problems, "some parameters of the query are wrong", 400)
    end
    return typed
  end
end

-- --- routes ---

--- As http.route(spec, options, handler), of a handler that is called with the request, its typed
--- query in req.args, and the typed body, when the options have one.
function M.route(spec, options, handler)
  local check_query = query_checker(options.query, spec)
  local check_body = options.body and checker(options.body, spec)
  local function answer(req)
    local refusal
    req.args, refusal = check_query(req)
    if not req.args then
      return refusal
    elseif not check_body then
      return handler(req)
    end
    local body
    body, refusal = body_of(req, check_body)
    if body == nil then
      return refusal
    end
    return handler(req, body)
  end
  http.route(spec, options, answer)
end

--- The id of the event that a request leads to, the same each time it is sent: from its header
--- Idempotency-Key, or a new one. nil and the answer that refuses a key that is none.
function M.event_id(req, kind)
  local key = req.headers["idempotency-key"]
  if key == nil then
    return sys.uuid()
  elseif #key > MAX_KEY or not key:find "^[\33-\126]+$" then
    local text = "Idempotency-Key is 1 to %d visible ASCII characters without spaces"
    return nil, http.problem(400, text:format(MAX_KEY))
  end
  return M.id_of_key(key, kind)
end

--- The event's id for a key: a UUID is one already, any other key is one among those of its kind.
function M.id_of_key(key, kind)
  if key:find "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$" then
    return key:lower()
  end
  return sys.sha256(kind .. ":" .. key):sub(1, 32)
end

return M
