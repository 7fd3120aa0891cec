--- Requests to routes: whatever is asked, the answer is one of a few, and what a handler gets is
--- well-formed: UTF-8, without control characters in paths, and never a path that climbs up.
--
-- The input is a line with a method, a blank and a target; the rest is a body, sent as a form.
local http = require "sipeat.http"
local httpd = require "sipeat.testing_httpd"

local STATUSES = { [200] = 1, [204] = 1, [400] = 1, [404] = 1, [405] = 1 }

local function check(condition, what)
  if not condition then
    error(what, 0)
  end
end

local function check_fields(fields, what)
  for name, value in pairs(fields) do
    check(utf8.len(name) and utf8.len(value), what .. " that is no UTF-8")
  end
end

local function look(req)
  check(utf8.len(req.path) and not req.path:find "%c", "a path with what may not be there")
  check_fields(req.params, "a name of the path")
  for _, value in pairs(req.params) do
    for part in value:gmatch "[^/\\]+" do
      check(part ~= ".." and part ~= ".", "a path that climbs up")
    end
  end
  check_fields(req.query, "a query")
  local form, message, code = req:form()
  if form then
    check_fields(form, "a form")
  else
    check(code == "BAD_DATA" and message ~= "", "a refusal without text or code")
  end
  return "seen"
end

http.begin_routes()
for _, path in ipairs { "/", "/a", "/a/:one", "/a/:one/b/:two", "/rest/*", "/a/special" } do
  http.route("GET " .. path, look)
  http.route("POST " .. path, look)
end
http.commit_routes()

return function(bytes)
  local method, target, body = bytes:match "^(%u+) ([^\n%z ]*)\n?(.*)$"
  if not method or target:sub(1, 1) ~= "/" then
    return
  end
  local answer = httpd.request(method, target, { body = body })
  check(STATUSES[answer.status], ("%s %s is answered with %d"):format(method, target,
    answer.status))
  check(answer.status ~= 200 or answer.body == "seen", "another answer")
end
