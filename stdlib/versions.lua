--- Versions of the script: the one that runs, and older ones that open runs began with.
--
-- A version is known by the hash of its files (runtime/vm/script_tree.h); the journal keeps the
-- files themselves, as a blob. An older one is recalled from its blob for as long as runs need it:
-- it gives the definitions of its flows, and takes nothing over (sipeat.versions_shadow).
local core = require "sipeat.core.script"
local failure = require "sipeat.failure"
local guard = require "sipeat.guard"
local opts = require "sipeat.opts"
local task = require "sipeat.task"

local M = {}

M.LIMIT = 64 -- versions that are recalled at one time
M.IDLE = 4 -- of them, those that no run needs and that are kept for the next one
M.FAILED_MS = 5000 -- so long a version that did not load is not tried again
local LOAD_TIME = "5s" -- as long as any version may take to load

local running -- { tree, flows } of the version that runs
local pending -- the same of the one that loads

-- Flows by their group. Those of one group are a list: the first one, and each one's `next`.
local function add(flows, flow)
  local last = flows[flow.group]
  if not last then
    flows[flow.group] = flow
    return
  end
  while last.next do
    last = last.next
  end
  last.next = flow
end

-- --- the version that runs ---

--- A flow is declared by the version that loads.
function M.declare(flow)
  flow.version = core.loading()
  if pending then
    pending.tree = flow.version
    add(pending.flows, flow)
  end
end

--- The hash of the version that runs; nil when none has declared a flow.
function M.hash()
  return running and running.tree and running.tree:hash() or nil
end

--- A version of the script begins to load.
function M.begin()
  pending = { flows = {} }
end

--- It has loaded.
function M.commit()
  running, pending = pending, nil
end

--- It has not.
function M.rollback()
  pending = nil
end

--- The version that declared a flow: its hash and its blob. A run is begun under this one, which is
--- no longer the one that runs when the script was saved meanwhile. nil: no script did.
function M.of(flow)
  local tree = flow.version
  if not tree then
    return nil
  end
  return tree:hash(), tree:blob()
end

--- The version that runs: its hash and its blob; nil when it has no flow.
function M.current()
  return M.of { version = running and running.tree }
end

-- --- older versions ---

local Version = {}
Version.__index = Version

local recalled = {} -- hash -> version
local clock = 0 -- counts releases: who was needed last

-- What the version's own flow function calls.
function Version:declare(flow)
  flow.version = self.tree
  add(self.flows, flow)
end

local function count(which)
  local n = 0
  for _, version in pairs(recalled) do
    n = n + (which(version) and 1 or 0)
  end
  return n
end

local function is_idle(version)
  return version.holds == 0 and not version.loader
end

local function is_any()
  return true
end

-- Forgets the idle version that was needed the longest ago: whether there was one.
local function forget_one()
  local oldest
  for _, version in pairs(recalled) do
    if is_idle(version) and (not oldest or version.released < oldest.released) then
      oldest = version
    end
  end
  if oldest then
    recalled[oldest.hash] = nil
  end
  return oldest ~= nil
end

local function let_go(version)
  version.holds = version.holds - 1
  clock = clock + 1
  version.released = clock
  while count(is_idle) > M.IDLE do
    forget_one()
  end
end

local function failed(version, message, code)
  version.message = ("version %s of the script does not load: %s"):format(
    version.hash:sub(1, 12), message
  )
  version.code = code
  version.failed_until_ms = task.monotonic_ms() + M.FAILED_MS
end

local function run(main)
  local this = coroutine.running()
  guard.aside[this] = true
  local ok, why = failure.catch(main)
  guard.aside[this] = nil
  if not ok then
    return nil, why
  end
  return true
end

