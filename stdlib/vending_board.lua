--- Real boards behind sipeat.vending: the drivers "xy", "modbus", "cctalk", "qibixx", "vtk" and
--- "dex", each an engine of sipeat.serial.
--
-- A port that is not there is waited for. After each opening, and when the board was silent, it is
-- asked who it is before anything is ordered, and nothing is when it is another one than `id`
-- says. An order leaves once; what the engine does not know of its end is asked for by reading
-- alone.
local events = require "sipeat.vending_events"
local failure = require "sipeat.failure"
local opts = require "sipeat.opts"
local plain = require "sipeat.plain"
local profiles = require "sipeat.vending_profiles"
local reader = require "sipeat.vending_reader"
local serial = require "sipeat.serial"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local SETTINGS = opts.spec("sipeat.vending_board", {
  port = { "string", required = true },
  id = { "string" }, -- who the board has to say it is
  settings = { "table", default = {} }, -- of the protocol
  slot_offset = { "integer", default = 0 }, -- from the machine's slots to the board's
  dispense_time = { "duration" }, -- the longest; default: the protocol's
  settle_time = { "duration" }, -- after it nothing moves or is counted any more
  ready_time = { "duration", default = "10s" }, -- how long a question waits for the board
  baud = { "integer" },
  dtr = { "boolean" },
  rts = { "boolean" },
  rs485 = { "boolean" },
})

local ASK = { timeout = "10s" } -- for what is only read
local ORDER_MARGIN_MS = 60000 -- beyond an order's own deadline: the engine always ends it

local Board = {}
Board.__index = Board

function Board:text(what)
  return ("machine %s (%s at %s): %s"):format(self.machine, self.protocol, self.o.port, what)
end

-- The state as it is told: once for each change.
function Board:set_state(state, reason)
  if self.state == state and self.reason == reason then
    return
  end
  local changed = self.state ~= state
  self.state, self.reason = state, reason
  if changed then
    events.status(self.machine, {
      state = state, reason = reason, role = self.role, driver = self.protocol,
      board = self.board, port = self.o.port,
    })
  end
end

-- Somebody else may be at the other end now: ask before anything moves.
function Board:forget(state, reason)
  self.checked = nil
  self:set_state(state, reason)
end

local NOTES = {}

function NOTES.link(self, note)
  if note.up then
    self:forget("starting")
    task.spawn(self.ready, self)
  else
    self:forget("offline", note.message)
  end
end

function NOTES.lost(self, note)
  if not note.events and self.line:state().up then -- else the link says it; events: coins, cctalk
    self:forget("silent", note.code)
  end
end

function NOTES.identified(self)
  if self.checked then -- by somebody who said so unasked: it was away
    self.checked = nil
  end
  task.spawn(self.ready, self)
end

function NOTES.fault(self, note)
  events.fault(self.machine, {
    code = tostring(note.code), reason = note.reason,
    slot = note.slot and note.slot - self.o.slot_offset,
  })
end

function NOTES.credit(self, note)
  self.credited.amount_minor = self.credited.amount_minor + (note.amount_minor or 0)
  self.credited.count = self.credited.count + 1
end

function NOTES.sale(self, note)
  events.sale(self.machine, nil, nil, {
    slot = note.slot, amountMinor = note.amount_minor, proof = "none", quantity = note.quantity,
    dispensedAt = sys.iso_time(),
  })
end

local function listen(self)
  task.set_event_id("")
  while not self.closed do
    local note, _, code = self.line:next()
    if note then
      local on = NOTES[note.name]
      if on then
        on(self, note)
      end
    elseif code ~= "ETIMEDOUT" then
      return
    end
  end
end

-- A command that moves nothing: its result, or nil and a failure.
function Board:ask(name, fields)
  local result, message, code = self.line:command(name, fields, ASK)
  if not result then
    return nil, failure.transient("vending: " .. self:text(message), code)
  elseif result.ok == false then
    local why = ("%s: %s"):format(name, result.reason or result.code or "refused")
    return nil, failure.transient("vending: " .. self:text(why), result.code)
  end
  return result
end

-- Asks who it is, now. true, or nil and a failure.
function Board:identify()
  local opened = self.line:state().opened
  if self.profile.is_not_asked then
    self.checked = opened
    self:set_state("ready")
    return true
  end
  local result, why = self:ask "identify"
  if not result then
    return nil, why
  end
  if self.profile.devices and result.devices ~= self.profile.devices then
    local text = self:text(("%d of %d devices answer"):format(result.devices or 0,
      self.profile.devices))
    return nil, failure.transient("vending: " .. text, "NOT_READY")
  end
  local id = result.id or ""
  if self.profile.weak_id or id == "" then -- many say so: the port says which one it is
    id = ("%s%s at %s"):format(self.protocol, id == "" and "" or " " .. id, self.o.port)
  end
  if self.o.id and self.o.id ~= result.id and self.o.id ~= id then
    local text = self:text(("another board: it is %q, and has to be %q"):format(id, self.o.id))
    self:set_state("wrong_board", text)
    return nil, failure.transient("vending: " .. text, "WRONG_BOARD")
  elseif not self.o.id and self.board and self.board ~= id then
    local text = self:text(("another board: it is %q, and was %q"):format(id, self.board))
    self:set_state("wrong_board", text)
    return nil, failure.transient("vending: " .. text, "WRONG_BOARD")
  elseif self.line:state().opened ~= opened then
    return nil, failure.transient("vending: " .. self:text "the port was opened anew", "NOT_READY")
  end
  self.board, self.version, self.checked = id, result.version, opened
  self:set_state("ready")
  return true
