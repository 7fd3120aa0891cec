--- Tables behind Supabase's REST interface (PostgREST): select, insert, upsert, update, delete and
--- rpc.
--
-- Codes of failures. For good: SQL_UNIQUE, SQL_FOREIGN_KEY, SQL_NOT_NULL, SQL_CHECK, SQL_CONSTRAINT
-- (the same words as sipeat.sql), UNAUTHORIZED, NOT_FOUND, REJECTED, NOT_CONFIGURED. Worth another
-- try: UNAVAILABLE, SERIALIZATION, BAD_ANSWER and those of the network.
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"

local M = {}

local CLIENT = opts.spec("sipeat.supabase.client", {
  url = { "string" },
  key = { "secret" },
  schema = { "string" },
  timeout = { "duration", default = "10s" },
})

local SELECT = opts.spec("sipeat.supabase.select", {
  columns = { "string", default = "*" },
  order = { "string" },
  limit = { "integer", min = 0 },
  offset = { "integer", min = 0 },
})

local WRITE = opts.spec("sipeat.supabase.write", {
  returning = { "boolean", default = false },
})

local UPSERT = opts.spec("sipeat.supabase.upsert", {
  on_conflict = { "string" },
  ignore = { "boolean", default = false },
  returning = { "boolean", default = false },
})

local OPERATORS = {
  eq = 1, neq = 1, gt = 1, gte = 1, lt = 1, lte = 1, like = 1, ilike = 1, is = 1, ["in"] = 1,
  match = 1, imatch = 1, cs = 1, cd = 1, ov = 1, fts = 1, plfts = 1, phfts = 1, wfts = 1,
}

local SQLSTATES = {
  ["23505"] = "SQL_UNIQUE",
  ["23503"] = "SQL_FOREIGN_KEY",
  ["23502"] = "SQL_NOT_NULL",
  ["23514"] = "SQL_CHECK",
}

local PERMANENT = {
  SQL_UNIQUE = true, SQL_FOREIGN_KEY = true, SQL_NOT_NULL = true, SQL_CHECK = true,
  SQL_CONSTRAINT = true, UNAUTHORIZED = true, NOT_FOUND = true, REJECTED = true,
}

