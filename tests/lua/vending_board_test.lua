--- sipeat.vending over real engines, with their simulators behind pseudo-terminals: one order for
--- each approval, the counters before it, who the board is, and what is told of it.
local failure = require "sipeat.failure"
local ledger = require "sipeat.vending_ledger"
local orders = require "sipeat.vending_order"
local profiles = require "sipeat.vending_profiles"
local publish = require "sipeat.publish"
local serial = require "sipeat.serial"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"
local vending = require "sipeat.vending"

local FAST = { -- of simulated boards
  xy = { motor_ms = 60, poll_ms = 110 },
  modbus = { profile = "dispenser", motor_ms = 100 },
}
local ENGINE = {
  xy = { drain_polls = 1, job_ms = 1500 },
  modbus = { profile = "dispenser", counter_register = 0, reply_ms = 100, job_ms = 2000,
    health_ms = 300 },
}

local made = 0
local folder = "/tmp/sipeat-vending-" .. sys.uuid() .. "-" -- of links, which end with their boards

local function simulator(protocol, link, changes)
  local settings = {}
  for name, value in pairs(FAST[protocol]) do
    settings[name] = value
  end
  for name, value in pairs(changes or {}) do
    settings[name] = value
  end
  return t.ok(serial.simulate { protocol = protocol, settings = settings, link = link })
end

local function settings_of(protocol, port, changes)
  local settings = {
    port = port, settings = ENGINE[protocol], settle_time = "300ms", ready_time = "3s",
  }
  for name, value in pairs(changes or {}) do
    settings[name] = value
  end
  return settings
end

-- A machine with a simulated board behind it: its id, and the board.
local function machine(protocol, changes)
  made = made + 1
  local id = "BOARD-" .. made
  local board = simulator(protocol, folder .. id)
  t.ok(vending.attach {
    machine = id, driver = protocol, settings = settings_of(protocol, folder .. id, changes),
  })
  return id, board
end

local function dispense(id, approval, slot)
  return vending.dispense({ machine = id, slot = slot or 1 }, { key = approval })
end

local function reconcile(id, approval)
  return vending.reconcile({ machine = id, slot = 1 }, { key = approval })
end

local function state(board)
  return t.ok(board:command "state")
end

local function finish(id, board)
  vending.detach(id)
  board:close()
end

for protocol in pairs(FAST) do
  t.test(protocol .. ": a drink falls once for an approval, and the sensor saw it", function()
    local id, board = machine(protocol)
    local result = t.ok(dispense(id, "a"))
    t.eq({ result.proof, result.slot, result.approval }, { "sensor", 1, "a" })
    t.eq(t.ok(dispense(id, "a")).dispensed_at, result.dispensed_at)
    t.eq({ state(board).motor_runs, state(board).fallen }, { 1, 1 })
    t.eq(reconcile(id, "a"), "done")
    local status = t.ok(vending.status(id))
    t.eq({ status.online, status.driver, status.port }, { true, protocol, folder .. id })
    finish(id, board)
  end)

  t.test(protocol .. ": a jam is permanent, and not tried again", function()
    local id, board = machine(protocol)
    t.ok(board:command("fault", { kind = "jam" }))
    local _, why = dispense(id, "a")
    t.eq({ why.code, why.kind }, { "JAMMED", "permanent" })
    t.eq(select(2, dispense(id, "a")).code, "JAMMED")
    t.eq({ state(board).motor_runs, state(board).fallen }, { 1, 0 })
    t.eq(reconcile(id, "a"), "not_done")
    finish(id, board)
  end)

  t.test(protocol .. ": without a board nothing is ordered, and it may be asked again", function()
    made = made + 1
    local id = "BOARD-" .. made
    t.ok(vending.attach {
      machine = id, driver = protocol,
      settings = settings_of(protocol, folder .. id, { ready_time = "50ms" }),
    })
    local _, why = dispense(id, "a")
    t.eq({ why.code, failure.proves_absence(why) }, { "NOT_SENT", true })
    t.eq(t.ok(vending.status(id)).online, false)
    vending.detach(id)
  end)
end

t.test("capabilities are those of the driver with its settings", function()
  local id, board = machine "modbus"
  t.eq(t.ok(vending.capabilities(id)), {
    driver = "modbus", dispense = true, proof_of_dispense = "sensor", counters = true,
    credit = true, payment = false, audit = false,
  })
  t.eq(t.ok(vending.counters(id)).total, 0)
  finish(id, board)
  t.eq({ profiles.of("xy", { sensor = 0 }).proof, profiles.of("dex", {}).audits }, { "none", true })
end)

