--- `sipeat project list|show|rebuild FILE NAME`: read models that a script declares. The script is
-- loaded; nothing that it declares runs.
local background = require "sipeat.background"
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local projection = require "sipeat.projection"
local rebuild = require "sipeat.projection_rebuild"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, SCRIPT = 0, 1, 3
local TELL_MS = 500 -- between two lines of progress
local RATE_MS = 5000 -- of which the rate is

local function complain(message)
  terminal.note("sipeat project: " .. tostring(message))
end

-- 1234567 as "1,234,567"
local function grouped(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

local function state_of(status)
  if status.rebuilding then
    return "rebuilt by " .. status.rebuilding
  elseif status.left then
    return ("rebuild left after %s events"):format(grouped(status.left.events))
  elseif status.built_version == 0 then
    return "not built yet"
  elseif status.built_version ~= status.version then
    return ("built by version %d"):format(status.built_version)
  elseif status.followed_by then
    return "followed by " .. status.followed_by
  end
  return "nobody follows"
end

local actions = {}

function actions.list(options, list)
  local rows = {}
  for i, one in ipairs(list) do
    local status, message = one:status()
    if not status then
      complain(message)
      return FAILED
    elseif options.json then
      output.json(status)
    end
    rows[i] = {
      status.name, status.version, status.generation, status.lag or "?", status.skipped,
      output.printable(state_of(status)),
    }
  end
  if not options.json then
    output.table({ "PROJECTION", "VERSION", "GENERATION", "LAG", "LEFT OUT", "STATE" }, rows)
  end
  return OK
end

function actions.show(options, _, one)
  local status, message = one:status()
  if not status then
    complain(message)
    return FAILED
  elseif options.json then
    output.json(status)
    return OK
  end
  terminal.write(("%s  version %d, tables of version %d, generation %d%s\n%s\n"):format(
    status.name, status.version, status.built_version, status.generation,
    status.built and " since " .. status.built or "", output.printable(state_of(status))))
  if status.message then
    terminal.write(output.printable(status.message) .. "\n")
  end
  local rows = {}
  for i, at in ipairs(status.partitions) do
    rows[i] = {
      output.printable(at.topic), at.partition, at.position, at.low, at.high,
      math.max(0, at.high - math.max(at.low, at.position)),
    }
  end
  output.table({ "TOPIC", "PARTITION", "READ TO", "FIRST", "NEXT", "LAG" }, rows)
  return OK
end

local function duration(seconds)
  seconds = math.ceil(seconds)
  if seconds < 60 then
    return ("%d s"):format(seconds)
  elseif seconds < 3600 then
    return ("%d min %02d s"):format(seconds // 60, seconds % 60)
  end
  return ("%d h %02d min"):format(seconds // 3600, seconds % 3600 // 60)
end

-- Tells how far it is, now and then: in JSON, on a terminal in place, else by lines.
local function teller(options)
  local told_ms, marks = 0, {}
  return function(progress)
    local now = sys.monotonic_ms()
    if now - told_ms < TELL_MS then
      return
    end
    told_ms = now
    marks[#marks + 1] = { now, progress.events }
    while #marks > 2 and now - marks[2][1] > RATE_MS do
      table.remove(marks, 1)
    end
    local first = marks[1][1] < now and marks[1] or { progress.began_ms, 0 }
    local rate = (progress.events - first[2]) / math.max(1, now - first[1]) * 1000
    local left = math.max(0, progress.total - progress.events)
    local eta = rate > 0 and left / rate or nil
    if options.json then
      output.json {
        name = options.name, events = progress.before + progress.events, left = left,
        rate = math.floor(rate), eta_seconds = eta and math.ceil(eta),
      }
      return
    end
    local text = ("%s  %s of %s events  %3d%%  %s/s%s"):format(options.name,
      grouped(progress.before + progress.events), grouped(progress.before + progress.total),
      (progress.before + progress.events) * 100 // math.max(1, progress.before + progress.total),
      grouped(math.floor(rate)), eta and "  " .. duration(eta) .. " left" or "")
    if terminal.is_terminal "stderr" then
      terminal.status(text)
    else
      terminal.note(text)
    end
  end
end

function actions.rebuild(options, _, one)
  local db, message = one:connect()
  local done
  if db then
    done, message = rebuild.run(one.def, db.follow, {
      fresh = options.fresh, partial = options.partial, told = teller(options),
    })
  end
  terminal.status ""
  if not done then
    complain(message)
    return FAILED
  end
  local rate = math.floor(done.events / math.max(0.001, done.seconds))
  if options.json then
    output.json {
      name = options.name, done = true, events = done.before + done.events, read = done.events,
      seconds = done.seconds, rate = rate, resumed = done.resumed,
    }
    return OK
  end
  terminal.write(("%s rebuilt: %s events%s in %.1f s, %s/s; its tables are swapped in\n"):format(
    options.name, grouped(done.before + done.events),
    done.resumed and (", %s of them now"):format(grouped(done.events)) or "", done.seconds,
    grouped(rate)))
  return OK
end

-- The projection that is meant; or nil, message.
local function find(list, name)
  local names = {}
  for _, one in ipairs(list) do
    if one.def.name == name then
      return one
    end
    names[one.def.name] = true
  end
  local near = opts.nearest(name, opts.names(names))
  return nil, ("there is no projection %s%s"):format(name,
    near and (" (did you mean %s?)"):format(near) or "")
end

--- Returns the exit code.
function M.run(options)
  background.begin() -- what the script would do by itself only waits
  local script <close>, why = options.load(options.file)
  background.rollback()
  if not script then
    complain(why)
    return SCRIPT
  end
  local list = projection.declared()
  if #list == 0 then
    complain(("%s declares no sipeat.projection"):format(options.file))
    return SCRIPT
  end
  local one
  if options.name then
    one, why = find(list, options.name)
    if not one then
      complain(why)
      return SCRIPT
    end
  end
  return actions[options.action](options, list, one)
end

return M
