--- Versions of the script in the journal: written before the first run of each, and read when a run
--- goes on that began with another one than runs. There a hash has 32 bytes.
local bytes = require "sipeat.bytes"
local core = require "sipeat.core.journal"
local journal = require "sipeat.journal"
local task = require "sipeat.core.task"
local sys = require "sipeat.core.sys"
local versions = require "sipeat.versions"

local M = {}

-- How long it is enough to have written a version: what nobody needs is purged by its age, so that
-- of the one that runs is renewed.
M.RENEWED_MS = 3600000

local known = setmetatable({}, { __mode = "v" }) -- hash -> the flow that it is of
local written = {} -- hash -> when, on the monotonic clock
local writing = {} -- hash -> signal

--- The hash of the version that declared a flow, for its runs; "" when no script did.
function M.of(flow)
  local hex = flow.version and flow.version:hash()
  if not hex then
    return ""
  end
  if flow.version_hex ~= hex then
    flow.version_hex, flow.version_hash = hex, bytes.unhex(hex)
  end
  known[flow.version_hash] = flow
  return flow.version_hash
end

local function write(hash, flow)
  local _, blob = versions.of(flow)
  local signal = task.signal()
  writing[hash] = signal
  local changed, message, code = journal.write {
    "script_add", core.blob(hash), sys.now_ms(), core.blob(blob), n = 4,
  }
  writing[hash] = nil
  signal:wake()
  if not changed then
    return nil, message, code
  end
  written[hash] = sys.monotonic_ms()
  return true
end

--- Makes the files of a version durable, unless they are: before the first record of a run. true,
--- or nil, message, code.
function M.keep(hash)
  local now = sys.monotonic_ms()
  while not written[hash] or now - written[hash] >= M.RENEWED_MS do
    local flow, signal = known[hash], writing[hash]
    if not flow then
      return true -- of no script; or recalled, and so from the journal
    elseif not signal then
      return write(hash, flow)
    end
    local ok, message, code = signal:wait()
    if not ok then
      return nil, message, code
    end
  end
  return true
end

local function fetch(hex)
  local rows, message, code = journal.write { "script_get", core.blob(bytes.unhex(hex)), n = 2 }
  if not rows then
    return nil, message, code
  end
  return rows[1] and rows[1][1]
end

--- The flow that a run goes on with, as sipeat.flow_run takes it: of the version that it began
--- with. It is the run's until release(hash). nil, message, code as of versions.handlers; also
--- "VERSION_WITHOUT_FLOW" when the version has none of that group.
function M.flow(hash, group, topic)
  local hex = bytes.hex(hash)
  local flows, message, code = versions.handlers(hex, fetch)
  if not flows then
    return nil, message, code
  end
  local flow = versions.pick(flows, group, topic)
  if not flow then
    versions.release(hex)
    local why = "version %s of the script has no flow of the group %s"
    return nil, why:format(hex:sub(1, 12), group), "VERSION_WITHOUT_FLOW"
  end
  return flow
end

--- The run needs its version no longer: it has ended, or sleeps, or has been parked.
function M.release(hash)
  versions.release(bytes.hex(hash))
end

return M
