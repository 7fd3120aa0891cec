--- What a script did not name is refused where the program would do it, by file and line.
local bytes = require "sipeat.core.sys"
local env = require "sipeat.env"
local http = require "sipeat.http"
local kafka = require "sipeat.kafka"
local mail = require "sipeat.mail"
local permissions = require "sipeat.permissions"
local scan = require "sipeat.permissions_scan"
local serial = require "sipeat.serial"
local sql = require "sipeat.sql"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local FOLDER = os.getenv "SIPEAT_SOURCE" or "."
local PLACE = os.getenv "SIPEAT_PARK_DIR" or "/tmp/sipeat-parked"
local free = http.listen("127.0.0.1:0", {}) -- before anything was declared
t.eq(permissions.declared(), false)

permissions {
  hosts = { "api.example.org:8443", "*.partner.example", "127.0.0.1" },
  topics = { "orders", "audit-*" },
  groups = { "billing" },
  paths = { PLACE .. "/" },
  reads = { FOLDER .. "/docs/*", FOLDER .. "/README.md" },
  ports = { "/dev/no-such-port" },
  env = { "ALLOWED", "APP_*" },
}

local function refused(part, f, ...)
  local ok, message = pcall(f, ...)
  if ok then
    error(part .. " was not refused", 2)
  end
  t.has(tostring(message), part)
  t.has(tostring(message), "is not permitted (sipeat.permissions has no ")
  t.has(tostring(message), "permissions_test.lua:")
end

t.test("it is declared once", function()
  t.eq(permissions.declared(), true)
  t.fails(permissions, "once for each script", {})
  t.fails(permissions, "did you mean hosts?", { host = {} })
  t.fails(permissions, "hosts has an empty text", { hosts = { "" } })
end)

t.test("hosts, with and without a port", function()
  refused("the host evil.example:443 ", function()
    http.get "https://EVIL.example/x"
  end)
  refused("the host api.example.org:443 ", function()
    http.get "https://user:password@api.example.org/"
  end)
  refused("the host partner.example:80 ", function()
    http.get "http://partner.example/"
  end)
  refused("the host example.org.evil.example:8443 ", function()
    http.get "https://example.org.evil.example:8443/?api.example.org:8443"
  end)
  for _, url in ipairs { "http://127.0.0.1:1/", "https://a.partner.example:1/" } do
    local response, message = http.get(url, { timeout = "2s" })
    t.eq(response, nil)
    t.ok(not message:find("permitted", 1, true), message)
  end
end)

t.test("a task that is nothing but a request is refused too", function()
  local answer = task.spawn(http.get, "https://evil.example/"):join()
  t.ok(not answer)
end)

t.test("a redirect to another host is not followed", function()
  local server = free
  http.route("GET /away", function()
    local location = ("http://localhost:%d/there"):format(server.port)
    return { status = 302, headers = { location = location } }
  end)
  http.route("GET /near", function()
    return { status = 302, headers = { location = "/there" } }
  end)
  http.route("GET /there", function()
    return "there"
  end)
  local base = "http://127.0.0.1:" .. server.port
  local near = t.ok(http.get(base .. "/near", { redirects = 3 }))
  t.eq(near.body, "there")
  local away, message, code = http.get(base .. "/away", { redirects = 3 })
  t.eq(away, nil)
  t.eq(code, "NOT_PERMITTED")
  t.has(message, "redirected to a host that sipeat.permissions does not name")
end)

t.test("mail goes to hosts that are named", function()
  refused("the host smtp.evil.example:25 ", function()
    mail.send {
      url = "smtp://smtp.evil.example", from = "a@example.org", to = "b@example.org",
      subject = "s", text = "t",
    }
  end)
end)

