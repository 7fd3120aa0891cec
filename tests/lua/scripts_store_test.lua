--- The store of the flows: the same promises from SQLite and, when NEXT_PUBLIC_SUPABASE_URL is set,
--- from Supabase (tests/e2e/store_test.py runs this file against a fake of it).
local env = require "sipeat.env"
local store = require "flows.store"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

if not env.get "NEXT_PUBLIC_SUPABASE_URL" then
  store.use(t.ok(require("flows.store.sqlite").open(":memory:")))
end

local function slot(machine, number, stock)
  return {
    machine_id = machine, slot = number, drink = "Cola", stock = stock, capacity = stock + 1,
    price_minor = 250, currency = "EUR", event_id = "e",
  }
end

local function stock_of(machine, number)
  return t.ok(store.first("inventory", { machine_id = machine, slot = number })).stock
end

t.test("a row is found as it was put, and empty columns are absent", function()
  t.ok(store.put("contacts", {
    email = "a@b.example", name = "A 'quoted' \"name\"", type = "general", message = "ä, ()&=%\n",
    score = 5, reasons = "", event_id = "e1",
  }))
  local row = t.ok(store.first("contacts", { email = "a@b.example" }))
  t.eq({ row.name, row.message, row.score, row.phone },
    { "A 'quoted' \"name\"", "ä, ()&=%\n", 5, nil })
  t.eq(store.first("contacts", { email = "nobody@b.example" }), false)
end)

t.test("putting a row again changes it: there are never two", function()
  local row = {
    email = "a@b.example", name = "B", type = "general", message = "x", score = 6, reasons = "",
    event_id = "e1", phone = "123",
  }
  t.ok(store.put("contacts", row))
  t.ok(store.put("contacts", row))
  local rows = t.ok(store.find("contacts", { email = "a@b.example" }))
  t.eq({ #rows, rows[1].name, rows[1].phone }, { 1, "B", "123" })
end)

t.test("replacing leaves exactly the new rows, and only of what fits", function()
  t.ok(store.replace("inventory", { machine_id = "R" }, { slot("R", 1, 5), slot("R", 2, 5) }))
  t.ok(store.replace("inventory", { machine_id = "other" }, { slot("other", 1, 9) }))
  t.ok(store.replace("inventory", { machine_id = "R" }, { slot("R", 2, 7), slot("R", 3, 1) }))
  local rows = t.ok(store.find("inventory", { machine_id = "R" }))
  t.eq({ #rows, rows[1].slot, rows[1].stock, rows[2].slot }, { 2, 2, 7, 3 })
  t.eq(stock_of("other", 1), 9)
  t.ok(store.replace("inventory", { machine_id = "R" }, {}))
  t.eq(t.ok(store.find("inventory", { machine_id = "R" })), {})
end)

t.test("replacing a row puts back what was empty", function()
  local function network(mode, address)
    return { machine_id = "N", mode = mode, address = address, event_id = "e" }
  end
  t.ok(store.replace("machine_network", { machine_id = "N" }, { network("static", "10.0.0.1") }))
  t.ok(store.replace("machine_network", { machine_id = "N" }, { network "dhcp" }))
  local row = t.ok(store.first("machine_network", { machine_id = "N" }))
  t.eq({ row.mode, row.address }, { "dhcp", nil })
end)

t.test("a row that breaks a rule is refused for good, and named", function()
  local bad = slot("B", 1, 1)
  bad.stock = -1
  local ok, why = store.put("inventory", bad)
  t.eq({ ok, why.code, why.kind }, { nil, "SQL_CHECK", "permanent" })
  t.ok(store.put("machine_network", {
    machine_id = "U1", mode = "static", address = "10.9.9.9", event_id = "e",
  }))
  ok, why = store.put("machine_network", {
    machine_id = "U2", mode = "static", address = "10.9.9.9", event_id = "e",
  })
  t.eq({ ok, why.code, why.kind }, { nil, "SQL_UNIQUE", "permanent" })
end)

t.test("what is old is forgotten", function()
  for id, at in pairs { old = "2026-01-01T00:00:00Z", new = "2026-03-01T00:00:00Z" } do
    t.ok(store.put("submissions", {
      event_id = id, kind = "contact.created", digest = "d", about = "{}", state = "sent",
      created_at = at,
    }))
  end
  t.eq(store.forget("submissions", "2026-02-01T00:00:00.000Z"), 1)
  t.eq(store.first("submissions", { event_id = "old" }), false)
  t.ok(store.first("submissions", { event_id = "new" }))
end)

t.test("a change tells how many rows were in the state it expected", function()
  t.ok(store.replace("inventory", { machine_id = "C" }, { slot("C", 1, 3) }))
  t.ok(store.reserve("c1", "C", 1))
  local wanted = { event_id = "c1", state = "held" }
  t.eq(store.change("reservations", wanted, { state = "dispensing" }), 1)
  t.eq(store.change("reservations", wanted, { state = "dispensing" }), 0)
end)

t.test("an event reserves once, however often it comes", function()
  t.ok(store.replace("inventory", { machine_id = "O" }, { slot("O", 1, 5) }))
  for _ = 1, 3 do
    local row = t.ok(store.reserve("o1", "O", 1))
    t.eq({ row.slot, row.drink, row.state }, { 1, "Cola", "held" })
  end
  t.eq(stock_of("O", 1), 4)
end)

t.test("releasing puts one back, once; afterwards the event may reserve again", function()
  t.eq(store.release "o1", true)
  t.eq(store.release "o1", false)
  t.eq(store.release "never", false)
  t.eq(stock_of("O", 1), 5)
  t.eq(t.ok(store.reserve("o1", "O", 1)).state, "held")
  t.eq(stock_of("O", 1), 4)
end)

t.test("what has fallen is not put back", function()
  t.eq(store.change("reservations", { event_id = "o1" }, { state = "dispensed" }), 1)
  t.eq(store.release "o1", false)
  t.eq(t.ok(store.reserve("o1", "O", 1)).state, "dispensed")
  t.eq(stock_of("O", 1), 4)
end)

t.test("requests at the same time never sell more than there is", function()
  t.ok(store.replace("inventory", { machine_id = "S" }, { slot("S", 1, 7) }))
  local held, sold_out, jobs = 0, 0, {}
  for i = 1, 25 do
    jobs[i] = function()
      local row, why = store.reserve("s" .. i, "S", 1)
      if row then
        held = held + 1
      else
        t.eq({ why.code, why.kind }, { "SOLD_OUT", "permanent" })
        sold_out = sold_out + 1
      end
      return true
    end
  end
  t.ok(task.gather(jobs))
  t.eq({ held, sold_out, stock_of("S", 1) }, { 7, 18, 0 })
end)
