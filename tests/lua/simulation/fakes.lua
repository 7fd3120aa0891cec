--- A payment provider and a dispenser that fail in the ways of the real ones and count what they
--- did. Both outlive the hosts that talk to them.
local failure = require "sipeat.failure"
local loops = require "sipeat.simulation_loop"
local task = require "sipeat.task"

local M = {}

local HOUR_MS <const> = 3600 * 1000
local forever = loops.host()

-- --- payment ---

local Payment = {}
Payment.__index = Payment

--- `faults`: the probability that a request goes wrong.
function M.payment(world, dice, faults)
  return setmetatable({
    world = world, dice = dice, faults = faults, keys = {}, captured = {}, refunded = {},
    captures = 0, refunds = 0, broken = nil,
  }, Payment)
end

local function known(self, key)
  local entry = self.keys[key]
  if entry and self.world.loop.now_ms - entry.at_ms >= 24 * HOUR_MS then
    self.keys[key], entry = nil, nil
  end
  return entry
end

local function capture_now(self, key)
  local entry = self.keys[key]
  entry.state = "captured"
  self.captures = self.captures + 1
  self.captured[key] = (self.captured[key] or 0) + 1
  self.dice:note("captured " .. key)
end

local function no_answer()
  task.sleep "10m"
  return nil, "no answer", "ETIMEDOUT"
end

local CAPTURE = {
  function() -- refused before it began
    return nil, "connection refused", "ECONNREFUSED"
  end,
  function() -- 500 before anything happened
    return nil, "status 500", "SERVER_ERROR"
  end,
  function(self, key) -- 500 after it was captured
    capture_now(self, key)
    return nil, "status 500", "SERVER_ERROR"
  end,
  function(self, key) -- no answer, captured
    capture_now(self, key)
    return no_answer()
  end,
  no_answer,
  function(self, key) -- captured later, answered later still
    self.keys[key].state = "working"
    self.world.loop:after(1000 + self.dice:pick(9000), forever, function()
      capture_now(self, key)
    end)
    return no_answer()
  end,
  function(self, key) -- declined: a verdict that the key keeps
    self.keys[key].state = "declined"
    return nil, failure.permanent("declined", "DECLINED")
  end,
  function(self, key) -- declined, and the answer is lost
    self.keys[key].state = "declined"
    return no_answer()
  end,
}

