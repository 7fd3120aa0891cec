--- What machines say of themselves, as rows: their last state, and the visits that faults make due.
local events = require "flows.events"
local health = require "flows.health"
local store = require "flows.store"
local t = require "sipeat.luatest"

store.use(t.ok(require("flows.store.sqlite").open(":memory:")))

local made = 0

-- Handles an event of a machine; its row of machine_health, and its visits.
local function tell(machine, kind, data)
  made = made + 1
  data.machineId = machine
  local event = t.ok(events.machine[kind]:new(data, { id = "h" .. made }))
  t.ok(health.handlers[events.machine[kind]](event, { id = event.id }))
  local visits = {}
  for _, row in ipairs(t.ok(store.find("maintenance", { machine_id = machine }))) do
    visits[#visits + 1] = row.kind
  end
  return t.ok(store.first("machine_health", { machine_id = machine })), table.concat(visits, " ")
end

t.test("the last state is kept, and being unplugged for a while is no visit", function()
  local row, visits = tell("H1", "status", { state = "offline", reason = "gone" })
  t.eq({ row.state, row.reason, visits }, { "offline", "gone", "" })
  row, visits = tell("H1", "status", { state = "ready", board = "modbus 1" })
  t.eq({ row.state, row.reason, row.board, visits }, { "ready", "", "modbus 1", "" })
end)

for _, case in ipairs {
  { "JAMMED", "repair" }, { "OUTCOME_UNKNOWN", "repair" }, { "SOLD_OUT", "refill" },
  { "NOT_SENT", "" },
} do
  t.test(("a fault %s makes a visit due: %q"):format(case[1], case[2]), function()
    local machine = "H-" .. case[1]
    local row, visits = tell(machine, "fault", { code = case[1], reason = "why", slot = 1 })
    t.eq({ row.last_fault, row.state, visits }, { case[1] .. ": why", "unknown", case[2] })
    local first = store.first("maintenance", { machine_id = machine })
    tell(machine, "fault", { code = case[1] })
    local again = store.first("maintenance", { machine_id = machine })
    t.eq(again and again.event_id, first and first.event_id, "it is due already")
  end)
end

t.test("another board than its own is looked at", function()
  local row, visits = tell("H2", "status", { state = "wrong_board", reason = "it is 2" })
  t.eq({ row.state, visits }, { "wrong_board", "repair" })
end)

t.test("sales and audits leave their time", function()
  local row = tell("H3", "sale", { slot = 1, approval = "a", proof = "sensor" })
  t.ok(row.last_sale_at)
  t.ok(tell("H3", "audit", { text = "DXS*…" }).audited_at)
end)