local function load(version, blob)
  if type(blob) == "function" then
    local why, reason
    blob, why, reason = blob(version.hash)
    if not blob and why then
      return failed(version, why, reason)
    end
  end
  if not blob then
    return failed(version, "the journal does not have it", "VERSION_UNKNOWN")
  end
  local tree, message, code = core.open(blob)
  if not tree then
    return failed(version, message, code == "BAD_DATA" and "VERSION_DAMAGED" or code)
  elseif tree:hash() ~= version.hash then
    local why = "what the journal keeps under this hash has the hash %s"
    return failed(version, why:format(tree:hash()), "VERSION_DAMAGED")
  end
  version.tree = tree
  local main
  main, message = core.recall(tree, require "sipeat.versions_shadow".shadow(version))
  if not main then
    return failed(version, message, "VERSION_FAILED")
  end
  local ok, why
  ok, why, code = task.with_timeout(LOAD_TIME, run, main)
  version.loading = false
  if not ok then
    local text = type(why) == "table" and why.message or why
    return failed(version, text, code == "ECANCELED" and code or "VERSION_FAILED")
  end
end

local function start(version, blob)
  version.loading, version.flows, version.message = true, {}, nil
  version.loader = task.spawn(function()
    task.set_event_id("") -- it is not at the cost of the event that asked first
    local ok, why = failure.catch(load, version, blob)
    version.loading, version.loader = false, nil
    if not ok then
      failed(version, why.message, "VERSION_FAILED")
    end
  end)
end

local function make(hash)
  if count(is_any) >= M.LIMIT and not forget_one() then
    local why = "%d older versions of the script are in use, as many as may be: later"
    return nil, why:format(M.LIMIT), "VERSIONS_FULL"
  end
  local version = setmetatable({ hash = hash, holds = 0, released = 0 }, Version)
  recalled[hash] = version
  return version
end

--- The flows of a version by their group, as sipeat.flow_run takes them; held until release(hash).
--- `blob` is what current() or of() gave, or a function that gets it: blob(hash) -> bytes | nil,
--- message, code; it is asked for only when the version is not there. nil, message and a code: the
--- version does not load ("VERSION_UNKNOWN", "VERSION_DAMAGED", "VERSION_FAILED"), or not now
--- ("VERSIONS_FULL", "ECANCELED"); then nothing is held.
function M.handlers(hash, blob)
  for _, here in ipairs { pending or false, running or false } do
    if here and here.tree and here.tree:hash() == hash then
      return here.flows -- recovery comes before the commit of the first version
    end
  end
  local version = recalled[hash]
  if not version then
    local why, code
    version, why, code = make(hash)
    if not version then
      return nil, why, code
    end
  end
  version.holds = version.holds + 1
  local is_stale = version.message and task.monotonic_ms() >= version.failed_until_ms
  if not version.loader and (not version.flows or is_stale) then
    start(version, blob)
  end
  if version.loader then
    local _, why, reason = version.loader:join()
    if version.loading then -- the one who waits was stopped; the version goes on loading
      let_go(version)
      return nil, why, reason
    end
  end
  if version.message then
    let_go(version)
    return nil, version.message, version.code
  end
  return version.flows
end

--- The flow of a group among those that handlers() gave: of several the one that names the topic,
--- else one with a pattern. nil: the version has none.
function M.pick(flows, group, topic)
  local flow, fallback = flows[group], nil
  while flow do
    for _, name in ipairs(flow.topics) do
      if name == topic then
        return flow
      elseif name:sub(1, 1) == "^" then
        fallback = fallback or flow
      end
    end
    flow = flow.next
  end
  return fallback or flows[group]
end

--- A run does not need its version any more.
function M.release(hash)
  local version = recalled[hash]
  if version and version.holds > 0 then
    let_go(version)
  end
end

--- The versions in memory, the one that runs first: { hash, running, runs, failed }.
function M.used()
  local list = {}
  for i, hash in ipairs(opts.names(recalled)) do
    local version = recalled[hash]
    list[i] = { hash = hash, running = false, runs = version.holds, failed = version.message }
  end
  if running and running.tree then
    table.insert(list, 1, { hash = running.tree:hash(), running = true })
  end
  return list
end

--- What a blob holds: { hash, release, main, files = { { name, bytes }… } }; or nil, message, code.
function M.describe(blob)
  local tree, message, code = core.open(blob)
  if not tree then
    return nil, message, code
  end
  local out = { hash = tree:hash(), release = tree:release(), main = tree:main(), files = {} }
  local _, _, _, files, at = (">c16s4s4I4"):unpack(blob)
  for i = 1, files do
    local name, text
    name, text, at = (">s4s4"):unpack(blob, at)
    out.files[i] = { name = name, bytes = #text }
  end
  return out
end

return M