local function escape(text)
  return (tostring(text):gsub("[^%w%-._~]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end

-- "x" inside of in.(…): quoted, so that commas and brackets are text.
local function quoted(value)
  return '"' .. tostring(value):gsub('[\\"]', "\\%0") .. '"'
end

local function operand(operator, value)
  if operator:match "[^.]*$" ~= "in" then
    return tostring(value)
  end
  local items = {}
  for i, item in ipairs(value) do
    items[i] = quoted(item)
  end
  return "(" .. table.concat(items, ",") .. ")"
end

local function add_filter(out, column, operator, value)
  local name = type(operator) == "string" and operator:gsub("^not%.", "")
  if not OPERATORS[name] or value == nil then
    local text = "supabase: the filter of %s is a value, { operator, value } or a list of these; "
      .. "operators, each also with not. before it: %s"
    error(text:format(column, table.concat(opts.names(OPERATORS), ", ")), 5)
  end
  out[#out + 1] = ("%s=%s.%s"):format(escape(column), operator, escape(operand(operator, value)))
end

-- { email = "x", stock = { "gte", 1 }, at = { { "gte", a }, { "lt", b } } } as parameters of a
-- query.
local function add_filters(out, filters)
  for _, column in ipairs(opts.names(filters)) do
    local wanted = filters[column]
    if type(wanted) ~= "table" then
      add_filter(out, column, "eq", wanted)
    else
      for _, one in ipairs(type(wanted[1]) == "table" and wanted or { wanted }) do
        add_filter(out, column, one[1], one[2])
      end
    end
  end
end

-- One of the module's codes for an answer that is no success.
local function code_of(status, state)
  local class = state:sub(1, 2)
  if SQLSTATES[state] then
    return SQLSTATES[state]
  elseif class == "23" or class == "22" then
    return "SQL_CONSTRAINT"
  elseif status == 401 or status == 403 then
    return "UNAUTHORIZED"
  elseif class == "40" or class == "57" then
    return "SERIALIZATION"
  elseif status == 503 or status == 504 or status == 429 or class == "08" or class == "53" then
    return "UNAVAILABLE"
  elseif status == 404 then
    return "NOT_FOUND"
  elseif status == 502 then
    return "UNAVAILABLE" -- the gateway's, not PostgREST's
  end
  return "REJECTED"
end

local function refused(what, response)
  local body = json.decode(response.body or "")
  body = type(body) == "table" and body or {}
  local state = type(body.code) == "string" and body.code or ""
  local text = ("supabase %s: %s (status %d%s)"):format(
    what,
    type(body.message) == "string" and body.message or "refused without a message",
    response.status,
    state ~= "" and ", " .. state or ""
  )
  for _, field in ipairs { "details", "hint" } do
    if type(body[field]) == "string" then
      text = text .. "; " .. body[field]
    end
  end
  local code = code_of(response.status, state)
  if code == "UNAUTHORIZED" then
    text = text .. " (is NEXT_PUBLIC_SUPABASE_ANON_KEY right, and do the policies allow it?)"
  end
  return nil, text, code
end

local Client = {}
Client.__index = Client

-- The decoded body (true when there is none), or nil, message, code.
function Client:call(what, method, path, query, body, prefer)
  local encoded, message, code
  if body ~= nil then
    encoded, message, code = json.encode(body)
    if not encoded then
      return nil, ("supabase %s: %s"):format(what, message), code
    end
  end
  local key = env.reveal(self.key)
  local response
  response, message, code = require("sipeat.http").request {
    method = method,
    url = self.url .. path .. (#query > 0 and "?" .. table.concat(query, "&") or ""),
    body = encoded,
    headers = {
      ["apikey"] = key,
      ["Authorization"] = "Bearer " .. key,
      ["Accept"] = "application/json",
      ["Content-Type"] = encoded and "application/json" or nil,
      ["Prefer"] = prefer,
      ["Accept-Profile"] = self.schema,
      ["Content-Profile"] = self.schema,
    },
    timeout = self.timeout,
  }
  if not response then
    return nil, ("supabase %s: %s"):format(what, message), code
  elseif response.status < 200 or response.status > 299 then
    return refused(what, response)
  elseif response.body == nil or response.body == "" then
    return true
  end
  local value, why = json.decode(response.body)
  if value == nil then
    return nil, ("supabase %s: %s"):format(what, why), "BAD_ANSWER"
  end
  return value
end

-- PostgREST wants the same keys in every row of a batch.
local function uniform(rows)
  if #rows == 0 then
    return rows[1] == nil and next(rows) ~= nil and { rows } or json.array {}
  end
  local names, out = {}, json.array {}
  for _, row in ipairs(rows) do
    for name in pairs(row) do
      names[name] = true
    end
  end
  for i, row in ipairs(rows) do
    out[i] = {}
    for name in pairs(names) do
      local value = row[name]
      out[i][name] = value == nil and json.null or value
    end
  end
  return out
end

-- Results of a call, with nulls as absent fields; a failure passes through.
local function without_nulls(rows, ...)
  for _, row in ipairs(type(rows) == "table" and rows or {}) do
    for name, value in pairs(row) do
      if value == json.null then
        row[name] = nil
      end
    end
  end
  return rows, ...
end

local function prefer_of(o, more)
  return (o.returning and "return=representation" or "return=minimal") .. (more or "")
end

--- Rows that fit the filters; a null is an absent field.
function Client:select(name, filters, options)
  local o = SELECT(options)
  local query = { "select=" .. escape(o.columns) }
  add_filters(query, filters or {})
  if o.order then
    query[#query + 1] = "order=" .. escape(o.order)
  end
  if o.limit then
    query[#query + 1] = ("limit=%d"):format(o.limit)
  end
  if o.offset then
    query[#query + 1] = ("offset=%d"):format(o.offset)
  end
  local rows, message, code = self:call("select " .. name, "GET", "/" .. escape(name), query)
  if not rows then
    return nil, message, code
  end
  return without_nulls(rows)
end

--- Adds one row or a list of rows: true, or the rows as stored with `returning`.
function Client:insert(name, rows, options)
  local o = WRITE(options)
  return without_nulls(self:call(
    "insert " .. name, "POST", "/" .. escape(name), {}, uniform(rows), prefer_of(o)
  ))
end

--- Adds rows, or changes those that are there already by `on_conflict` (columns with a unique key;
--- default: the primary key). With `ignore` those that are there stay as they are.
function Client:upsert(name, rows, options)
  local o = UPSERT(options)
  local how = o.ignore and ",resolution=ignore-duplicates" or ",resolution=merge-duplicates"
  local query = { o.on_conflict and "on_conflict=" .. escape(o.on_conflict) or nil }
  return without_nulls(self:call(
    "upsert " .. name, "POST", "/" .. escape(name), query, uniform(rows), prefer_of(o, how)
  ))
end

local function need_filters(filters, what)
  if type(filters) ~= "table" or next(filters) == nil then
    error(("supabase: %s without a filter would reach every row"):format(what), 3)
  end
  local query = {}
  add_filters(query, filters)
  return query
end

--- Changes the rows that fit: true, or the rows as they are now with `returning`.
function Client:update(name, filters, changes, options)
  local o = WRITE(options)
  local query = need_filters(filters, "update")
  return without_nulls(self:call(
    "update " .. name, "PATCH", "/" .. escape(name), query, changes, prefer_of(o)
  ))
end

--- Removes the rows that fit: true, or the rows as they were with `returning`.
function Client:delete(name, filters, options)
  local o = WRITE(options)
  local query = need_filters(filters, "delete")
  return without_nulls(self:call(
    "delete " .. name, "DELETE", "/" .. escape(name), query, nil, prefer_of(o)
  ))
end

--- Calls a function of the database with named arguments; gives what it returns.
function Client:rpc(name, arguments)
  return self:call("rpc " .. name, "POST", "/rpc/" .. escape(name), {}, arguments or {})
end

--- A client; settings not given come from NEXT_PUBLIC_SUPABASE_URL and
--- NEXT_PUBLIC_SUPABASE_ANON_KEY. nil, message, "NOT_CONFIGURED" when one is nowhere.
function M.client(options)
  local o = CLIENT(options)
  local url = o.url or env.get "NEXT_PUBLIC_SUPABASE_URL"
  local key = o.key or env.secret "NEXT_PUBLIC_SUPABASE_ANON_KEY"
  if not url or not key then
    local missing = url and "NEXT_PUBLIC_SUPABASE_ANON_KEY" or "NEXT_PUBLIC_SUPABASE_URL"
    local text = "supabase: %s is not set (put it into .env.local)"
    return nil, text:format(missing), "NOT_CONFIGURED"
  elseif not url:find("^https?://[^/?#]+") then
    local text = "supabase: %s is no http or https address"
    return nil, text:format(opts.show(url)), "NOT_CONFIGURED"
  end
  return setmetatable({
    url = url:gsub("/+$", ""):gsub("/rest/v1$", "") .. "/rest/v1",
    key = key,
    schema = o.schema,
    timeout = ("%dms"):format(o.timeout),
  }, Client)
end

--- Whether trying again cannot help.
function M.is_permanent(code)
  return PERMANENT[code] == true
end

--- What a client's failure is for a flow: nil, failure.
function M.fail(message, code)
  local kind = PERMANENT[code] and "permanent" or nil
  return nil, failure.new(message, code, kind)
end

return M
