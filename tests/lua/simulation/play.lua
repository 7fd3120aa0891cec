--- Plays the scenario of a seed to its end: hosts that die at points of their own choice, freeze
--- and come back, and stay away for hours.
local context = require "sipeat.context"
local dice = require "simulation.dice"
local scenario = require "simulation.scenario"
local simulation = require "sipeat.simulation"

local M = {}

local HOUR_MS <const> = 3600 * 1000
local MAX_LOSSES <const> = 10

-- What goes wrong at a point: the host dies, or it freezes and another one takes over.
local function at_point(p, world, host, name, statement)
  if p.losses >= MAX_LOSSES or host.is_lost then
    return nil
  end
  local wrong, which = p.dice:wrong(p.crashes, "at this point", 5)
  if not wrong then
    return nil
  end
  p.dice:note(simulation.describe(name, statement))
  p.losses = p.losses + 1
  if which == 1 and p.freezes then
    host.is_lost = true
    host.frozen_until_ms = world.loop.now_ms + p.dice:pick(1800) * 1000
    p.dice:note "the host freezes, another one takes over"
    return "freeze"
  end
  p.dice:note "the host dies"
  return "die"
end

local function new_play(seed, o)
  local p = { dice = dice.new(seed, o.off), losses = 0 }
  local d = p.dice
  p.crashes = ({ 0, 0.02, 0.05, 0.15 })[d:pick(4)]
  p.freezes = d:chance(0.3)
  p.long_outages = d:chance(0.2)
  p.faults = ({ 0, 0.05, 0.2, 0.5 })[d:pick(4)]
  p.world = simulation.new {
    attempts = d:pick(4), pause_ms = 500, latency_ms = d:pick(3) - 1,
    pick = function(n)
      return d:pick(n)
    end,
    at_point = function(...)
      return at_point(p, ...)
    end,
  }
  p.reconcile = o.reconcile
  if o.write then
    p.world.store.write = o.write
  end
  return p
end

local ENDS = { done = true, dead = true, parked = true }

local function run(p, o)
  local world = p.world
  local s = scenario.build(world, p.dice, p)
  local event = { id = "e", type = "sale", data = { n = 1 } }
  for _ = 1, 3 * MAX_LOSSES do
    local outcome, host = world:host(s.handler, event)
    if outcome and ENDS[outcome.state] then
      world.loop:pass(4 * HOUR_MS) -- what comes late, and hosts that were frozen
      return s:verdict(outcome), outcome
    end
    if host.dead and o.unsynced then
      world.store = world.store:without_last(p.dice:pick(3) - 1)
    end
    if world.is_accepted and next(world.store.runs) == nil then
      return "the event is forgotten"
    end
    if p.long_outages and p.dice:wrong(0.3, "nobody is there for long") then
      world.loop:pass((10 + p.dice:pick(40)) * HOUR_MS)
    elseif host.dead then
      world.loop:pass(p.dice:pick(10000))
    end
  end
  return "it does not end"
end

--- Plays one seed. nil and the outcome, or what is wrong; third the play with its dice. Options
--- turn a safeguard off: `unsynced`, the last writes are lost when a host dies; `keep`, `reconcile`
--- and `write`, what the context, the steps and the store take for their own.
function M.seed(seed, o)
  local p = new_play(seed, o)
  local keep = context.keep
  context.keep = o.keep or keep
  local ok, why, outcome = pcall(p.world.inside, p.world, run, p, o)
  context.keep = keep
  if not ok then
    return "raised " .. tostring(why), nil, p
  end
  return why, outcome, p
end

-- Turns off what went wrong, one after the other, as long as the seed still fails.
local function shrink(seed, o)
  local off = {}
  local why, _, p = M.seed(seed, o)
  local again = true
  while again do
    again = false
    for _, number in ipairs(p.dice.happened) do
      off[number] = true
      local problem, _, smaller = M.seed(seed, setmetatable({ off = off }, { __index = o }))
      if problem then
        why, p, again = problem, smaller, true
        break
      end
      off[number] = nil
    end
  end
  return why, p
end

--- The story of a seed that fails, without what is not needed for it.
function M.story(seed, o)
  local why, p = shrink(seed, o)
  return ("seed %d: %s\n  %s"):format(seed, why, table.concat(p.dice.log, "\n  "))
end

return M
