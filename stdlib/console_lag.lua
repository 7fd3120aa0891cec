--- Where the groups of the cluster stand, looked at every few seconds while somebody uses the
--- console, and how their lag went. All groups cost one look.
local cluster = require "sipeat.console_cluster"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sampler = require "sipeat.console_sampler"
local sys = require "sipeat.core.sys"

local M = {}

M.EVERY_MS = 5000
local POINTS, GROUPS = 720, 1000 -- kept of a group, and groups
local EMBEDDED = "groups: an embedded broker lists only those of this process"

local own = function() -- names of the groups of this process; set by serve
  return {}
end

local groups, limits = {}, {} -- the last look: by name, and what it could not tell
local at_ms, told_at -- of it: on the monotonic clock, and as text
local history = {} -- name -> { first, last, [n] = { at_ms, lag } }

--- Names the function that tells the groups of this process.
function M.set_own(f)
  own = f
end

local function note(name, lag, now)
  local points = history[name]
  if not points then
    points = { first = 1, last = 0 }
    history[name] = points
  end
  points.last = points.last + 1
  points[points.last] = { now, lag }
  if points.last - points.first >= POINTS then
    points[points.first] = nil
    points.first = points.first + 1
  end
end

local function sum_of(offsets)
  local sum = 0
  for _, at in ipairs(offsets) do
    sum = sum + at.lag
  end
  return sum
end

-- Forgets the history of groups that are gone.
local function forget(seen)
  for name in pairs(history) do
    history[name] = seen[name] and history[name] or nil
  end
end

-- The groups as the cluster tells them, what it does not tell, and our own; or nil, message, code.
local function look()
  local embedded, message, code = cluster.is_embedded()
  if embedded == nil then
    return nil, message, code
  end
  local mine = own()
  local found
  found, message, code = cluster.call("describe_groups", embedded and opts.names(mine) or nil)
  if not found then
    return nil, message, code
  end
  return found, json.array { embedded and EMBEDDED or nil }, mine
end

--- Looks at the groups now. true, or nil, message, code.
function M.refresh()
  local found, told, mine = look()
  if not found then
    return nil, told, mine
  end
  local seen, now = {}, sys.now_ms()
  groups, limits, at_ms, told_at = {}, told, sys.monotonic_ms(), sys.iso_time(now)
  for i = 1, math.min(#found, GROUPS) do
    local one = found[i]
    one.lag, one.ours = sum_of(one.offsets), mine[one.name] ~= nil
    if one.ours and one.state == "unknown" then -- embedded: but we know our own
      one.state, one.members = mine[one.name].state, mine[one.name].members
    end
    groups[one.name], seen[one.name] = one, true
    note(one.name, one.lag, now)
  end
  forget(seen)
  return true
end

local looking = sampler.new(M.EVERY_MS, M.refresh)

--- Keeps looking for some minutes from now on.
function M.touch()
  looking:touch()
end

--- What was found last, looked at now when that is long ago: name -> group of describe_group with
--- lag and ours, and limits. nil, message, code.
function M.groups()
  M.touch()
  if not at_ms or sys.monotonic_ms() - at_ms >= M.EVERY_MS then
    local ok, message, code = looking:now()
    if not ok then
      return nil, message, code
    end
  end
  return groups, limits
end

--- The same without asking for anything, and when that was, as text; nil when it never was.
function M.known()
  return groups, told_at
end

--- { every_ms, points } of one group.
function M.history(name)
  local points, out = history[name] or { first = 1, last = 0 }, json.array {}
  for i = points.first, points.last do
    out[#out + 1] = points[i]
  end
  return { every_ms = M.EVERY_MS, points = out }
end

--- The groups that have committed in a topic: { name, state, lag }, by name, as known.
function M.groups_of(topic)
  local found, out = M.groups() or {}, json.array {}
  for name, group in pairs(found) do
    local lag
    for _, at in ipairs(group.offsets) do
      lag = at.topic == topic and (lag or 0) + at.lag or lag
    end
    if lag then
      out[#out + 1] = { name = name, state = group.state, lag = lag }
    end
  end
  table.sort(out, function(a, b)
    return a.name < b.name
  end)
  return out
end

return M
