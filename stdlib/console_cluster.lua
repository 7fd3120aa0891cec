--- The cluster as the console asks for it: few calls at once, and many askers share an answer.
--
-- Calls of admin block a thread of the pool, for ten seconds when no broker answers: at most two of
-- them belong to the console, so that journal and files go on.
local kafka = require "sipeat.kafka"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local CALLS, PATIENCE = 2, "12s"
local FRESH_MS = 1000
local GLANCE, FAILED_MS = "2s", 5000

local admin = kafka.admin()
local turns = task.semaphore(CALLS)
local kept = {} -- name -> { turn, at_ms, value }
local failed -- the last glance, when it failed

--- A call of sipeat.kafka.admin by its name: its results.
function M.call(name, ...)
  local ok, message, code = turns:acquire(PATIENCE)
  if code == "ETIMEDOUT" then
    return nil, "the cluster is slow to answer: others wait for it already", code
  elseif not ok then
    return nil, message, code
  end
  local _ <close> = setmetatable({}, {
    __close = function()
      turns:release()
    end,
  })
  local value
  value, message, code = admin[name](admin, ...)
  return value, message, code
end

local function refresh(entry, name)
  if entry.at_ms and sys.monotonic_ms() - entry.at_ms < FRESH_MS then
    return entry.value
  end
  local value, message, code = M.call(name)
  if value then
    entry.value, entry.at_ms = value, sys.monotonic_ms()
  end
  return value, message, code
end

--- The same of a call without arguments, at most a second old.
function M.shared(name)
  local entry = kept[name] or { turn = task.semaphore(1) }
  kept[name] = entry
  return entry.turn:with(refresh, entry, name)
end

local function cluster_now()
  return M.shared "cluster"
end

--- The cluster, for what is shown at once: when no broker answers it waits for two seconds, and for
--- some more it says so without asking.
function M.glance()
  local now = sys.monotonic_ms()
  if failed and now - failed.at_ms < FAILED_MS then
    return nil, failed.message, failed.code
  end
  local found, message, code = task.with_timeout(GLANCE, cluster_now)
  if not found and code == "ETIMEDOUT" then
    message = "no broker answers"
  end
  failed = not found and code ~= "ECANCELED"
    and { at_ms = now, message = message, code = code } or nil
  return found, message, code
end

--- What is kept may be wrong now.
function M.changed()
  kept = {}
end

--- Is it an embedded broker? nil, message, code when the cluster does not answer.
function M.is_embedded()
  local cluster, message, code = M.shared "cluster"
  if not cluster then
    return nil, message, code
  end
  return cluster.embedded
end

return M
