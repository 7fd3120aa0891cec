--- machine.created: the set of commands for each type, what each changes in the store, and that its
--- undo puts back what was there.
local events = require "flows.events"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local machine = require "flows.machine"
local rows = require "flows.machine.rows"
local store = require "flows.store"
local t = require "sipeat.luatest"
local vending = require "sipeat.vending"

local db = t.ok(require("flows.store.sqlite").open(":memory:"))
store.use(db)

local SLOTS = {
  { slot = 1, drink = "Cola", stock = 5, capacity = 8, price = 2.5 },
  { slot = 2, drink = "Water", stock = 3 },
}

local function event(id, changes)
  local data = {
    machineId = "M1", machineName = "Lobby", slots = SLOTS,
    location = { address = "1 Market Street", city = "Turin", latitude = 45.1, longitude = 7.7 },
    network = { mode = "static", address = "10.0.0.7", gateway = "10.0.0.1" },
    maintenance = { everyDays = 20, technician = "Ada" },
  }
  for name, value in pairs(changes or {}) do
    data[name] = value ~= json.null and value or nil
  end
  return t.ok(events.MachineCreated:new(data, { id = id }))
end

-- All that the store knows of a machine, without the times of writing.
local function snapshot(id)
  local out = {}
  for _, name in ipairs(rows.tables) do
    out[name] = t.ok(store.find(name, { machine_id = id or "M1" }))
    for _, row in ipairs(out[name]) do
      row.updated_at, row.next_at = nil, row.next_at and "some day"
    end
  end
  return out
end

local function clear()
  for _, name in ipairs(rows.tables) do
    t.ok(store.replace(name, { machine_id = "M1" }, {}))
    t.ok(store.replace(name, { machine_id = "M2" }, {}))
  end
end

local function run(ev)
  return machine.handler(ev, { id = ev.id })
end

t.test("a standard machine has a row in every table afterwards", function()
  clear()
  t.ok(run(event "e1"))
  local after = snapshot()
  t.eq(after.machines, { {
    machine_id = "M1", name = "Lobby", type = "standard", status = "active", proof = "sensor",
    driver = "simulated", address = "1 Market Street", city = "Turin", latitude = 45.1,
    longitude = 7.7, event_id = "e1",
  } })
  t.eq(after.inventory, {
    { machine_id = "M1", slot = 1, drink = "Cola", stock = 5, capacity = 8, price_minor = 250,
      currency = "EUR", event_id = "e1" },
    { machine_id = "M1", slot = 2, drink = "Water", stock = 3, capacity = 10, price_minor = 0,
      currency = "EUR", event_id = "e1" },
  })
  t.eq(after.machine_network, { {
    machine_id = "M1", mode = "static", address = "10.0.0.7", gateway = "10.0.0.1",
    mask = "255.255.255.0", event_id = "e1",
  } })
  t.eq(after.maintenance, { {
    machine_id = "M1", kind = "inspection", every_days = 20, technician = "Ada",
    next_at = "some day", event_id = "e1",
  } })
end)

