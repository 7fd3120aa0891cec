--- Seeded simulation: sales of a drink in worlds where everything goes wrong, and hosts die or
--- freeze anywhere. A seed that fails is printed with its story; it fails again in the same way.
local play = require "simulation.play"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local IS_SOAK = os.getenv "SIPEAT_SOAK" ~= nil
local CHAINS <const> = IS_SOAK and 1000000 or 5000

t.test("no seed breaks an invariant", function()
  local from = tonumber(os.getenv "SIPEAT_SEED") or 1
  local ends, started = {}, os.clock()
  for seed = from, from + CHAINS - 1 do
    local why, outcome = play.seed(seed, {})
    if why then
      error(play.story(seed, {}), 0)
    end
    ends[outcome.state] = (ends[outcome.state] or 0) + 1
    if seed % 500 == 0 then
      task.sleep "0ms"
    end
  end
  local seconds = os.clock() - started
  print(("%d chains in %.1f s of CPU time, %.0f a second; done %d, dead %d, parked %d"):format(
    CHAINS, seconds, CHAINS / seconds, ends.done, ends.dead, ends.parked))
end)
