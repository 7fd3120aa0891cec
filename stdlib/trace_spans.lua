--- Spans of what the runtime does, named as OpenTelemetry's semantic conventions have it (1.27).
--
-- Loaded when the first of them is made. What may be a secret or a person stays out: keys, values,
-- queries of URLs, addresses of clients, parameters of statements.
local env = require "sipeat.env"
local tracing = require "sipeat.tracing"

local M = {}

--- The span of a step of a chain or of its undo: "step" or "undo".
function M.step(what, run, step)
  return tracing.start(("%s %s"):format(what, step.name), tracing.INTERNAL, {
    ["sipeat.chain"] = run.chain.name, ["sipeat.step"] = step.name,
    ["sipeat.step.effect"] = step.effect,
  })
end

-- --- HTTP ---

-- Scheme, host, port and path of a URL.
local function parts(url)
  local scheme, authority, path = url:match "^(%a[%w+.-]*)://([^/?#]*)([^?#]*)"
  if not scheme then
    return "http", url:match "^[^/?#]*", nil, ""
  end
  authority = authority:gsub("^.*@", "")
  local host, port = authority:match "^(%[.*%]):?(%d*)$"
  if not host then
    host, port = authority:match "^([^:]*):?(%d*)$"
  end
  port = math.tointeger(tonumber(port)) or (scheme == "https" and 443 or 80)
  return scheme, host or authority, port, path
end

--- The span of a request to another server. Of a URL that is a secret only the host is told.
function M.request(method, url)
  local scheme, host, port, path = parts(env.reveal(url))
  local full
  if not env.is_secret(url) then
    local default = port == (scheme == "https" and 443 or 80)
    full = ("%s://%s%s%s"):format(scheme, host, default and "" or ":" .. tostring(port), path)
  end
  return tracing.start(method, tracing.CLIENT, {
    ["http.request.method"] = method, ["server.address"] = host, ["server.port"] = port,
    ["url.full"] = full,
  })
end

--- The answer came, or what came instead.
function M.requested(span, response, message, code)
  if response then
    span:set("http.response.status_code", response.status)
    if response.status >= 400 then
      span:set("error.type", tostring(response.status))
      span.error = ""
    end
  else
    span:fail(message, code)
  end
  span:finish()
end

--- The span of a request to a route of ours, in the trace that its headers name; nil when it is not
--- recorded.
function M.serve(exchange, method, route)
  tracing.begin(exchange:header "traceparent", exchange:header "tracestate", true)
  local path = route.path
  return tracing.start(method .. " " .. path, tracing.SERVER, {
    ["http.request.method"] = method, ["http.route"] = path,
    ["url.scheme"] = exchange:secure() and "https" or "http",
  })
end

--- The request has its answer.
function M.served(span, status, why)
  if why then
    span:fail(why, "SCRIPT_ERROR")
  end
  span:set("http.response.status_code", status)
  if status and status >= 500 then
    span:set("error.type", tostring(status))
    span.error = span.error or ""
  end
  span:finish()
end

-- --- SQL ---

local STATEMENT_BYTES = 2000 -- that are looked at

-- Where the text that begins at `at` with a quote ends: behind its last quote, or at the end.
local function quoted(sql, at, escapes)
  local stop = escapes and "['\\]" or "'"
  while true do
    at = sql:find(stop, at + 1)
    if not at then
      return #sql + 1
    elseif sql:sub(at, at) == "\\" then
      at = at + 1
    elseif sql:sub(at + 1, at + 1) == "'" then
      at = at + 1
    else
      return at + 1
    end
  end
end

-- Behind the closing `mark`, or at the end.
local function behind(sql, mark, at)
  local _, last = sql:find(mark, at, true)
  return (last or #sql) + 1
end

-- What is at `at`, as it is shown, and where the next begins.
local function token(sql, at)
  local word = sql:match("^[%a_\128-\255][%w_$\128-\255]*", at)
  local next_one = word and at + #word
  if word and word:lower() == "e" and sql:sub(next_one, next_one) == "'" then
    return "?", quoted(sql, next_one, true)
  elseif word then
    return word, next_one
  elseif sql:find("^'", at) then
    return "?", quoted(sql, at, false)
  elseif sql:find("^%-%-", at) then
    return " ", behind(sql, "\n", at)
  elseif sql:find("^/%*", at) then
    return " ", behind(sql, "*/", at + 2)
  end
  local mark = sql:match("^%$[%a_]?[%w_]*%$", at)
  if mark then
    return "?", behind(sql, mark, at + #mark)
  end
  local kept = sql:match('^"[^"]*"', at) or sql:match("^[$?:@]%d+", at)
  if kept then
    return kept, at + #kept
  end
  local number = sql:match("^%d[%w.]*", at)
  return number and "?" or sql:sub(at, at), at + #(number or " ")
end

-- The statement without what it was written with: texts and numbers become question marks, comments
-- go.
local function summary(sql)
  local text, at, out = sql:sub(1, STATEMENT_BYTES), 1, {}
  while at <= #text do
    out[#out + 1], at = token(text, at)
  end
  return (table.concat(out):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local TARGETS = { "[Ii][Nn][Tt][Oo]%s+", "[Ff][Rr][Oo][Mm]%s+", "[Uu][Pp][Dd][Aa][Tt][Ee]%s+" }

--- The span of a statement, or of a batch of them. system: "sqlite" or "postgresql".
function M.sql(system, sql)
  if type(sql) == "userdata" then
    return tracing.start("BATCH", tracing.CLIENT, {
      ["db.system.name"] = system, ["db.operation.name"] = "BATCH",
      ["db.operation.batch.size"] = sql:len(),
    })
  elseif type(sql) ~= "string" then
    return nil -- the call says what is wrong
  end
  local text = summary(sql)
  local operation, target = (text:match "^[%s(]*(%a+)" or "sql"):upper(), nil
  for _, pattern in ipairs(TARGETS) do
    target = target or text:match(pattern .. "[\"]?([%w_.]+)")
  end
  return tracing.start(target and operation .. " " .. target or operation, tracing.CLIENT, {
    ["db.system.name"] = system, ["db.operation.name"] = operation,
    ["db.collection.name"] = target, ["db.query.text"] = text,
  })
end

-- --- serial ---

--- The span of a command to a board on a serial port.
function M.serial(what, port, protocol)
  return tracing.start("serial " .. what, tracing.CLIENT, {
    ["sipeat.serial.port"] = port, ["sipeat.serial.protocol"] = protocol,
    ["sipeat.serial.command"] = what,
  })
end

return M