for _, case in ipairs {
  { "standard", { network = 1, visits = { inspection = 30 } } },
  { "offline", { network = 0, visits = { inspection = 14 } } },
  { "Coffee", { network = 1, visits = { inspection = 30, cleaning = 7 } } },
} do
  local name, expected = table.unpack(case)
  t.test("the factory makes the commands of the type " .. name, function()
    clear()
    t.ok(run(event("f-" .. name, { type = name, maintenance = json.null })))
    local after, visits = snapshot(), {}
    for _, row in ipairs(after.maintenance) do
      visits[row.kind] = row.every_days
    end
    t.eq({ #after.machine_network, visits }, { expected.network, expected.visits })
    t.eq(after.machines[1].type, name:lower())
  end)
end

t.test("an unknown type is refused, with those that there are", function()
  clear()
  local _, why = run(event("e2", { type = "jukebox" }))
  t.eq({ why.code, why.kind }, { "UNKNOWN_MACHINE_TYPE", "permanent" })
  t.has(why.message, "coffee, offline, standard")
  t.eq(#snapshot().machines, 0)
end)

-- A store that fails for good at one write; what was there at that moment is kept.
local function failing(method, name, nth)
  local seen = {}
  local count = 0
  store.use(setmetatable({
    [method] = function(_, asked, ...)
      if asked == name then
        count = count + 1
        if count == nth then
          store.use(db)
          seen.before_failure = snapshot()
          return nil, failure.permanent("the store says no", "TEST")
        end
      end
      return db[method](db, asked, ...)
    end,
  }, { __index = function(_, other)
    return function(_, ...)
      return db[other](db, ...)
    end
  end }))
  return seen
end

-- command -> the write of the next one that fails, and the table that the command has changed
local UNDONE = {
  { "location", "replace", "machine_drivers", 1, changed = "machines" },
  { "driver", "replace", "inventory", 1, changed = "machine_drivers" },
  { "inventory", "replace", "machine_network", 1, changed = "inventory" },
  { "network", "replace", "maintenance", 1, changed = "machine_network" },
  { "maintenance", "replace", "maintenance", 2, changed = "maintenance" },
  { "cleaning", "change", "machines", 1, changed = "maintenance" },
}

for _, case in ipairs(UNDONE) do
  local command, method, name, nth = table.unpack(case)
  t.test(("undo of %s: a new machine leaves nothing behind"):format(command), function()
    clear()
    local seen = failing(method, name, nth)
    local _, why = run(event("u1-" .. command, { type = "coffee" }))
    store.use(db)
    t.has(why.message, "the store says no")
    t.has(table.concat(why.undone, ","), command)
    t.ok(#seen.before_failure[case.changed] > 0, command .. " had changed nothing")
    for _, one in ipairs(rows.tables) do
      t.eq(snapshot()[one], {}, one)
    end
  end)

  t.test(("undo of %s: an earlier machine is as it was"):format(command), function()
    clear()
    t.ok(run(event("old-" .. command, { machineName = "Old", network = json.null })))
    local before = snapshot()
    local seen = failing(method, name, nth)
    local _, why = run(event("u2-" .. command, { type = "coffee" }))
    store.use(db)
    t.has(why.message, "the store says no")
    t.ok(json.encode(seen.before_failure[case.changed]) ~= json.encode(before[case.changed]))
    t.eq(snapshot(), before)
  end)
end

t.test("undo of activation: the machine goes back to being set up", function()
  clear()
  t.ok(run(event "a1"))
  local activation = require("flows.machine.commands").activation
  t.ok(activation.undo({ machine_id = "M1" }))
  t.eq(snapshot().machines[1].status, "setting_up")
  t.ok(activation.run({ machine_id = "M1" }))
  t.eq(snapshot().machines[1].status, "active")
end)

t.test("an address that another machine has undoes what was done before, in reverse", function()
  clear()
  t.ok(run(event("n1", { machineId = "M2" })))
  local _, why = run(event "n2")
  t.eq({ why.code, why.kind, why.step }, { "ADDRESS_IN_USE", "permanent", "network" })
  t.eq(why.undone, { "inventory", "driver", "location" })
  t.has(why.message, "10.0.0.7")
  for _, one in ipairs(rows.tables) do
    t.eq(snapshot()[one], {}, one)
  end
end)

for _, case in ipairs {
  { "location", "INVALID_LOCATION", { location = "" } },
  { "location", "INVALID_LOCATION", { location = 7 } },
  { "location", "INVALID_LOCATION",
    { location = { address = "Here 1", latitude = 91, longitude = 0 } } },
  { "location", "INVALID_LOCATION", { location = { address = "Here 1", latitude = 1 } } },
  { "location", "INVALID_DRIVER", { driver = { proof = "hope" } } },
  { "location", "INVALID_DRIVER", { driver = { name = "modbus" } } },
  { "location", "INVALID_DRIVER", { driver = { name = "jukebox", port = "/dev/ttyUSB0" } } },
  { "location", "INVALID_DRIVER", { driver = { name = "modbus", port = "/x", speed = 1 } } },
  { "location", "INVALID_DRIVER",
    { driver = { name = "modbus", port = "/x", settings = { adress = 1 } } } },
  { "location", "INVALID_DRIVER", { driver = { name = "cctalk", port = "/x", proof = "sensor" } } },
  { "driver", "INVALID_DRIVER", { driver = { payment = { name = "vtk" } } } },
  { "inventory", "INVALID_SLOTS", { slots = {} } },
  { "inventory", "INVALID_SLOTS", { slots = { { slot = 0, drink = "x", stock = 1 } } } },
  { "inventory", "INVALID_SLOTS", { slots = { { slot = 1, drink = " ", stock = 1 } } } },
  { "inventory", "INVALID_SLOTS", { slots = { { slot = 1, drink = "x", stock = -1 } } } },
  { "inventory", "INVALID_SLOTS",
    { slots = { { slot = 1, drink = "x", stock = 3, capacity = 2 } } } },
  { "inventory", "INVALID_SLOTS",
    { slots = { { slot = 1, drink = "x", stock = 1, price = -1 } } } },
  { "inventory", "INVALID_SLOTS", { slots = { SLOTS[1], SLOTS[1] } } },
  { "network", "INVALID_NETWORK", { network = { mode = "pigeon" } } },
  { "network", "INVALID_NETWORK", { network = { mode = "static" } } },
  { "network", "INVALID_NETWORK", { network = { address = "10.0.0.256" } } },
  { "network", "INVALID_NETWORK", { network = { address = "10.0.0.2", mask = "255.0.255.0" } } },
  { "network", "INVALID_NETWORK", { network = { address = "10.0.0.2", gateway = "10.0.1.1" } } },
  { "network", "INVALID_NETWORK", { network = { address = "10.0.0.2", gateway = "10.0.0.2" } } },
  { "network", "INVALID_NETWORK", { network = { mode = "dhcp", address = "10.0.0.2" } } },
  { "maintenance", "INVALID_MAINTENANCE", { maintenance = { everyDays = 0 } } },
  { "maintenance", "INVALID_MAINTENANCE", { maintenance = { everyDays = 1.5 } } },
  { "maintenance", "INVALID_MAINTENANCE", { maintenance = { firstAt = "soon" } } },
} do
  local command, code, changes = table.unpack(case)
  t.test(("%s refuses %s"):format(command, json.encode(changes)), function()
    clear()
    local _, why = run(event("bad", changes))
    t.eq({ why.step, why.code, why.kind }, { command, code, "permanent" })
    t.eq(snapshot().machines, {})
  end)
end

t.test("a real driver is kept with its settings, and attached with them", function()
  clear()
  t.ok(run(event("d1", { driver = {
    name = "modbus", port = "/nowhere/board", readyTime = "1ms", settings = { address = 7 },
    payment = { name = "vtk", port = "/nowhere/reader" },
  } })))
  local row = snapshot().machines[1]
  t.eq({ row.driver, row.proof }, { "modbus", "sensor" })
  local driver = snapshot().machine_drivers[1]
  t.eq(json.decode(driver.settings),
    { port = "/nowhere/board", ready_time = "1ms", settings = { address = 7 } })
  t.eq(json.decode(driver.payment), { driver = "vtk", settings = { port = "/nowhere/reader" } })
  t.ok(require("flows.fleet").attach(t.ok(store.first("machines", { machine_id = "M1" }))))
  t.eq(t.ok(vending.capabilities "M1").driver, "modbus")
  local _, why = vending.dispense({ machine = "M1", slot = 1 }, { key = "nowhere" })
  t.eq(why.code, "NOT_SENT")
  vending.detach "M1"
end)

t.test("the same event again changes nothing, and its undo leaves nothing", function()
  clear()
  local ev = event "again"
  t.ok(run(ev))
  local once = snapshot()
  t.ok(run(ev))
  t.eq(snapshot(), once)
end)

t.test("a machine that is set up anew gets its new stock, and keeps its counters", function()
  clear()
  t.ok(run(event "v1"))
  t.ok(require("flows.fleet").attach(t.ok(store.first("machines", { machine_id = "M1" }))))
  t.eq(vending.status("M1").slots[1].stock, 5)
  t.ok(run(event("v2", { slots = { { slot = 1, drink = "Cola", stock = 8 } } })))
  t.ok(vending.dispense({ machine = "M1", slot = 1 }, { key = "approval" }))
  t.ok(require("flows.fleet").attach(t.ok(store.first("machines", { machine_id = "M1" }))))
  t.eq(vending.status("M1").slots, { { stock = 8, fallen = 1 }, { stock = 3, fallen = 0 } })
end)
