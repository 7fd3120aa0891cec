--- Vending machines behind one interface, in the shape of a chain's step: dispense, reconcile.
--
-- A machine is attached with the driver that speaks to its board. For each approval (ctx.key) the
-- motor is commanded at most once: asking again gives the recorded outcome. What is ordered stands
-- in a ledger before it leaves, with what the board's counters said; with a ledger in a file
-- another process can tell after a crash what became of it. Codes: UNKNOWN_MACHINE, UNKNOWN_SLOT,
-- SOLD_OUT, JAMMED (permanent: nothing fell); NOT_SENT (the motor did not move: try again);
-- OUTCOME_UNKNOWN (reconcile says more).
local events = require "sipeat.vending_events"
local failure = require "sipeat.failure"
local ledger = require "sipeat.vending_ledger"
local opts = require "sipeat.opts"
local orders = require "sipeat.vending_order"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local PART = opts.spec("sipeat.vending.part", {
  driver = { "string", required = true },
  settings = { "table", default = {} },
})

local ATTACH = opts.spec("sipeat.vending.attach", {
  machine = { "string", required = true },
  driver = { "string", default = "simulated" },
  settings = { "table", default = {} },
  payment = { "table", spec = PART },
  audit = { "table", spec = PART },
})

local EVENTS = opts.spec("sipeat.vending.events", {
  topic = { "string" },
})

-- This module is compiled in: machines and their approvals survive a reload of the script.
local drivers = {
  simulated = function()
    return require "sipeat.vending_sim"
  end,
}
for _, protocol in ipairs { "xy", "modbus", "cctalk", "qibixx", "vtk", "dex" } do
  drivers[protocol] = function()
    return require("sipeat.vending_board").driver(protocol)
  end
end
local machines = {} -- id -> { device, payment?, audit?, turn, running, quiet_at }
local book, book_path = ledger.memory(), nil

local function known(id)
  local machine = machines[id]
  if machine then
    return machine
  end
  return nil, failure.permanent(
    ("vending: no machine %s is attached (attached: %s)"):format(
      tostring(id), table.concat(opts.names(machines), ", ")
    ),
    "UNKNOWN_MACHINE"
  )
end

--- Keeps the ledger in the SQLite file at that path from now on; nil: in memory.
function M.ledger(path)
  if path ~= nil and (type(path) ~= "string" or path == "") then
    error("vending.ledger: the path is text", 2)
  elseif path ~= book_path or path == nil then
    book, book_path = path and ledger.file(path) or ledger.memory(), path
  end
end

--- The name of this ledger, for `ledger` of dispense's args: then reconcile knows an order that was
--- never made. nil and a failure when it is in memory.
function M.here()
  return book:here()
end

--- Machines tell of themselves in that topic: machine.status, machine.fault, machine.sale,
--- machine.audit. Without a topic, nowhere.
function M.events(options)
  events.start(EVENTS(options).topic, book)
end

--- The definitions of these events: { status, fault, sale, audit }.
function M.event_types()
  return events.definitions
end

--- Adds a driver: a table with open(machine_id, settings, before) -> device. A device has
--- dispense(slot, approval), counters(), status() and a field: proof = "sensor", "counter", "none".
function M.driver(name, implementation)
  if type(name) ~= "string" or type(implementation) ~= "table" or not implementation.open then
    error("vending.driver: a name and a table with open() are needed", 2)
  end
  drivers[name] = function()
    return implementation
  end
end

--- The names of the drivers, sorted.
function M.drivers()
  return opts.names(drivers)
end

--- Looks whether a driver would take these settings: true and, when it is known, what would prove a
--- dispense; or nil and a failure. Nothing is opened.
function M.check(driver, settings)
  local make = drivers[driver]
  if not make then
    local text = "vending: unknown driver %s (known: %s)"
    local names = table.concat(opts.names(drivers), ", ")
    return nil, failure.permanent(text:format(tostring(driver), names), "UNKNOWN_DRIVER")
  end
  local implementation = make()
  if not implementation.check then
    return true
  end
  local ok, proof = implementation.check(settings)
  if not ok then
    return nil, failure.permanent("vending: " .. proof, "INVALID_SETTINGS")
  end
  return true, proof