end

--- The board is there and is the right one: waits for that as long as it may.
function Board:ready()
  local ends = sys.monotonic_ms() + self.patience_ms
  while true do
    if self.closed then
      return nil, failure.transient("vending: " .. self:text "it was closed", "CLOSED")
    end
    local state = self.line:state()
    if state.up and self.checked == state.opened then
      return true
    end
    local ok, why
    if state.up then
      ok, why = self.asking:with(self.identify, self)
    else
      why = failure.transient("vending: " .. self:text(state.message or "it is not there"),
        state.code or "ENOTCONN")
    end
    if ok then
      return true
    elseif sys.monotonic_ms() >= ends or why.code == "WRONG_BOARD" then
      return nil, why
    end
    local rested, message, code = task.sleep "100ms"
    if not rested then
      return nil, failure.new(message, code)
    end
  end
end

function Board:slot(slot)
  local number = math.tointeger(tonumber(slot))
  if not number then
    local text = self:text(("slot %s is no number"):format(tostring(slot)))
    return nil, failure.permanent("vending: " .. text, "UNKNOWN_SLOT")
  end
  return number + self.o.slot_offset
end

--- What its counters say before an order; empty for a board that has none.
function Board:before(slot)
  if self.has_no_counters then
    return {}
  end
  local number, why = self:slot(slot)
  if not number then
    return nil, why
  end
  local result
  result, why = self:ask("counters", { slot = number })
  if not result then
    return nil, why
  end
  local before = {}
  for name, value in pairs(result) do
    if math.type(value) == "integer" and name ~= "ticket" then
      before[name] = value
    end
  end
  return before
end

-- Codes of an order that never left.
local function problem_of(self, result)
  local text = "vending: " .. self:text(result.reason or result.code or "failed")
  if profiles.UNSENT[result.code] then
    return failure.transient(text, "NOT_SENT")
  end
  return failure.permanent(text, profiles.CODES[result.code] or result.code or "NOT_DISPENSED")
end

--- Orders once: what proves that it fell, or nil and a failure.
function Board:dispense(slot, approval, args)
  local number, why = self:slot(slot)
  if not number then
    return nil, why
  end
  local timeout_ms = (self.o.dispense_time or profiles.LONGEST_MS) + ORDER_MARGIN_MS
  local result, message, code = self.line:command("dispense", {
    slot = number, quantity = args and args.quantity or 1, key = approval,
    amount_minor = args and args.amount_minor, deadline_ms = self.o.dispense_time,
  }, { timeout = timeout_ms .. "ms" })
  if not result then
    return nil, profiles.failed("vending: " .. self:text(message), code)
  elseif result.outcome == "done" then
    return result.proof or "none", nil, { quantity = result.quantity }
  elseif result.outcome == "failed" then
    return nil, problem_of(self, result)
  end
  local text = self:text(result.reason or "nothing says how the order ended")
  return nil, failure.new("vending: " .. text, "OUTCOME_UNKNOWN", "timeout")
end

--- What became of an order, by reading: "done" and its proof, "not_done", "unknown"; or nil and a
--- failure when it cannot be read now.
function Board:resolve(slot, before)
  local fields = {}
  for name, value in pairs(before) do
    fields[name] = value
  end
  local why
  fields.slot, why = self:slot(slot)
  if not fields.slot then
    return nil, why
  end
  fields.quantity = fields.quantity or 1
  local result, message, code = self.line:command("resolve", fields, ASK)
  if not result then
    return nil, failure.transient("vending: " .. self:text(message), code)
  elseif result.outcome == "done" then
    return "done", result.proof
  elseif result.outcome == "failed" then
    return "not_done"
  elseif profiles.UNREAD[result.code] then
    local text = self:text(result.reason or result.code)
    return nil, failure.transient("vending: " .. text, "OUTCOME_UNKNOWN")
  end
  return "unknown"
end

--- What it counts: { total?, slots = { [slot] = count }, … } with all that it says.
function Board:counters(slot)
  if self.has_no_counters then
    return nil, self:text "it has no counters", "ENOTSUP"
  end
  local before
  local ok, why = self:ready()
  if ok then
    before, why = self:before(slot or 1)
  end
  if not before then
    return nil, why.message, why.code
  end
  before.total = before.count or before.hopper_total
  before.slots = { [slot or 1] = before.total }
  return before
end

