--- HTTP in a test: requests that leave the script are answered by rules, and nothing else.
--
-- What no rule answers fails the test, with the request in its message. Answers may come late, in
-- half, or not at all; their delays pass in virtual time.
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local task = require "sipeat.task"

local M = {}

local RULE = opts.spec("sipeat.testing.http_on", {
  times = { "integer", min = 0, max = 1000000 },
  headers = { "table" },
  body = { "string|table|handler" },
})

local ANSWER = opts.spec("sipeat.testing.answer", {
  status = { "integer", default = 200, min = 100, max = 599 },
  headers = { "table", default = {} },
  body = { "string", default = "" },
  json = { "any" },
  delay = { "duration", default = "0ms" },
  fail = { "string", enum = { "refused", "reset", "no answer", "half" } },
})

local rules, calls, problems = {}, {}, {}
local in_order = false
local codec -- sipeat.core.http itself

-- --- requests ---

local function show(request)
  local lines = { ("%s %s"):format(request.method, request.url) }
  for _, name in ipairs(opts.names(request.headers)) do
    local secret = name == "authorization" or name == "cookie" or name == "apikey"
    lines[#lines + 1] = ("%s: %s"):format(name, secret and "***" or request.headers[name])
  end
  local body = request.body or ""
  lines[#lines + 1] = #body > 2000 and body:sub(1, 2000) .. "… (cut here)" or body
  return table.concat(lines, "\n    ")
end

local function parse_query(text)
  local query = {}
  for name, value in text:gmatch("([^&=]+)=?([^&]*)") do
    query[codec.decode(name, true) or name] = codec.decode(value, true) or value
  end
  return query
end

local Request = {}

-- json and form are read when they are asked for.
function Request.__index(request, name)
  if name == "json" then
    return (json.decode(request.body or ""))
  elseif name == "form" then
    return parse_query(request.body or "")
  end
end

local function request_of(options)
  local headers = {}
  for _, header in ipairs(options.headers or {}) do
    headers[header[1]:lower()] = header[2]
  end
  local base = options.url:gsub("#.*$", "")
  local rest = base:match("^%a[%w+.-]*://[^/?]*(.*)$") or base
  return setmetatable({
    method = options.method, url = base, headers = headers, body = options.body,
    path = rest:match("^[^?]*"), query = parse_query(rest:match("%?(.*)$") or ""),
    at_ms = task.now_ms(),
  }, Request)
end

-- --- rules ---

-- "https://host/path*" or "/path*": * stands for anything; without a query, any query.
local function pattern_of(url)
  local text = url:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
  return "^" .. text .. "$"
end

local function same_body(wanted, request)
  if type(wanted) == "string" then
    return request.body == wanted
  elseif type(wanted) == "table" then
    return require("sipeat.testing_assert").same(request.json, wanted)
  end
  return wanted(request) and true or false
end

local function matches(rule, request)
  local url = rule.url:sub(1, 1) == "/" and request.path .. (request.url:match("%?.*$") or "")
    or request.url
  if not rule.url:find("?", 1, true) then
    url = url:gsub("%?.*$", "")
  end
  if rule.method ~= "*" and rule.method ~= request.method or not url:find(rule.pattern) then
    return false
  end
  for name, value in pairs(rule.headers or {}) do
    if request.headers[name:lower()] ~= value then
      return false
    end
  end
  return rule.body == nil or same_body(rule.body, request)
end

local function name_of(rule)
  return ("%s %s"):format(rule.method, rule.url)
end

local function check_answer(answer, level)
  if type(answer) == "function" then
    return answer
  elseif type(answer) ~= "table" then
    error("t.http: an answer is a table, a list of them, or a function, got " .. opts.show(answer),
      level + 1)
  end
  local list = answer[1] and answer or { answer }
  for i, one in ipairs(list) do
    list[i] = type(one) == "function" and one or ANSWER(one)
  end
  return function(request, n)
    local one = list[math.min(n, #list)]
    return type(one) == "function" and one(request) or one
  end
end

local function add(method, url, answer, options, expected)
  if type(method) ~= "string" or type(url) ~= "string" then
    error('t.http: a method and a URL are needed, as in t.http.on("POST", "https://…", { … })', 3)
  end
  local rule = RULE(options)
  rule.method, rule.url, rule.pattern = method, url, pattern_of(url)
  rule.answer, rule.expected, rule.calls = check_answer(answer, 3), expected, 0
  if expected then
    rule.times = rule.times or 1
  end
  rules[#rules + 1] = rule
  return rule
end

--- Answers requests of a method ("*": any) and a URL, any number of times, or options.times.
function M.on(method, url, answer, options)
  return add(method, url, answer, options, false)
end

--- As on, and the test fails when the request does not come exactly options.times times (1).
function M.expect(method, url, answer, options)
  return add(method, url, answer, options, true)
end

--- From here on what is expected has to come in the order in which it was declared.
function M.ordered()
  in_order = true
end

--- The requests so far, those to a URL only when it is given.
function M.calls(url)
  local list, pattern = {}, url and pattern_of(url)
  for _, request in ipairs(calls) do
    local bare = request.url:gsub("%?.*$", "")
    if not pattern or bare:find(pattern) or request.path:find(pattern) then
      list[#list + 1] = request
    end
  end
  return list
end

local function out_of_order(rule)
  for _, other in ipairs(rules) do
    if other == rule then
      return nil
    elseif other.expected and other.calls < other.times then
      return other
    end
  end
end

local function problem(text)
  problems[#problems + 1] = text
  return nil, text, "UNEXPECTED_REQUEST"
end

local function rule_for(request)
  local spent
  for _, rule in ipairs(rules) do
    if matches(rule, request) then
      if not rule.times or rule.calls < rule.times then
        local before = in_order and rule.expected and out_of_order(rule)
        if before then
          local why = "a request came before its time: %s is expected first\n    %s"
          return problem(why:format(name_of(before), show(request)))
        end
        return rule
      end
      spent = rule
    end
  end
  local why = spent and ("%s was answered %d time(s) already"):format(name_of(spent), spent.calls)
    or "no rule of the test answers it"
  return problem(("an unexpected request: %s\n    %s"):format(why, show(request)))
end

-- --- answers ---

local FAILURES = {
  refused = { "connection refused", "ECONNREFUSED" },
  reset = { "the server closed without an answer", "ECONNRESET" },
  half = { "the connection broke in the middle of the answer", "ECONNRESET" },
}

local function header_table(answer)
  local headers = {}
  for name, value in pairs(answer.headers) do
    headers[name:lower()] = tostring(value)
  end
  if answer.json ~= nil and not headers["content-type"] then
    headers["content-type"] = "application/json"
  end
  return headers
end

local Call = {}
Call.__index = Call
Call.__close = function(call)
  call.closed = true
end
Call.close = Call.__close

local function fail(call, text, code)
  return nil, ("%s %s: %s"):format(call.request.method, call.request.url, text), code
end

-- Waits for the answer: it, or nil, message, code.
local function receive(call)
  local answer, limit_ms = call.answer, call.timeout_ms
  local late = answer.fail == "no answer" or answer.delay >= limit_ms
  local slept, message, code = task.sleep((late and limit_ms or answer.delay) .. "ms")
  if not slept then
    return nil, message, code
  elseif late then
    return fail(call, "timed out while waiting for the answer", "ETIMEDOUT")
  end
  local failed = FAILURES[answer.fail]
  if failed then
    return fail(call, failed[1], failed[2])
  end
  local body = answer.json ~= nil and assert(json.encode(answer.json)) or answer.body
  if call.max_bytes and #body > call.max_bytes then
    return fail(call, "the answer is too large", "TOO_BIG")
  end
  return { status = answer.status, headers = header_table(answer), body = body }
end

function Call:all()
  local answer, message, code = receive(self)
  if not answer then
    return nil, message, code
  end
  return answer.status, answer.headers, answer.body
end

function Call:head()
  local answer, message, code = receive(self)
  if not answer then
    return nil, message, code
  end
  self.rest = answer.body
  return answer.status, answer.headers
end

function Call:read()
  local rest = self.rest
  self.rest = nil
  if rest and rest ~= "" then
    return rest
  end
end

local function start(options)
  codec.permit(options.url)
  local request = request_of(options)
  calls[#calls + 1] = request
  local rule, message, code = rule_for(request)
  if not rule then
    return nil, message, code
  end
  rule.calls = rule.calls + 1
  local answer = rule.answer(request, rule.calls) or {}
  return setmetatable({
    request = request, answer = type(answer.delay) == "number" and answer or ANSWER(answer),
    timeout_ms = options.timeout_ms, max_bytes = options.max_body_bytes,
  }, Call)
end

--- What sipeat.core.http is in a test.
function M.open(real)
  codec = real
  return { start = start, encode = real.encode, decode = real.decode, permit = real.permit }
end

--- What was wrong with the requests of the test: texts.
function M.problems()
  local list = table.move(problems, 1, #problems, 1, {})
  for _, rule in ipairs(rules) do
    if rule.expected and rule.calls ~= rule.times then
      list[#list + 1] = ("%s was expected %d time(s), and came %d time(s)"):format(
        name_of(rule), rule.times, rule.calls)
    end
  end
  return list
end

return M