end

local function open(id, role, part, before)
  local ok, problem = M.check(part.driver, part.settings)
  if not ok then
    local text = problem.message:gsub("^vending: ", "")
    return nil, failure.permanent(("vending: machine %s: %s"):format(id, text), problem.code)
  end
  local device, message, code = drivers[part.driver]().open(id, part.settings, before, role)
  if not device then
    return nil, failure.of(message, code)
  end
  return device
end

local function close(device)
  if device and device.close then
    device:close()
  end
end

-- Opens what a machine has in that role, in the place of what it had.
local function replace(machine, role, part)
  local before = machine[role]
  local device, problem
  if part then
    device, problem = open(machine.id, role, part, before)
    if not device then
      return nil, problem
    end
  end
  if before ~= device then
    close(before)
  end
  machine[role] = device
  return true
end

--- Attaches a machine, or gives an attached one new settings; its approvals are kept.
function M.attach(options)
  local o = ATTACH(options)
  local machine = machines[o.machine] or {
    id = o.machine, running = {}, turn = task.semaphore(1), quiet_at = 0,
  }
  local ok, problem = replace(machine, "device", { driver = o.driver, settings = o.settings })
  if not ok then
    return nil, problem
  end
  machine.driver = o.driver
  local settled_at = sys.monotonic_ms() + (machine.device.settle_ms or 0)
  machine.quiet_at = math.max(machine.quiet_at, settled_at)
  machines[o.machine] = machine
  for _, role in ipairs { "payment", "audit" } do
    ok, problem = replace(machine, role, o[role])
    if not ok then
      return nil, problem
    end
  end
  return true
end

--- Forgets a machine. true, or false when it was not attached.
function M.detach(id)
  local machine = machines[id]
  machines[id] = nil
  for _, role in ipairs { "device", "payment", "audit" } do
    close(machine and machine[role])
  end
  return machine ~= nil
end

function M.is_attached(id)
  return machines[id] ~= nil
end

--- Ids of the attached machines, sorted.
function M.machines()
  return opts.names(machines)
end

--- What a machine can do: its driver, what proves a dispense, and what else it has.
function M.capabilities(id)
  local machine, problem = known(id)
  if not machine then
    return nil, problem
  end
  local device = machine.device
  local pays = machine.payment or device
  local audits = machine.audit or device
  return {
    driver = machine.driver,
    dispense = not device.cannot_dispense,
    proof_of_dispense = device.proof,
    counters = device.counters ~= nil and device.proof ~= "none" and not device.has_no_counters,
    credit = pays.credit ~= nil,
    payment = machine.payment ~= nil and not pays.cannot_pay,
    audit = audits.audit ~= nil and not audits.cannot_audit,
  }
end

-- Calls a method of what the machine has for it.
local function ask(id, role, method, ...)
  local machine, problem = known(id)
  if not machine then
    return nil, problem
  end
  local device = machine[role] or machine.device
  if not device[method] then
    local text = "vending: machine %s (%s) has no %s"
    return nil, failure.permanent(text:format(id, machine.driver, method), "ENOTSUP")
  end
  return device[method](device, ...)
end

--- What the machine says of itself: { online, state, slots = { [n] = { stock } } }.
function M.status(id)
  return ask(id, "device", "status")
end

--- What is known of a machine without asking its board: { driver, proof, online, state, reason?,
--- slots?, line? }; or nil and a failure.
function M.glance(id)
  local machine, problem = known(id)
  if not machine then
    return nil, problem
  end
  local device = machine.device
  local out = device.glance and device:glance() or { state = "unknown" }
  out.driver, out.proof = machine.driver, device.proof
  return out
end

--- The bytes that passed last on the lines of a machine: { at_ms, out, bytes }, oldest first.
function M.traffic(id)
  local machine = machines[id]
  local device = machine and machine.device
  return device and device.traffic and device:traffic() or {}
end

