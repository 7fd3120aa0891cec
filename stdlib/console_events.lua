--- The live figures: one look at each source for all who listen, sent when it has changed.
local api = require "sipeat.console_api"
local chains = require "sipeat.console_chains"
local core = require "sipeat.core.task"
local flows = require "sipeat.console_flows"
local groups = require "sipeat.console_groups"
local json = require "sipeat.json"
local lag = require "sipeat.console_lag"
local letters = require "sipeat.console_letters"
local log = require("sipeat.log").new "console"
local machines = require "sipeat.console_machines"
local scripts = require "sipeat.console_scripts"
local streams = require "sipeat.console_stream"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local TICK = "1s"
local PING = "15s"

local function lag_state()
  lag.touch()
  local known, at = lag.known()
  return at and { groups = groups.summaries(known), at = at }
end

-- Sources by name: what they tell, and after how long they are asked again.
local SOURCES = {
  { name = "flows", every_ms = 1000, look = flows.state, has_clock = true },
  { name = "lag", every_ms = 1000, look = lag_state }, -- what was found last, which is every 5 s
  { name = "chains", every_ms = 2000, look = chains.state },
  { name = "letters", every_ms = 1000, look = letters.state },
  { name = "machines", every_ms = 1000, look = machines.state },
  { name = "scripts", every_ms = 1000, look = function()
    return scripts.state(false)
  end },
}

local changed = core.signal()
local listeners, running = 0, false

-- Asks a source; what it tells counts as new when it differs from what it told before.
local function refresh(source, now)
  if source.asked_ms and now - source.asked_ms < source.every_ms then
    return
  end
  source.asked_ms = now
  local fine, state, message, code = pcall(source.look)
  if not fine then
    state, message, code = nil, tostring(state), "SCRIPT"
  end
  if not state then
    if message and source.told ~= message and code ~= "ECANCELED" then
      log:warn(("live figures, %s: %s"):format(source.name, message), { code = code })
    end
    source.told = message
    return
  end
  source.told = nil
  local text = json.encode(state)
  local compared = text
  if text and source.has_clock then
    compared = text:gsub('"at":"[^"]*"', "", 1) -- the time alone is nothing new
  end
  if text and compared ~= source.compared then
    source.text, source.compared = text, compared
    source.version = (source.version or 0) + 1
  end
end

local function run()
  task.set_event_id("")
  repeat
    local now = sys.monotonic_ms()
    for _, source in ipairs(SOURCES) do
      refresh(source, now)
    end
    changed:wake()
  until not task.sleep(TICK) or listeners == 0
  running = false
end

-- Sends what this listener has not seen. true, or nil, message, code.
local function tell(stream, seen, only)
  for _, source in ipairs(SOURCES) do
    local wanted = not only or only[source.name]
    if wanted and source.text and seen[source.name] ~= source.version then
      seen[source.name] = source.version
      local ok, message, code = stream:send_text(source.name, source.text)
      if not ok then
        return nil, message, code
      end
    end
  end
  return true
end

local function follow(stream, only)
  task.set_event_id("")
  listeners = listeners + 1
  local _ <close> = setmetatable({}, {
    __close = function()
      listeners = listeners - 1
    end,
  })
  if not running then
    running = true
    task.spawn(run)
  end
  local seen = {}
  while tell(stream, seen, only) do
    local ok, _, code = changed:wait(PING)
    if not ok and code ~= "ETIMEDOUT" or not stream:ping() then
      return
    end
  end
end

-- The names of "flows,lag"; nil for all. nil, message, code.
local function names_of(text)
  if not text or text == "" then
    return false
  end
  local only, known = {}, {}
  for _, source in ipairs(SOURCES) do
    known[source.name] = true
  end
  for name in text:gmatch "[^,]+" do
    if not known[name] then
      return nil, "there is no event " .. require("sipeat.opts").show(name), "BAD_REQUEST"
    end
    only[name] = true
  end
  return only
end

local function events(req)
  local only, message, code = names_of(req.query.only)
  if only == nil then
    return nil, message, code
  end
  return streams.answer("live", function(stream)
    follow(stream, only)
  end)
end

function M.routes()
  api.route("GET events", "viewer", events)
end

return M
