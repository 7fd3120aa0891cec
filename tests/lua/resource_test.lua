--- Typed routes: what is wrong is said for each field, and what is right arrives typed.
local event = require "sipeat.event"
local http = require "sipeat.http"
local json = require "sipeat.json"
local openapi = require "sipeat.openapi"
local resource = require "sipeat.resource"
local t = require "sipeat.luatest"

local Order = event.define("order.created", {
  id = "text(10)", count = "integer", note = "string?", price = "money?",
  lines = event.list { name = "text" }, ["size?"] = { "small", "large" },
})

local function guard(role, handler)
  return function(req)
    return req.headers.authorization == role and handler(req) or http.problem(403)
  end
end

local server

t.test("the routes are there", function()
  http.begin_routes()
  resource.route("POST /orders/:place", {
    summary = "Takes an order", body = Order:only({ "id", "count", "size" }, "order"),
    query = { ["wait?"] = { "acked" }, ["max?"] = "integer", ["dry?"] = "boolean" },
    params = { place = { "string(5)", pattern = "^[a-z]+$" } },
    headers = { ["Idempotency-Key"] = "string?" },
    answers = {
      [202] = { text = "Taken", body = { id = "string" }, headers = { Location = "where" },
        links = { look = { "GET /orders/:place", place = "$response.body#/id" } } },
      [409] = true,
    },
  }, function(req, body)
    return { status = 202, json = { body = body, args = req.args, place = req.params.place } }
  end)
  resource.route("GET /orders/:place", { summary = "Shows one", answers = { [200] = Order } },
    function(req)
      local id, refusal = resource.event_id(req, "order")
      return id and { json = { id = id } } or refusal
    end)
  resource.route("POST /secret", {
    summary = "For some", role = "operator", guard = guard, body = { a = "string" },
  }, function() return "open" end)
  http.route("GET /undescribed", function() return "x" end)
  http.commit_routes()
  server = t.ok(http.listen "127.0.0.1:0")
end)

local function post(path, value, headers)
  headers = headers or { ["content-type"] = "application/json" }
  local body = type(value) == "string" and value or json.encode(value)
  return t.ok(http.post(server.url .. path, { body = body, headers = headers }))
end

local function errors_of(answer)
  t.eq(answer.headers["content-type"], "application/problem+json")
  local out = {}
  for i, one in ipairs(answer:json().errors) do
    out[i] = one.field .. " " .. one.code
  end
  table.sort(out)
  return table.concat(out, ", ")
end

t.test("a body and a query that are right arrive typed", function()
  local answer = post("/orders/x?max=5&dry=false&wait=acked", { id = "7", count = 2.0 })
  t.eq(answer.status, 202)
  t.eq(answer:json(), {
    body = { id = "7", count = 2 }, args = { max = 5, dry = false, wait = "acked" }, place = "x",
  })
end)

t.test("each wrong field of a body is named", function()
  local answer = post("/orders/x", { id = " ", count = "2", size = "huge", cuont = 1 })
  t.eq(answer.status, 422)
  t.eq(errors_of(answer), "count type, cuont unknown, id blank, size not_listed")
  answer = post("/orders/x", {})
  t.eq(errors_of(answer), "count missing, id missing")
end)

t.test("each wrong parameter of the query is named", function()
  local answer = post("/orders/x?max=five&dry=maybe&wait=no&x=1", { id = "7", count = 2 })
  t.eq(answer.status, 400)
  t.eq(errors_of(answer), "dry type, max type, wait not_listed, x unknown")
end)

t.test("what is no JSON is refused before it is looked at", function()
  local typed = { ["content-type"] = "text/plain" }
  t.eq(post("/orders/x", '{"id":"7","count":2}', typed).status, 415)
  t.eq(post("/orders/x", '{"id":', nil).status, 400)
  t.eq(post("/orders/x", '{"id":"\xff","count":2}', nil).status, 400)
  t.eq(post("/orders/x", ("["):rep(10000) .. ("]"):rep(10000), nil).status, 400)
  t.eq(post("/orders/x", "[]", nil).status, 422)
  t.eq(post("/orders/x", "", nil).status, 400)
  local vendor = { ["content-type"] = "Application/Vnd.x+JSON; charset=utf-8" }
  t.eq(post("/orders/x", '{"id":"7","count":2}', vendor).status, 202)
end)

t.test("the same key leads to the same id, and keys of other kinds to others", function()
  local function id_for(key)
    local answer = http.get(server.url .. "/orders/x", { headers = { ["idempotency-key"] = key } })
    return answer.status == 200 and answer:json().id or answer.status
  end
  t.eq(id_for "a-key", id_for "a-key")
  t.ok(id_for "a-key" ~= id_for "b-key")
  t.eq(id_for "0F0E0D0C-0000-4000-8000-00000000abcd", "0f0e0d0c-0000-4000-8000-00000000abcd")
  t.ok(resource.id_of_key("k", "a") ~= resource.id_of_key("k", "b"))
  t.eq(id_for "two words", 400)
  t.eq(id_for(("x"):rep(201)), 400)
end)

t.test("a role is guarded", function()
  t.eq(post("/secret", { a = "b" }).status, 403)
  local headers = { ["content-type"] = "application/json", authorization = "operator" }
  t.eq(post("/secret", { a = "b" }, headers).body, "open")
end)

t.test("the document says what the routes say", function()
  local document = openapi.document { title = "Orders", version = "7" }
  t.eq(document.openapi, "3.1.0")
  t.eq(document.info, { title = "Orders", version = "7" })
  t.eq(document.paths["/undescribed"], nil)
  local order = document.paths["/orders/{place}"].post
  t.eq(order.requestBody.content["application/json"].schema["$ref"], "#/components/schemas/order")
  local schema = document.components.schemas.order
  t.eq(schema.additionalProperties, false)
  t.eq(schema.required, { "count", "id" })
  t.eq(schema.properties.id, { type = "string", minLength = 1, maxLength = 10, pattern = [[\S]] })
  t.eq(schema.properties.size.enum, { "small", "large", json.null })
  t.eq(order.responses["202"].links.look.operationId, "get_orders_place")
  t.eq(order.responses["202"].headers.Location.schema.type, "string")
  local statuses = {}
  for status in pairs(order.responses) do
    statuses[#statuses + 1] = status
  end
  table.sort(statuses)
  t.eq(statuses, { "202", "400", "409", "413", "415", "422" })
  local places = {}
  for i, one in ipairs(order.parameters) do
    places[i] = ("%s %s %s"):format(one["in"], one.name, tostring(one.required))
  end
  t.eq(places, {
    "path place true", "query dry nil", "query max nil", "query wait nil",
    "header Idempotency-Key nil",
  })
  t.eq(order.parameters[1].schema, { type = "string", maxLength = 5, pattern = "^[a-z]+$" })
  local secret = document.paths["/secret"].post
  t.eq(secret["x-role"], "operator")
  t.ok(secret.responses["403"])
  t.eq(document.paths["/orders/{place}"].get.security, nil)
end)

t.test("types of fields are schemas", function()
  local whole = openapi.document {
    title = "x",
    routes = { { method = "GET", path = "/a", summary = "A", answers = { [200] = Order } } },
  }
  local properties = whole.components.schemas["order.created"].properties
  t.eq(properties.price.type, { "number", "null" })
  t.eq(properties.lines.items.properties.name.minLength, 1)
  t.eq(properties.note.type, { "string", "null" })
  t.eq(whole.components.schemas["order.created"].additionalProperties, nil)
  t.ok(json.encode(whole))
end)

t.test("the server is closed", function()
  t.ok(server:stop "1s")
end)