t.test("topics, with their dead letters and retries, and groups", function()
  local core = require "sipeat.core.kafka"
  refused("the topic payroll ", core.post, { topic = "payroll", value = "x" })
  refused("the topic payroll ", core.reader, "payroll", "beginning")
  refused("the topic payroll-dlt ", core.reader, "payroll-dlt", "beginning")
  refused("the group other ", core.consumer, "other", { "orders" }, "beginning")
  refused("the topic payroll ", core.consumer, "billing", { "orders", "payroll" }, "beginning")
  for _, topic in ipairs { "orders", "orders-dlt", "orders-retry-1000", "audit-2024" } do
    local ok, message = pcall(core.reader, topic, "beginning")
    t.ok(ok or not tostring(message):find("permitted", 1, true), message)
  end
  refused("the topic orders-retry-x ", core.reader, "orders-retry-x", "beginning")
  refused("the topic orders2 ", core.reader, "orders2", "beginning")
  t.ok(kafka)
end)

t.test("files by what they are, wherever the name leads", function()
  refused("reading /etc/passwd ", bytes.read_file, "/etc/passwd")
  refused("reading /etc/passwd ", bytes.read_file, FOLDER .. "/docs/../../../../../../etc/passwd")
  refused("reading ", bytes.read_file, FOLDER .. "/docs/none/../../../etc/passwd")
  refused("reading " .. FOLDER .. "/docs2", bytes.list_files, FOLDER .. "/docs2")
  refused("writing ", bytes.write_file, FOLDER .. "/docs/index.md", "spoiled")
  t.has(t.ok(bytes.read_file(FOLDER .. "/docs/index.md")), "#")
  t.has(t.ok(bytes.read_file(FOLDER .. "/README.md")), "sipeat")
  local path = PLACE .. "/sipeat-permissions.txt"
  t.ok(bytes.write_file(path, "x"))
  t.eq(bytes.read_file(path), "x")
end)

t.test("databases are files, and nothing in SQL opens others", function()
  refused("writing ", sql.open, FOLDER .. "/stolen.db")
  local db = t.ok(sql.open ":memory:")
  for _, text in ipairs {
    "ATTACH '/tmp/sipeat-stolen.db' AS x", "VACUUM INTO '/tmp/sipeat-stolen.db'",
    "SELECT load_extension('/tmp/x.so')", "SELECT writefile('/tmp/sipeat-stolen.db', 'x')",
  } do
    t.eq(db:exec(text), nil, text)
  end
  db:close()
  refused("the host db.evil.example:5432 ", sql.open, "postgres://u:p@DB.evil.example/x")
  refused("the host 10.0.0.1:6000 ", sql.open,
    "postgres://127.0.0.1:5432,10.0.0.1:6000/x?connect_timeout=1")
  refused("the host 10.0.0.2:5432 ", sql.open, "postgres://127.0.0.1/x?hostaddr=10.0.0.2")
end)

t.test("serial ports and addresses to listen on", function()
  refused("the port /dev/ttyS0 ", serial.open, { port = "/dev/ttyS0" })
  refused("the port 127.0.0.1:0 ", http.listen, "127.0.0.1:0", {})
end)

t.test("variables, by both ways to read one", function()
  refused("the variable PATH ", os.getenv, "PATH")
  refused("the variable PATH ", env.get, "PATH")
  refused("the variable KAFKA_PASSWORD ", env.secret, "KAFKA_PASSWORD")
  t.eq(env.get "ALLOWED", nil)
  t.eq(os.getenv "APP_MODE", nil)
  t.ok(bytes.getenv "SIPEAT_SOURCE" == FOLDER or FOLDER == ".") -- the program's own names are free
end)

t.test("what a script uses is found in its text", function()
  local found = {}
  scan.scan([[
    local url = "https://Api.example.org/v1" .. "smtp://mail.example.org:587"
    ctx:emit("done", event.key, {}) ctx:emit "more"
    env.secret "API_KEY" os.getenv("HOME") sql.open "stock.db" sql.open(":memory:")
  ]], found)
  t.eq(scan.text(found), table.concat({
    "sipeat.permissions {",
    '  hosts = { "api.example.org:443", "mail.example.org:587" },',
    '  topics = { "done", "more" },',
    '  paths = { "stock.db" },',
    '  env = { "API_KEY", "HOME" },',
    "}\n",
  }, "\n"))
end)

free:stop()
