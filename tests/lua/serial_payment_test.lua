--- ccTalk, Vendotek and DEX over pseudo-terminals: engine and simulator, as scripts use them.
local json = require "sipeat.json"
local serial = require "sipeat.serial"
local t = require "sipeat.luatest"

local WAIT = { timeout = "20s" }

local function pair(protocol, host_settings, board_settings)
  local board = t.ok(serial.simulate { protocol = protocol, settings = board_settings })
  local options = { port = board.path, protocol = protocol, settings = host_settings }
  return board, t.ok(serial.open(options))
end

local function until_note(line, name)
  local note
  repeat
    note = t.ok(line:next("20s"))
  until note.name == name
  return note
end

t.test("ccTalk: coins in, coins out, and a payout that fails", function()
  local board, host = pair("cctalk", { coins = "5,10,20" }, { tube = 3, echo = "yes" })
  local b <close> = board
  local h <close> = host
  local hopper, counting -- what came before the first reading of the counter is not paid
  repeat
    local note = t.ok(h:next("20s"))
    hopper = hopper or note.name == "identified" and note.address == 3
    counting = counting or note.name == "counting"
  until hopper and counting
  t.ok(b:command("coin", { position = 3 }))
  t.eq(until_note(h, "credit").amount_minor, 20)
  local before = t.ok(h:command("counters", { slot = 1 }, WAIT))
  local paid = t.ok(h:command("dispense", { slot = 1, quantity = 2 }, WAIT))
  t.eq({ paid.outcome, paid.quantity, paid.proof }, { "done", 2, "counter" })
  local again = t.ok(h:command("resolve", {
    quantity = 2,
    hopper_event = before.hopper_event,
    hopper_total = before.hopper_total,
    hopper_serial = before.hopper_serial,
  }, WAIT))
  t.eq({ again.outcome, again.quantity }, { "done", 2 })
  t.eq(b:command("state", {}).fell, 2)
  t.ok(b:command("nak", {}))
  local refused = t.ok(h:command("dispense", {}, WAIT))
  t.eq({ refused.outcome, refused.code }, { "failed", "REFUSED" })
end)

t.test("Vendotek: a charge has the number that was stored, and is settled", function()
  local board, host = pair("vtk", nil, { operation = 41, tap_ms = 10 })
  local b <close> = board
  local h <close> = host
  t.eq(until_note(h, "identified").operation, 41)
  local number = h:command("counters", {}, WAIT).next_operation
  t.eq(number, 42)
  local charge = t.ok(h:command("charge", { amount_minor = 250, operation = number }, WAIT))
  t.eq({ charge.outcome, charge.amount_minor, charge.operation }, { "done", 250, 42 })
  t.eq(h:command("settle", { ok = true }, WAIT).outcome, "done")
  t.eq(b:command("state", {}).settled_minor, 250)
  local nothing, message, code = h:command("settle", { ok = true }, WAIT)
  t.eq({ nothing, code }, { nil, "EINVAL" })
  t.has(message, "not open")
end)

t.test("DEX: an audit is read whole, with its events", function()
  local board, host = pair("dex", nil, { products = 2 })
  local b <close> = board
  local h <close> = host
  t.ok(b:command("vend", { slot = 2, count = 3 }))
  local audit = t.ok(h:command("audit", {}, WAIT))
  t.eq({ audit.verdict, audit.trusted, audit.id }, { "ok", true, "MACHINE001" })
  t.has(audit.text, ("G85*%s\r\nSE*%d*0001"):format(audit.g85, audit.se))
  local products = {}
  for _, event in ipairs(json.decode(audit.events)) do
    if event.event == "product" then
      products[#products + 1] = event.count
    end
  end
  t.eq(products, { 0, 3 })
end)