for _, case in ipairs {
  { "modbus", {}, "port is required" },
  { "modbus", { port = "/x", settings = { adress = 2 } }, "did you mean address" },
  { "xy", { port = "/x", prot = 1 }, "did you mean port" },
  { "zz", { port = "/x" }, "known: cctalk, dex, modbus" },
} do
  t.test("settings are looked at before anything is opened: " .. case[3], function()
    local ok, why = vending.check(case[1], case[2])
    t.eq(ok, nil)
    t.has(why.message, case[3])
    t.eq(why.kind, "permanent")
    t.eq(select(2, vending.attach { machine = "X", driver = case[1], settings = case[2] }).code,
      why.code)
  end)
end

-- A board that is unplugged while its motor turns.
local function lose(protocol, id, board)
  local job = task.spawn(dispense, id, "a")
  while state(board).motor_runs == 0 do
    task.sleep "5ms"
  end
  t.ok(board:command "unplug")
  local _, why = job:join()
  t.eq({ protocol, why.code }, { protocol, "OUTCOME_UNKNOWN" })
end

t.test("unplugged while the motor turns: the counter tells, once it is back", function()
  local id, board = machine("modbus", { ready_time = "100ms" })
  lose("modbus", id, board)
  local verdict, why = reconcile(id, "a")
  t.eq({ verdict, why.kind }, { nil, "transient" })
  local _, closed = dispense(id, "b", 2)
  t.eq(closed.code, "NOT_SENT", "its counter is that of all slots")
  t.ok(board:command "replug")
  for _ = 1, 50 do
    verdict = reconcile(id, "a")
    if verdict then
      break
    end
  end
  t.eq(verdict, "done")
  t.ok(dispense(id, "b", 2))
  t.eq({ state(board).motor_runs, state(board).fallen }, { 2, 2 })
  finish(id, board)
end)

t.test("a board without a counter leaves the doubt, and nothing is repeated", function()
  local id, board = machine("xy", { settle_time = "100ms" })
  t.ok(board:command("fault", { kind = "mute", times = 5 }))
  lose("xy", id, board)
  t.ok(board:command "replug")
  t.eq(reconcile(id, "a"), "unknown")
  t.eq(select(2, dispense(id, "a")).code, "OUTCOME_UNKNOWN")
  t.eq(state(board).motor_runs, 1)
  finish(id, board)
end)

t.test("another board than configured is refused, and what it is said", function()
  made = made + 1
  local id = "BOARD-" .. made
  local board = simulator("modbus", folder .. id)
  t.ok(vending.attach {
    machine = id, driver = "modbus",
    settings = settings_of("modbus", folder .. id, { id = "address 7" }),
  })
  local _, why = dispense(id, "a")
  t.eq(why.code, "NOT_SENT")
  t.has(why.message, "another board")
  t.eq({ state(board).orders, t.ok(vending.status(id)).state }, { 0, "wrong_board" })
  finish(id, board)
end)

