--- What a seed builds: a handler of chains, observers and strategies over fake worlds, and what
--- must be true of those when the event has ended.
local chain = require "sipeat.chain"
local commands = require "sipeat.commands"
local failure = require "sipeat.failure"
local fakes = require "simulation.fakes"
local observers = require "sipeat.observers"
local strategy = require "sipeat.strategy"

local M = {}

local Scenario = {}
Scenario.__index = Scenario

local function broken(s, text)
  s.broken = s.broken or text
end

-- --- what is durable when an effect begins ---

-- Whether the journal has the intent of a step as the last word on it; of a host from which the run
-- was taken since, anywhere.
local function has_intent(s, ctx, undo)
  local was_taken = s.world:is_taken_from(s.world.loop.current.host)
  local ending = "/steps/" .. ctx.step
  for _, rows in pairs(s.world.store.records) do
    for i = #rows, 1, -1 do
      local row = rows[i]
      if row[4]:sub(-#ending) == ending then
        if row[3] == (undo and 3 or 1) then
          return true
        elseif not was_taken and not undo then
          return false
        end
      end
    end
  end
  return false
end

local function must_be_durable(s, ctx, undo)
  if not has_intent(s, ctx, undo) then
    local what = undo and "undo" or "run"
    broken(s, ("%s of %s began without a durable intent"):format(what, ctx.step))
  end
end

-- A host that was frozen while another one took over finishes the one call that it was in.
local function at_most_one_late_call(s, c)
  local host = s.world.loop.current.host
  if s.world:is_taken_from(host) then
    c.late[host] = (c.late[host] or 0) + 1
    if c.late[host] > 1 then
      broken(s, "a host that was frozen began another call")
    end
  end
end

-- --- steps ---

local function retry(s)
  if s.dice:chance(0.5) then
    return { attempts = s.dice:pick(3), backoff = { "100ms", "2s" } }
  end
end

-- A step of the script `c` as the chain takes it, with what watches it around.
local function watched(s, c, definition)
  local name, index, run, undo = definition[1], #c.steps + 1, definition.run, definition.undo
  definition.reconcile = definition.reconcile and s.reconcile or definition.reconcile
  function definition.run(args, ctx)
    must_be_durable(s, ctx)
    at_most_one_late_call(s, c)
    s.dice:note("run " .. name)
    return run(args, ctx)
  end
  if undo then
    function definition.undo(args, result, ctx)
      must_be_durable(s, ctx, true)
      at_most_one_late_call(s, c)
      s.dice:note("undo " .. name)
      if not c.undone[name] then
        if c.lowest and index >= c.lowest then
          broken(s, ("undo of %s after that of an earlier step"):format(name))
        end
        c.undone[name], c.lowest = true, index
      end
      return undo(args, result, ctx)
    end
  end
  c.steps[index] = definition
end

local function key_of(ctx)
  return (ctx.key:gsub(":undo$", ""))
end

local STEPS = {}

function STEPS.row(s, c, name)
  local rows = s.rows
  c.rows[#c.rows + 1] = name
  watched(s, c, {
    name, effect = "idempotent", retry = retry(s), timeout = "5s",
    run = function(_, ctx)
      c.keys[name] = ctx.key
      return rows:add(ctx.key)
    end,
    undo = function(_, _, ctx)
      return rows:remove(key_of(ctx))
    end,
  })
end

-- A door that the machine opens and closes: commanded once, and it can be asked.
function STEPS.door(s, c, name)
  local door = fakes.door(s.world, s.dice, s.faults / 2)
  c.doors[#c.doors + 1] = door
  watched(s, c, {
    name, effect = "at_most_once", retry = { attempts = s.dice:pick(3), backoff = { "1s" } },
    timeout = "5s", reconcile = function()
      return door:look()
    end,
    run = function()
      return door:open()
    end,
    undo = function()
      return door:close()
    end,
  })
end

STEPS["local"] = function(s, c, name)
  watched(s, c, { name, effect = "local", retry = retry(s), run = function()
    if s.dice:wrong(s.faults / 2, "local fault") then
      return nil, "busy", "SQL_BUSY"
    end
    return true
  end })
end

function STEPS.notice(s, c, name)
  watched(s, c, {
    name, effect = "repeatable", required = s.dice:chance(0.3), retry = retry(s),
    run = function()
      local wrong, which = s.dice:wrong(s.faults, "notice fault", 2)
      if wrong then
        return nil, which == 1 and failure.permanent "refused" or failure.transient "reset"
      end
      return true
    end,
  })
end

function STEPS.gift(s, c, name)
  local sipeat = require "sipeat.steps"
  watched(s, c, { name, effect = "repeatable", run = function()
    if s.dice:wrong(s.faults / 4, "gift") then
      return sipeat.handled "a voucher"
    end
    return true
  end })
end

local function pay(s, c)
  local payment = s.payment
  local look = (s.dice:chance(0.7) or s.long_outages) and function(_, ctx)
    return payment:look(ctx.key)
  end or nil
  watched(s, c, {
    "pay", effect = "idempotent", lifetime = "23h", retry = retry(s), timeout = "5s",
    reconcile = look,
    run = function(_, ctx)
      return payment:capture(ctx.key)
    end,
    undo = function(_, _, ctx)
      return payment:refund(key_of(ctx))
    end,
  })
end

local function vend(s, c)
  local board = s.dispenser
  local look = s.dice:chance(0.8) and function(args)
    return board:look(args.before)
  end or nil
  watched(s, c, {
    "vend", effect = "at_most_once", timeout = "5s", retry = look and retry(s), reconcile = look,
    args = function()
      local counter, message, code = board:read()
      if not counter then
        return nil, message, code
      end
      return { before = counter }
    end,
    run = function()
      return board:vend()
    end,
  })
end

-- --- chains ---

local OTHERS = { "row", "local", "notice", "door" }

local function some(s, c, prefix, most)
  for i = 1, s.dice:pick(most + 1) - 1 do
    STEPS[OTHERS[s.dice:pick(#OTHERS)]](s, c, prefix .. i)
  end
end

-- Makes the handler of a chain and notes how it ended last.
local function finish(s, c)
  if #c.steps == 0 then
    STEPS["local"](s, c, c.name .. "-only")
  end
  if s.dice:chance(0.3) then
    c.steps.undo_retry = { attempts = s.dice:pick(2), backoff = { "100ms" } }
  end
  local handler = (s.dice:chance(0.8) and chain or commands)(c.name)(c.steps)
  s.chains[#s.chains + 1] = c
  return function(event, ctx)
    local epoch = s.world.loop.current.host.epoch
    c.ends[epoch] = {}
    local result, why = handler(event, ctx)
    if not (why and why.kind == "cancelled") then
      c.ends[epoch] = { is_end = true, why = why }
    end
    return result, why
  end
end

local function script(name)
  return {
    name = name, steps = {}, undone = {}, rows = {}, doors = {}, keys = {}, ends = {}, late = {},
  }
end

local function sale(s)
  local c = script "sale"
  if s.dice:chance(0.1) then
    STEPS.gift(s, c, "gift")
  end
  some(s, c, "before", 2)
  pay(s, c)
  some(s, c, "between", 1)
  vend(s, c)
  some(s, c, "after", 1)
  return finish(s, c)
end

local function side(s, name)
  local c = script(name)
  some(s, c, name, 3)
  return finish(s, c)
end

local SHAPES = {
  sale,
  function(s)
    return observers {
      sale = sale(s),
      crm = { side(s, "crm"), required = s.dice:chance(0.5), retry = retry(s) },
      mail = function() return true end,
    }
  end,
  function(s)
    return strategy(function() return "shop" end, { shop = sale(s), other = side(s, "other") })
  end,
  function(s)
    return observers { shop = { sale(s), required = s.dice:chance(0.7) }, log = side(s, "log") }
  end,
  function(s) -- stopped wherever it is when the time is up
    local limit = ("%dms"):format(s.dice:pick(1000))
    return observers {
      shop = { sale(s), required = s.dice:chance(0.5), timeout = limit, retry = retry(s) },
      log = { side(s, "log"), timeout = limit },
    }
  end,
}

--- Builds the scenario of a seed in a world.
function M.build(world, dice, o)
  local s = setmetatable({
    world = world, dice = dice, faults = o.faults, chains = {}, long_outages = o.long_outages,
    reconcile = o.reconcile,
  }, Scenario)
  s.payment = fakes.payment(world, dice, s.faults)
  s.dispenser = fakes.dispenser(world, dice, s.faults)
  s.rows = fakes.rows(dice, s.faults / 2)
  s.handler = SHAPES[math.max(1, dice:pick(7) - 2)](s)
  return s
end

-- --- what must be true at the end ---

-- A chain that gave up before its point of no return, or was stopped, leaves no row.
local function check_rows(s, c)
  for _, name in ipairs(c.rows) do
    if c.keys[name] and s.rows.there[c.keys[name]] then
      return ("%s: the row of %s was not undone"):format(c.name, name)
    end
  end
  for _, door in ipairs(c.doors) do
    if door.is_open then
      return c.name .. ": a door was not closed"
    end
  end
end

-- How a chain ended on the host that had the last word, or on the last one before it that ran it.
local function end_of(s, c)
  local _, run = next(s.world.store.runs)
  for epoch = run and run[2] or s.world.epoch, 1, -1 do
    if c.ends[epoch] then
      return c.ends[epoch]
    end
  end
  return {}
end

local function check_chain(s, c, outcome)
  local last = end_of(s, c)
  local why = last.why
  if why and failure.in_doubt(why) and outcome.state ~= "parked" then
    return ("%s is in doubt, but the event is %s"):format(c.name, outcome.state)
  end
  local may_stand = last.is_end and not why or outcome.state == "parked"
    or why and why.message:find("point of no return", 1, true)
  for _, door in ipairs(c.doors) do
    if door.broken then
      return ("%s: a door was %s"):format(c.name, door.broken)
    end
  end
  return not may_stand and check_rows(s, c) or nil
end

--- What is wrong with the world after the event has ended, nil when nothing is.
function Scenario:verdict(outcome)
  local net = self.payment.captures - self.payment.refunds
  local vends = self.dispenser.vends
  if vends > 1 then
    return ("%d vends"):format(vends)
  elseif self.broken or self.dispenser.broken then
    return self.broken or self.dispenser.broken
  elseif net < 0 or net > 1 then
    return ("%d captures and %d refunds"):format(self.payment.captures, self.payment.refunds)
  elseif net ~= vends and outcome.state ~= "parked" and not self.payment.is_late then
    return ("%d paid and %d vended, and the event is %s"):format(net, vends, outcome.state)
  end
  for _, c in ipairs(self.chains) do
    local why = check_chain(self, c, outcome)
    if why then
      return why
    end
  end
end

return M
