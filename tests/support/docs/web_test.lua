--- Pages of HTTP, its API and its security.
local docs = require "docs"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

-- The headers of somebody with this role.
local function as(role, file)
  require("sipeat.access_store").use(file)
  local users = require "sipeat.access_users"
  local token = assert(users.add_token({ name = "test" }, role, role, 86400000))
  return { authorization = "Bearer " .. token }
end

docs.block("api", 1, function(b)
  local headers = as("operator", "api.db")
  local full = false
  b:load { sipeat = setmetatable({ publish = function(...)
    if full then
      return nil, "the outbox is full", "OUTBOX_FULL"
    end
    return sipeat.publish(...)
  end }, { __index = sipeat }) }
  local refused = t.request("POST", "/api/v1/orders", { headers = headers, json = { id = "o-1" } })
  t.eq(refused.status, 422)
  local order = { headers = headers, json = { id = "o-1", count = 2 } }
  local answer = t.request("POST", "/api/v1/orders", order)
  t.eq({ answer.status, type(answer.json.id) }, { 202, "string" })
  t.settle()
  t.eq(t.published("orders")[1].json, { id = "o-1", count = 2 })
  headers["idempotency-key"] = ("x"):rep(1000)
  t.eq(t.request("POST", "/api/v1/orders", order).status, 400)
  headers["idempotency-key"], full = nil, true
  t.eq(t.request("POST", "/api/v1/orders", order).status, 503)
  t.ok(t.request("GET", "/openapi.json").json.paths["/api/v1/orders"])
end)

docs.block("http", 1, function(b)
  t.http.expect("POST", "https://api.example.com/orders",
    { { json = { id = 1 } }, { status = 500 }, { fail = "refused" } }, { times = 3 })
  local ask = b:body { token = "secret" }
  t.eq(select("#", ask()), 0)
  t.eq(table.pack(ask()), { nil, "refused with 500", "REJECTED", n = 3 })
  t.eq(select(3, ask()), "ECONNREFUSED")
end)

docs.block("http", 2, function(b)
  b:load { http = sipeat.http, find = function(id)
    return id == "o-1" and { id = id } or nil
  end }
  t.eq(t.request("GET", "/api/orders/o-1").json, { id = "o-1" })
  t.eq(t.request("GET", "/api/orders/o-2").status, 404)
  t.eq(t.request("POST", "/api/orders", { body = "{" }).status, 400)
  local taken = t.request("POST", "/api/orders", { json = { id = "o-3" } })
  t.eq(taken.headers.location, "/api/orders/o-3")
end)

docs.block("http", 3, function(b)
  local Order = sipeat.event.define("order.created", { id = "string" })
  b:load { http = sipeat.http, OrderCreated = Order }
  t.eq(t.request("POST", "/api/orders", { json = { id = "o-3" } }).status, 202)
  local found
  for _, route in ipairs(sipeat.http.routes()) do
    found = found or route.summary == "Takes an order"
  end
  t.ok(found)
end)

docs.block("http", 4, function(b)
  local answers = { { true, "12:00" }, { nil, nil, "ETIMEDOUT" }, { nil, nil, "CLOSED" } }
  b:load { http = sipeat.http, channel = { recv = function()
    return table.unpack(table.remove(answers, 1), 1, 3)
  end } }
  local body = t.request("GET", "/events").body
  t.has(body, "data: 12:00")
  t.has(body, ": still here")
end)

docs.block("http", 5, function(b)
  local script = b:made({ http = sipeat.http }, "script")
  t.ok(script:match "^/console/app%.%x+%.js$", script)
end)

docs.block("security", 1, function(b)
  local headers = as("operator", "security.db")
  local stock = { ["1"] = 3 }
  b:load { http = sipeat.http, stock = function()
    return stock
  end }
  t.eq(t.request("GET", "/stock", { headers = headers }).json, { ["1"] = 3 })
  t.eq(t.request("POST", "/stock/1", { headers = headers }).status, 204)
  t.eq(stock["1"], 20)
  assert(require("sipeat.access_store").exec "DROP TABLE access_audit")
  t.eq(t.request("POST", "/stock/1", { headers = headers }).status, 503)
end)

docs.block("security", 2, function(b)
  local topic = { topic = "contacts" }
  local Contact = sipeat.event.define("contact.created", { text = "string" }, topic)
  b:load { http = sipeat.http, access = require "sipeat.access", sipeat = sipeat, Contact = Contact,
    page_with = function(token)
      return "token=" .. token .. ";"
    end,
    page_with_message = function(_, message)
      return message
    end }
  local page = t.request("GET", "/contact")
  t.eq(t.request("POST", "/contact", { form = { text = "hello" } }).status, 403)
  local token = page.body:match "token=(.-);"
  local cookie = page.headers["set-cookie"]
  local done = t.request("POST", "/contact", { form = { text = "hello", csrf = token },
    headers = { cookie = cookie and tostring(cookie):match "^[^;]*" } })
  t.eq({ done.status, done.body:match "Thank you" }, { 200, "Thank you" })
  t.eq(#t.published "contacts", 1)
end)

docs.block("security", 3, function(b)
  b:load { access = require "sipeat.access" }
end)

docs.block("security", 4, function(b)
  b:load()
end)

docs.block("templates", 1, function(b)
  local page = b:made({}, "page")
  local text = tostring(page { id = "o-1", customer = { name = "Ada <Lovelace>" },
    items = { { count = 2, name = "Tea" } } })
  t.has(text, "<h1>Order o-1</h1>")
  t.has(text, 'title="Ada &lt;Lovelace&gt;"')
  t.has(text, "<li>2 x Tea</li>")
end)
