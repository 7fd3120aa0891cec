--- The script of this process: its version, reloading it, and what went wrong lately.
local access = require "sipeat.access"
local api = require "sipeat.console_api"
local chains = require "sipeat.console_chains"
local host = require "sipeat.console_host"
local json = require "sipeat.json"
local log = require "sipeat.core.log"
local sys = require "sipeat.core.sys"

local M = {}

local FAILURES = 100

-- The last warnings and errors of the log, newest first; equal ones that follow each other are one.
local function failures()
  local out = json.array {}
  for _, line in ipairs(log.recent()) do
    local last = out[#out]
    if last and last.message == line.message and last.source == line.module
      and last.level == line.level then
      last.count = last.count + 1
    elseif #out < FAILURES then
      out[#out + 1] = {
        at = sys.iso_time(line.at_ms), level = line.level, source = line.module,
        message = access.mask(line.message), event_id = line.event_id, count = 1,
      }
    end
  end
  return out
end

--- The answer of GET scripts; the event without versions, which ask the journal.
function M.state(with_versions)
  if host.is_alone() then
    return host.without { versions = json.array {}, failures = failures() }
  end
  local status = host.core().status()
  return {
    available = true, path = status.script, version = status.version,
    generation = status.generation, uptime_ms = with_versions and status.uptime_ms or nil,
    reloads = status.reloads, refused = status.refused,
    reload_error = status.reload_error or json.null,
    versions = with_versions and chains.versions() or nil, failures = failures(),
  }
end

local function show()
  return M.state(true)
end

local function reload(req)
  if host.is_alone() then
    return nil, host.without({}).reason, "UNSUPPORTED"
  end
  local ok, message, code = api.audit(req, "script.reload", {})
  if ok then
    ok, message, code = host.core().reload()
    code = not ok and code ~= "ECANCELED" and code ~= "EBUSY" and "SCRIPT" or code
  end
  if not ok then
    return nil, message, code
  end
  return { reloaded = true, version = ok }
end

--- For the overview.
function M.summarize(out)
  if not host.is_alone() then
    local status = host.core().status()
    out.script = {
      path = status.script, version = status.version,
      reload_error = status.reload_error or json.null,
    }
  end
end

function M.routes()
  api.route("GET scripts", "viewer", show)
  api.route("POST scripts/reload", "admin", reload)
end

return M