--- Its last orders, newest first: { approval, slot, state, at_ms }; or nil and a failure.
function M.orders(id)
  return book:last_orders(id)
end

--- What the board has counted: { total, slots = { [n] = count } }, as far as it counts. `slot`: of
--- that one, for boards that ask one at a time.
function M.counters(id, slot)
  return ask(id, "device", "counters", slot)
end

--- Money that was put in since the machine was attached: { amount_minor, count }.
function M.credit(id)
  return ask(id, "payment", "credit")
end

--- Reads the machine's books: { text, trusted, … }; told as machine.audit.
function M.audit(id)
  local result, problem, code = ask(id, "audit", "audit")
  if result then
    events.audit(id, { text = result.text, ok = result.trusted })
  end
  return result, problem, code
end

local function key_of(ctx, what)
  if type(ctx) ~= "table" or type(ctx.key) ~= "string" then
    error(("vending.%s: a ctx with a key is needed: it is the approval"):format(what), 3)
  end
  return ctx.key
end

--- Turns the motor of args.slot of args.machine, at most once for ctx.key. `claim()` is called when
--- all is ready, right before the order leaves: nil and a failure keep it back.
function M.dispense(args, ctx, claim)
  local key = key_of(ctx, "dispense")
  local machine, problem = known(args.machine)
  if not machine then
    return nil, problem
  end
  return orders.dispense(book, machine, args, key, claim)
end

-- The reader of a machine, as something that orders are made of; or nil and a failure.
local function reader_of(id)
  local machine, problem = known(id)
  if not machine then
    return nil, problem
  elseif not machine.payment or machine.payment.cannot_pay then
    local text = "vending: machine %s has no reader of cards (attach it with payment = …)"
    return nil, failure.permanent(text:format(id), "ENOTSUP")
  end
  local reader = machine.reader or {
    id = id .. "/payment", running = {}, turn = task.semaphore(1), quiet_at = 0, is_reader = true,
  }
  machine.reader, reader.device = reader, machine.payment
  return reader
end

--- Asks the machine's reader for args.amount_minor, at most once for ctx.key: { amount_minor,
--- operation, … } as approved; settle or refund it. A step of kind at_most_once.
function M.charge(args, ctx)
  local key = key_of(ctx, "charge")
  local reader, problem = reader_of(args.machine)
  if not reader then
    return nil, problem
  end
  return orders.dispense(book, reader, args, key)
end

--- How a charge ended, as reconcile.
function M.reconcile_charge(args, ctx)
  local key = key_of(ctx, "reconcile_charge")
  local reader, problem = reader_of(args.machine)
  if not reader then
    return nil, failure.transient(problem.message, problem.code)
  end
  return orders.reconcile(book, reader, args, key)
end

--- The drink of args.operation was delivered: the reader books args.amount_minor.
function M.settle(args)
  local reader, problem = reader_of(args.machine)
  if not reader then
    return nil, problem
  end
  return reader.device:settle(args.operation, args.amount_minor, true)
end

--- Undoes a charge: nothing was delivered. `result` is what charge gave.
function M.refund(args, result)
  local reader, problem = reader_of(args.machine)
  if not reader then
    return nil, problem
  elseif not result then
    local text = "vending: machine %s: which charge is to be given back is not known"
    return nil, failure.permanent(text:format(args.machine), "UNKNOWN_OUTCOME")
  end
  return reader.device:settle(result.operation, nil, false)
end

--- Forgets an order whose claim is known not to have been given: it never left.
function M.withdraw(args, ctx)
  local key = key_of(ctx, "withdraw")
  local machine, problem = known(args.machine)
  if not machine then
    return nil, problem
  end
  return orders.withdraw(book, machine, key)
end

--- How ctx.key ended: "done" and its result, "not_done", or "unknown"; nil and a failure while that
--- cannot be found out, but may be later.
function M.reconcile(args, ctx)
  local key = key_of(ctx, "reconcile")
  local machine, problem = known(args.machine)
  if not machine then
    return nil, failure.transient(problem.message, problem.code)
  end
  return orders.reconcile(book, machine, args, key)
end

return M