--- { online, state, board, port, driver, … }: with what the board says, when it is there.
-- What is known without asking the board.
function Board:glance()
  local line = self.line:state()
  local online = line.up and self.checked == line.opened
  return {
    online = online, state = self.state, reason = not online and (self.reason or line.message)
      or nil,
    line = {
      port = self.o.port, up = line.up, opened = line.opened, lost = line.lost,
      bytes_in = line.bytes_in, bytes_out = line.bytes_out, message = line.message,
    },
  }
end

-- The bytes of its line.
function Board:traffic()
  return self.line:traffic()
end

function Board:status()
  local line = self.line:state()
  local result = line.up and self.line:command("status", nil, ASK) or {}
  result.online = line.up and self.checked == line.opened
  result.state = result.online and result.state or self.state
  result.reason = not result.online and (self.reason or line.message) or nil
  result.board, result.version, result.driver = self.board, self.version, self.protocol
  result.port, result.path, result.ticket = self.o.port, line.path, nil
  result.slots = {}
  return result
end

--- Money that was put in since the port was opened.
function Board:credit()
  return { amount_minor = self.credited.amount_minor, count = self.credited.count }
end

--- The machine's books: { text, checked, … }.
function Board:audit()
  local ok, why = self:ready()
  if not ok then
    return nil, why
  end
  local result, message, code = self.line:command("audit", nil, { timeout = "2m" })
  if not result then
    return nil, failure.transient("vending: " .. self:text(message), code)
  elseif not result.ok then
    local text = self:text(result.reason or result.code or "the audit failed")
    return nil, failure.transient("vending: " .. text, result.code)
  end
  return result
end

--- As the reader of a machine: tells it what was delivered.
function Board:settle(operation, amount_minor, is_delivered)
  return reader.settle(self, operation, amount_minor, is_delivered)
end

function Board:close()
  if not self.closed then
    self.closed = true
    self.line:close()
  end
end

-- The settings of the protocol: the identity too, where the engine wants to know it itself.
local function engine_settings(protocol, o)
  local settings = {}
  for name, value in pairs(o.settings) do
    settings[name] = value
  end
  for _, name in ipairs(protocol.settings) do
    if name == "id" and o.id then
      settings.id = settings.id or o.id
    end
  end
  return settings
end

local function protocol_of(name)
  for _, protocol in ipairs(serial.protocols()) do
    if protocol.name == name then
      return protocol
    end
  end
end

-- What is wrong with the settings, or nil.
local function wrong(protocol, o)
  local names = {}
  for i, name in ipairs(protocol.settings) do
    names[i], names[name] = name, true
  end
  for name in pairs(o.settings) do
    if not names[name] then
      local near = type(name) == "string" and opts.nearest(name, names)
      local hint = near and "did you mean " .. near .. "?" or "known: " .. table.concat(names, ", ")
      return ("%s has no setting %s (%s)"):format(protocol.name, tostring(name), hint)
    end
  end
end

local function checked(name, settings)
  local o, message = SETTINGS(settings, false)
  if not o then
    return nil, message
  end
  local protocol = protocol_of(name)
  if not protocol then
    return nil, ("this program has no protocol %s"):format(name)
  end
  message = wrong(protocol, o)
  if message then
    return nil, message
  end
  return o, protocol
end

local function open(name, machine, settings, before, role)
  local o, protocol = checked(name, settings)
  if not o then
    return nil, failure.permanent(("vending: machine %s: %s"):format(machine, protocol),
      "INVALID_SETTINGS")
  elseif getmetatable(before) == Board and before.protocol == name and not before.closed
    and plain.same(before.o, o) then
    return before
  elseif getmetatable(before) == Board then
    before:close() -- it may have the same port
  end
  local line, message, code = serial.open {
    port = o.port, protocol = name, settings = engine_settings(protocol, o), baud = o.baud,
    dtr = o.dtr, rts = o.rts, rs485 = o.rs485, patient = true,
  }
  if not line then
    return nil, failure.of(("vending: machine %s: %s"):format(machine, message), code)
  end
  local profile = profiles.of(name, o.settings)
  local self = setmetatable({
    machine = machine, protocol = name, profile = profile, role = role == "device" and "dispense"
      or role, o = o, line = line, state = "offline", asking = task.semaphore(1),
    credited = { amount_minor = 0, count = 0 },
    proof = profile.proof, shared_counter = profile.shared_counter,
    has_no_counters = not profile.counters, cannot_dispense = not profile.dispenses,
    cannot_pay = not profile.pays, cannot_audit = not profile.audits,
    settle_ms = o.settle_time or profile.settle_ms, patience_ms = o.ready_time,
  }, Board)
  if role == "payment" then -- an order is a charge
    self.before, self.dispense, self.resolve = reader.before, reader.charge, reader.resolve
  end
  task.spawn(listen, self)
  return self
end

--- The driver for the boards of a protocol, as sipeat.vending takes it.
function M.driver(name)
  return {
    check = function(settings)
      local o, message = checked(name, settings)
      if not o then
        return nil, message
      end
      return true, profiles.of(name, o.settings).proof
    end,
    open = function(machine, settings, before, role)
      return open(name, machine, settings, before, role)
    end,
  }
end

return M
