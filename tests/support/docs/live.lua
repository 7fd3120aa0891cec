--- Blocks that need a broker, a journal, a server or boards: a script that `sipeat dev` runs.
--
-- Each block is loaded where it stands here; what has to be seen afterwards is looked at by a task
-- once the script runs. "docs: passed NAME" in the log says that it was, and what it printed.
local docs = require "docs"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

local serial, vending = require "sipeat.serial", require "sipeat.vending"
local task = sipeat.task
local GROWN = "10s" -- more than anything here needs

local function send(topic, type, data, key)
  assert(sipeat.publish(type, data, { topic = topic, key = key or "k-1" }))
end

local function wait_online(machine)
  docs.wait(function()
    local status = vending.status(machine)
    return status and status.online
  end)
end

-- Something that another part tells when it has happened.
local function news()
  local channel = task.channel(1)
  return function(...)
    channel:send(table.pack(...))
    return true
  end, function()
    local _, got = assert(channel:recv(GROWN))
    return table.unpack(got, 1, got.n)
  end
end

-- A simulated board behind a link, in place of the port that a page names.
local function board(b, port, protocol, settings)
  local link = sipeat.env.get "BOARDS" .. ("/%s-%d-%s"):format(b.page, b.number, protocol)
  b:with(port, link)
  return assert(serial.simulate { protocol = protocol, settings = settings, link = link })
end

local function flow(topic, handler)
  sipeat.flow { topic = topic, group = topic, journal = true, on = { ["order.created"] = handler } }
end

docs.live("durable", 2, function(b)
  local wait = b:body()
  local begun, until_begun = news()
  local ended, until_ended = news()
  flow("docs.waits", function(event, ctx)
    begun()
    wait(event, ctx)
    return ended()
  end)
  return function()
    send("docs.waits", "order.created", { orderId = "o-1" })
    until_begun()
    assert(sipeat.signal("paid", "o-1", { by = "card" }))
    until_ended()
  end
end)

docs.live("journal", 1, function(b)
  local steps = b:fields { wanted = function(event)
    return { slot = event.data.slot }
  end }
  local tables = { "tables", effect = "local", run = function(_, ctx)
    return ctx:transact {
      { "CREATE TABLE IF NOT EXISTS stock (slot INTEGER PRIMARY KEY, count INTEGER)" },
      { "CREATE TABLE IF NOT EXISTS reservation (event TEXT, slot INTEGER)" },
      { "INSERT INTO stock VALUES (1, 1)" },
    }
  end, undo = function()
    return true
  end }
  local reserved, until_reserved = news()
  local last = { "last", effect = "local", run = function(_, ctx)
    reserved(ctx.results.reserve.slot)
    return nil, sipeat.permanent "so that it is undone"
  end }
  flow("docs.stock", sipeat.chain "stock" { tables, steps[1], last })
  return function()
    send("docs.stock", "order.created", { slot = 1 })
    t.eq(until_reserved(), 1)
    docs.wait(function() -- for its undo
      return not b:missed()
    end)
  end
end)

docs.live("http", 6, function(b)
  b:load { http = sipeat.http }
  return function()
    local body = table.concat({ "--x",
      'Content-Disposition: form-data; name="photo"; filename="a.png"',
      "Content-Type: image/png", "", "12345", "--x--", "" }, "\r\n")
    local url = "http://" .. sipeat.env.get "DOCS_HTTP" .. "/photos"
    local kind = "multipart/form-data; boundary=x"
    local answer
    docs.wait(function() -- until the routes of the script are there
      local options = { body = body, headers = { ["content-type"] = kind } }
      answer = assert(sipeat.http.post(url, options))
      return answer.status ~= 503
    end)
    t.eq(answer:json(), { bytes = 5 })
    t.eq(assert(sipeat.http.post(url, { body = "no form" })).status, 400)
  end
end)

docs.live("kafka", 1, function(b)
  return function()
    b:with("30s", "5s")
    b:load()
    t.eq(b.printed[1], b.printed[2] and b.printed[2]:match "^orders\t(%d+\t%d+)\to%-1\t{}$")
    t.ok(b.printed[#b.printed]:find "ETIMEDOUT")
  end
end)

docs.live("kafka", 2, function(b)
  b:load()
  return function()
    docs.wait(function()
      return sipeat.kafka.admin():describe_topic "order-events"
    end)
  end
end)

docs.live("serial", 1, function(b)
  local sim = board(b, "/dev/ttyUSB0", "modbus", { profile = "dispenser" })
  return function()
    local result = b:made({}, "result")
    t.eq(result.outcome, "done")
    sim:close()
  end
end)

docs.live("serial-payment", 1, function(b)
  local settings = { operation = 41, tap_ms = 10 }
  local sim = assert(serial.simulate { protocol = "vtk", settings = settings })
  return function()
    local line <close> = assert(serial.open { port = sim.path, protocol = "vtk" })
    repeat
      local note = assert(line:next(GROWN))
    until note.name == "identified"
    local kept, charge
    charge = b:made({ line = line, store = function(number)
      kept = number
    end }, "charge")
    t.eq({ kept, charge.outcome, charge.operation }, { 42, "done", 42 })
    sim:close()
  end
end)

docs.live("vending", 1, function(b)
  local port = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"
  local sim = board(b, port, "xy", { motor_ms = 1 })
  b:load()
  return function()
    t.ok(assert(vending.status "M1").online)
    wait_online "M2"
    vending.detach "M2"
    sim:close()
  end
end)

docs.live("vending", 3, function(b)
  local port = "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0"
  local sim = board(b, port, "modbus", { profile = "dispenser" })
  local books = board(b, "/dev/ttyUSB3", "dex")
  b:load { vending = vending }
  return function()
    wait_online "M3"
    vending.detach "M3"
    sim:close()
    books:close()
  end
end)

docs.live("vending", 4, function(b)
  local link = sipeat.env.get "BOARDS" .. "/reader"
  local sim = assert(serial.simulate {
    protocol = "vtk", settings = { tap_ms = 5, keepalive_s = 1 }, link = link,
  })
  assert(vending.attach {
    machine = "M4", driver = "simulated", settings = { slots = { 5 } },
    payment = {
      driver = "vtk", settings = { port = link, ready_time = "5s", settle_time = "0ms" },
    },
  })
  local sold, until_sold = news()
  local chain = sipeat.chain "card-sale"(b:fields { vending = vending })
  flow("docs.sales", function(event, ctx)
    local result, why, code = chain(event, ctx)
    if result then
      sold(result.payment.amount_minor, result.dispense.slot)
    end
    return result, why, code
  end)
  return function()
    send("docs.sales", "order.created", { machineId = "M4", slot = 1 })
    t.eq({ until_sold() }, { 250, 1 })
    t.eq(sim:command("state", {}).settled_minor, 250)
    vending.detach "M4"
    sim:close()
  end
end)

docs.begin()