--- Captures under an idempotency key.
function Payment:capture(key)
  task.sleep "50ms"
  local entry = known(self, key)
  if entry and entry.state == "captured" then
    return { id = key }
  elseif entry and entry.state == "working" then
    return nil, "status 409: a request with this key is being worked on", "CONFLICT"
  elseif entry and entry.state == "declined" then
    return nil, failure.permanent("declined", "DECLINED")
  end
  self.keys[key] = { at_ms = self.world.loop.now_ms, state = "new" }
  self.is_late = self.is_late or self.world:is_taken_from(self.world.loop.current.host)
  local wrong, which = self.dice:wrong(self.faults, "payment fault", #CAPTURE)
  if wrong then
    self.dice:note("payment fault " .. which)
    return CAPTURE[which](self, key)
  end
  capture_now(self, key)
  return { id = key }
end

local function is_working(self, key)
  local entry = self.keys[key]
  return entry and entry.state == "working"
end

--- Gives back what was captured under that key, or voids the key: a frozen host may use it yet.
function Payment:refund(key)
  task.sleep "50ms"
  local wrong, which = self.dice:wrong(self.faults, "refund fault", 4)
  if wrong and which == 1 or is_working(self, key) then
    return nil, "status 409", "CONFLICT"
  elseif wrong and which == 2 then
    return nil, "status 500", "SERVER_ERROR"
  end
  local owed = (self.captured[key] or 0) > 0 and not self.refunded[key]
  if owed then
    self.refunded[key] = true
    self.refunds = self.refunds + 1
    self.dice:note("refunded " .. key)
  elseif not self.refunded[key] then
    self.keys[key] = { at_ms = self.world.loop.now_ms, state = "declined" }
  end
  if wrong and which == 3 then
    return no_answer()
  end
  return true
end

--- Was it captured? The answer of a reconcile.
function Payment:look(key)
  task.sleep "50ms"
  if self.dice:wrong(self.faults / 2, "payment lookup fault") then
    return nil, "status 500", "SERVER_ERROR"
  elseif is_working(self, key) then
    return "unknown"
  elseif (self.captured[key] or 0) > 0 then
    return "done", { id = key }
  end
  return "not_done"
end

-- --- dispenser ---

local Dispenser = {}
Dispenser.__index = Dispenser

function M.dispenser(world, dice, faults)
  return setmetatable({
    world = world, dice = dice, faults = faults, counter = 100, vends = 0, owner = 0,
    commands = 0, is_proven = true, busy_until_ms = 0,
  }, Dispenser)
end

-- A board belongs to one host: the newest one that opened its port.
local function own(self)
  local epoch = self.world.loop.current.host.epoch
  if epoch < self.owner then
    return nil, "the port belongs to another host", "NOT_SENT"
  end
  self.owner = epoch
  return true
end

local TURN_MS <const> = 250

-- The motor turns whether the host that asked for it lives or not.
local function turn(self)
  self.world.loop:after(TURN_MS, forever, function()
    self.vends, self.counter = self.vends + 1, self.counter + 1
    self.dice:note("vended")
  end)
end

local function jump(self, by)
  self.counter = self.counter + by
end

-- What goes wrong with a command: what the board does, and what it answers 300 ms later.
local VEND = {
  { nil, function(self) -- jammed, and it says so
    self.is_proven = true
    return nil, failure.permanent("jammed", "JAM")
  end },
  { turn, no_answer },
  { nil, no_answer },
  { turn, function() -- answers too late
    task.sleep "7s"
    return { slot = 1 }
  end },
  { turn, function(self)
    jump(self, 5)
    return no_answer()
  end },
  { nil, function(self)
    jump(self, 7)
    return no_answer()
  end },
  { turn, function(self) -- from now on the board says nothing
    self.is_silent = true
    return no_answer()
  end },
  { nil, function(self) -- never reached the board
    self.is_proven = true
    return nil, "the port is gone", "NOT_SENT"
  end },
}

local function turned()
  return { slot = 1 }
end

--- The counter, before a command; or nil, message, code.
function Dispenser:read()
  local ok, message, code = own(self)
  if not ok then
    return nil, message, code
  elseif self.is_silent or self.dice:wrong(self.faults / 4, "counter not read") then
    return nil, "no answer", "ETIMEDOUT"
  end
  return self.counter
end

function Dispenser:vend()
  local ok, message, code = own(self)
  if not ok then
    return nil, message, code
  end
  self.commands = self.commands + 1
  if not self.is_proven then
    self.broken = "commanded again without a proof that nothing was vended"
  end
  self.is_proven, self.busy_until_ms = false, self.world.loop.now_ms + 300
  local wrong, which = self.dice:wrong(self.faults, "dispenser fault", #VEND)
  local act, answer = turn, turned
  if wrong then
    self.dice:note("dispenser fault " .. which)
    act, answer = VEND[which][1], VEND[which][2]
  end
  if act then
    act(self)
  end
  task.sleep "300ms"
  return answer(self)
end

--- Did it vend since the counter was at `before`? The answer of a reconcile.
function Dispenser:look(before)
  local ok, message, code = own(self)
  if not ok then
    return nil, message, code
  elseif self.world.loop.now_ms < self.busy_until_ms then
    return nil, "the motor is turning", "BUSY"
  elseif self.is_silent or self.dice:wrong(self.faults / 4, "counter not read") then
    return "unknown"
  elseif self.counter == before + 1 then
    return "done", { slot = 1 }
  elseif self.counter == before then
    self.is_proven = true
    return "not_done"
  end
  return "unknown"
end

-- --- rows: anything else with an undo ---

local Rows = {}
Rows.__index = Rows

function M.rows(dice, faults)
  return setmetatable({ dice = dice, faults = faults, there = {}, added = {} }, Rows)
end

function Rows:add(key)
  if self.added[key] == "refused" then -- a key has one verdict
    return nil, failure.permanent("refused", "REFUSED")
  elseif self.added[key] then
    return { row = key }
  end
  local wrong, which = self.dice:wrong(self.faults, "row fault", 4)
  if wrong and which == 1 then
    self.added[key] = "refused"
    return nil, failure.permanent("refused", "REFUSED")
  elseif wrong and which == 2 then
    return nil, "connection refused", "ECONNREFUSED"
  end
  self.there[key], self.added[key] = true, true
  if wrong and which == 3 then
    return no_answer()
  elseif wrong then
    return nil, "connection reset", "ECONNRESET"
  end
  return { row = key }
end

function Rows:remove(key)
  if self.dice:wrong(self.faults, "row removal fault") then
    return nil, "connection reset", "ECONNRESET"
  end
  self.there[key], self.added[key] = nil, true
  return true
end

-- --- a door: an effect that is commanded once, and undone ---

local Door = {}
Door.__index = Door

function M.door(world, dice, faults)
  return setmetatable({
    world = world, dice = dice, faults = faults, is_proven = true, owner = 0,
  }, Door)
end

function Door:open()
  local ok, message, code = own(self)
  if not ok then
    return nil, message, code
  end
  if not self.is_proven then
    self.broken = "commanded again without a proof that it is closed"
  end
  self.is_proven = false
  local wrong, which = self.dice:wrong(self.faults, "door fault", 3)
  if wrong and which == 1 then
    self.is_proven = true
    return nil, failure.permanent("blocked", "BLOCKED")
  elseif wrong and which == 2 then
    return no_answer()
  end
  self.is_open = true
  if wrong then
    return no_answer()
  end
  return true
end

function Door:close()
  local ok, message, code = own(self)
  if not ok then
    return nil, message, code
  end
  if self.dice:wrong(self.faults, "door not closed") then
    return nil, "stuck", "STUCK"
  end
  self.is_open = nil
  return true
end

function Door:look()
  local ok, message, code = own(self)
  if not ok then
    return nil, message, code
  end
  if self.dice:wrong(self.faults, "door not seen") then
    return nil, "no answer", "ETIMEDOUT"
  end
  self.is_proven = not self.is_open
  return self.is_open and "done" or "not_done"
end

return M