t.test("an order of a process that is gone is settled by the counter", function()
  local book = ledger.file ":memory:"
  local board = simulator("modbus", folder .. "GONE")
  local device = t.ok(require("sipeat.vending_board").driver("modbus").open("GONE",
    settings_of("modbus", folder .. "GONE")))
  local machine_of = {
    id = "GONE", device = device, running = {}, turn = task.semaphore(1), quiet_at = 0,
  }
  local function ask(approval, here)
    local args = { machine = "GONE", slot = 1, ledger = here }
    return (orders.reconcile(book, machine_of, args, approval))
  end
  local function ordered(approval, name)
    t.ok(book:add {
      machine = "GONE", approval = approval, slot = 1, before = { count = 0 }, state = "ordered",
      board = name or "modbus address 1 at " .. folder .. "GONE", at_ms = sys.now_ms(),
    })
  end
  local function order(approval)
    return orders.dispense(book, machine_of, { slot = 1 }, approval)
  end
  ordered "lost"
  t.eq(ask "lost", "not_done")
  t.eq(select(2, order "lost").code, "NOT_DISPENSED", "an approval is ordered once")
  t.ok(order "mine")
  ordered "fell"
  t.eq(ask "fell", "done")
  ordered("other", "modbus address 1 at elsewhere")
  t.eq(ask "other", "unknown", "another board's counter says nothing")
  t.eq(ask "never", "unknown")
  t.eq(ask("never", t.ok(book:here())), "not_done", "this ledger would know")
  t.eq(ask("never", "another ledger"), "unknown")
  t.eq(state(board).motor_runs, 1)
  t.eq(#book:untold(), 2)
  device:close()
  board:close()
end)

-- A machine with a reader, whose customers hold up their cards at once.
local READERS = {
  vtk = { customers = { tap_ms = 5, keepalive_s = 1 } },
  qibixx = { customers = { card_ms = 5 }, settings = { slave = 0, master = 2 } },
}

local function with_reader(protocol)
  made = made + 1
  local id, reader = "READER-" .. made, READERS[protocol or "vtk"]
  local board = t.ok(serial.simulate {
    protocol = protocol or "vtk", settings = reader.customers, link = folder .. id,
  })
  t.ok(vending.attach {
    machine = id, settings = { slots = { 5 } },
    payment = {
      driver = protocol or "vtk",
      settings = {
        port = folder .. id, ready_time = "5s", settle_time = "0ms", settings = reader.settings,
      },
    },
  })
  return id, board
end

t.test("a reader charges once for an approval, and books what was delivered", function()
  local id, board = with_reader()
  local args = { machine = id, amount_minor = 250 }
  local charged = t.ok(vending.charge(args, { key = "pay" }))
  t.eq(charged.amount_minor, 250)
  t.eq(t.ok(vending.charge(args, { key = "pay" })).operation, charged.operation)
  t.eq(vending.reconcile_charge(args, { key = "pay" }), "done")
  t.ok(vending.settle { machine = id, operation = charged.operation, amount_minor = 250 })
  local books = state(board)
  t.eq({ books.charges, books.charged_minor, books.settled_minor }, { 1, 250, 250 })
  t.eq(t.ok(vending.capabilities(id)).payment, true)
  finish(id, board)
end)

t.test("a charge is given back, and one that is declined is permanent", function()
  local id, board = with_reader()
  local args = { machine = id, amount_minor = 300 }
  local charged = t.ok(vending.charge(args, { key = "pay" }))
  t.ok(vending.refund(args, charged))
  t.eq(state(board).settled_minor, 0)
  t.ok(board:command("decline", { times = 1 }))
  local _, why = vending.charge(args, { key = "again" })
  t.eq({ why.code, why.kind }, { "DECLINED", "permanent" })
  t.eq(vending.reconcile_charge(args, { key = "again" }), "not_done")
  finish(id, board)
  t.ok(vending.attach { machine = id, settings = { slots = { 5 } } })
  t.eq(select(2, vending.charge(args, { key = "no" })).code, "ENOTSUP")
  vending.detach(id)
end)

t.test("what a reader without numbers had approved before it was lost stays a doubt", function()
  local id, board = with_reader "qibixx"
  local args = { machine = id, amount_minor = 300 }
  local function charge(key) -- it takes a while until the reader is there
    for _ = 1, 100 do
      local charged, why = vending.charge(args, { key = key })
      if charged or why.code ~= "NOT_SENT" then
        return t.ok(charged, why)
      end
      task.sleep "50ms"
    end
  end
  charge "pay"
  t.ok(vending.settle { machine = id, amount_minor = 300 })
  t.eq(state(board).committed, 1)
  local lost = t.ok(charge "lost")
  t.ok(board:command "unplug")
  t.ok(board:command "replug")
  local _, why = vending.settle { machine = id, amount_minor = 300 }
  t.eq({ why.code, failure.proves_absence(why) }, { "OUTCOME_UNKNOWN", false })
  t.eq(select(2, vending.refund(args, lost)).kind, "permanent", "not given back: somebody looks")
  t.eq(state(board).committed, 1)
  finish(id, board)
end)

t.test("a charge of a process that is gone is taken up under its number", function()
  local port = folder .. "PAID"
  local board = t.ok(serial.simulate {
    protocol = "vtk", settings = { tap_ms = 5, keepalive_s = 1 }, link = port,
  })
  local function attach()
    return t.ok(require("sipeat.vending_board").driver("vtk").open("PAID",
      { port = port, ready_time = "5s", settle_time = "0ms" }, nil, "payment"))
  end
  local book, device = ledger.file ":memory:", attach()
  t.ok(device:ready())
  local number = t.ok(device:ask "counters").next_operation
  t.eq(t.ok(device.line:command("charge", { amount_minor = 250, operation = number })).outcome,
    "done")
  local name = device.board
  device:close() -- and nobody heard of it
  device = attach()
  local reader = {
    id = "PAID", device = device, running = {}, turn = task.semaphore(1), quiet_at = 0,
    is_reader = true,
  }
  local function charged(approval, operation)
    t.ok(book:add {
      machine = "PAID", approval = approval, state = "ordered", board = name,
      before = { amount_minor = 250, operation = operation }, at_ms = sys.now_ms(),
    })
    return orders.reconcile(book, reader, {}, approval)
  end
  local verdict, result = charged("seen", number)
  t.eq({ verdict, result.amount_minor, result.operation }, { "done", 250, number })
  t.ok(device:settle(number, 250, true))
  t.eq(charged("unseen", number + 1), "not_done")
  t.eq(charged("foreign", number + 5), "unknown")
  t.eq({ state(board).charges, #book:untold() }, { 1, 0 })
  device:close()
  board:close()
end)

t.test("a machine's books are read", function()
  made = made + 1
  local id = "AUDIT-" .. made
  local board = t.ok(serial.simulate { protocol = "dex", link = folder .. id })
  t.ok(vending.attach {
    machine = id, settings = { slots = { 5 } },
    audit = { driver = "dex", settings = { port = folder .. id, ready_time = "3s" } },
  })
  local books = t.ok(vending.audit(id))
  t.has(books.text, "DXS*")
  t.eq({ books.trusted, t.ok(vending.capabilities(id)).audit }, { true, true })
  finish(id, board)
end)

t.test("an order whose claim is refused does not leave", function()
  local id, board = machine "modbus"
  local args = { machine = id, slot = 1 }
  local _, why = vending.dispense(args, { key = "a" }, function()
    return nil, "not yours", "TAKEN"
  end)
  t.eq({ why.code, state(board).orders }, { "NOT_SENT", 0 })
  t.ok(vending.dispense(args, { key = "a" }, function() return true end))
  t.eq(state(board).orders, 1)
  finish(id, board)
end)

-- What is true once it has come.
local function await(what, condition)
  for _ = 1, 500 do
    if condition() then
      return
    end
    task.sleep "10ms"
  end
  error("not in time: " .. what, 2)
end

t.test("coins are money that was put in, and a payout moves the counters", function()
  made = made + 1
  local id, port = "COINS-" .. made, folder .. made
  local board = t.ok(serial.simulate {
    protocol = "cctalk", settings = { tube = 5 }, link = port,
  })
  t.ok(vending.attach {
    machine = id, driver = "cctalk",
    settings = { port = port, settings = { coins = "5,10,20" }, ready_time = "10s" },
  })
  t.eq(t.ok(vending.credit(id)), { amount_minor = 0, count = 0 })
  local total = t.ok(vending.counters(id)).total
  await("a coin", function() -- one that came before the first reading is not paid
    t.ok(board:command("coin", { position = 3 }))
    return vending.credit(id).count > 0
  end)
  local credit = vending.credit(id)
  t.eq(credit.amount_minor, 20 * credit.count)
  t.ok(dispense(id, "a"))
  t.eq(t.ok(vending.counters(id)).total, total + 1)
  t.eq(state(board).fell, 1)
  finish(id, board)
end)

t.test("what a machine says of itself is told: status, sale, fault, audit", function()
  local real, told = publish.publish, {}
  publish.publish = function(kind, data, options)
    told[#told + 1] = { kind = kind.type, data = data, options = options }
    return true
  end
  local _ <close> = setmetatable({}, { __close = function()
    vending.events {}
    publish.publish = real
  end })
  local function last(kind, machine_id)
    for i = #told, 1, -1 do
      if told[i].kind == kind and told[i].data.machineId == machine_id then
        return told[i].data, told[i].options
      end
    end
    return {}
  end
  vending.events { topic = "health" }
  local id, board = machine "modbus"
  await("ready", function() return last("machine.status", id).state == "ready" end)
  t.ok(dispense(id, "sold"))
  await("the sale", function() return last("machine.sale", id).approval == "sold" end)
  local sale, options = last("machine.sale", id)
  t.eq({ sale.slot, sale.proof, options.topic }, { 1, "sensor", "health" })
  t.ok(board:command("fault", { kind = "jam" }))
  t.eq(select(2, dispense(id, "jammed")).code, "JAMMED")
  await("the fault", function() return last("machine.fault", id).approval == "jammed" end)
  t.eq(last("machine.fault", id).code, "JAMMED")
  t.ok(board:command "unplug")
  await("offline", function() return last("machine.status", id).state == "offline" end)
  t.eq(last("machine.status", id).port, folder .. id)
  finish(id, board)
  local books = t.ok(serial.simulate { protocol = "dex", link = folder .. "BOOKS" })
  t.ok(vending.attach {
    machine = "BOOKS", settings = { slots = { 5 } },
    audit = { driver = "dex", settings = { port = folder .. "BOOKS", ready_time = "3s" } },
  })
  t.ok(vending.audit "BOOKS")
  await("the audit", function() return last("machine.audit", "BOOKS").ok end)
  t.has(last("machine.audit", "BOOKS").text, "DXS*")
  finish("BOOKS", books)
end)
