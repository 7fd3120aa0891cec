--- Where `sipeat chains` finds the journal: in the file or on the server itself, or, when another
--- process works on the file, through what that one serves on this machine.
--
-- Both have list, show, act, versions and export, which give plain objects as /admin/chains does.
local command = require "sipeat.core.command"
local object = require "sipeat.chain_object"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local ANSWER_BYTES = 256 * 1024 * 1024
local QUERY = { "state", "flow", "type", "key", "event", "since_ms", "before_ms", "max" }

-- --- the journal itself ---

-- f(...) as one that gives its answer through `shape`.
local function shaped(f, shape)
  return function(_, ...)
    local value, message, code = f(...)
    if not value then
      return nil, message, code
    end
    return shape(value)
  end
end

local function itself(value)
  return value
end

local function direct()
  local chains = require "sipeat.chains"
  return {
    list = shaped(chains.list, object.list),
    show = shaped(chains.show, object.full),
    act = shaped(chains.act, itself),
    versions = shaped(chains.versions, object.versions),
    export = shaped(function(id)
      return require("sipeat.chain_export").lines(id)
    end, itself),
  }
end

-- --- through a process ---

local Remote = {}
Remote.__index = Remote

function Remote:ask(method, path, options)
  local http = require "sipeat.http"
  options.method, options.url = method, self.base .. path
  options.max_body_bytes, options.timeout = ANSWER_BYTES, "60s"
  local answer, message, code = http.request(options)
  if not answer then
    return nil, ("the process that has the journal does not answer: %s"):format(message), code
  end
  local value, why = answer:json()
  if answer.status == 200 then
    return value, why, "BAD_DATA"
  end
  local told = type(value) == "table" and value or {}
  return nil, told.error or ("the process that has the journal answers %d"):format(answer.status),
    told.code or "REFUSED"
end

function Remote:list(o)
  local query = {}
  for _, name in ipairs(QUERY) do
    query[name] = o[name]
  end
  return self:ask("GET", "/admin/chains", { query = query })
end

function Remote:show(id)
  return self:ask("GET", "/admin/chains/" .. require("sipeat.http").encode(id), {})
end

function Remote:act(id, o)
  return self:ask("POST", "/admin/chains/" .. require("sipeat.http").encode(id), { json = o })
end

function Remote:versions()
  return self:ask("GET", "/admin/chain-versions", {})
end

function Remote:export(id)
  local path = ("/admin/chains/%s/export"):format(require("sipeat.http").encode(id))
  local answer, message, code = self:ask("GET", path, {})
  if not answer then
    return nil, message, code
  end
  return answer.lines
end

-- What the process that has the lock says of itself in it.
local function remote(place, message, code)
  local note = sys.read_file(place .. ".lock") or ""
  local host, port = note:match "\nhttp (%S+):(%d+)\n"
  if not host then
    return nil, message .. " (it serves no HTTP, through which it could be asked)", code
  end
  return setmetatable({ base = ("http://%s:%s"):format(host, port), is_remote = true }, Remote)
end

--- The source of the place; or nil, message, code.
---@param o {journal: string, missing: boolean}
function M.open(o)
  if o.journal == "none" then
    return nil, "there is no journal: --journal or SIPEAT_JOURNAL says none", "NO_JOURNAL"
  elseif o.missing then
    return nil, ("there is no journal %s (name it with --journal or SIPEAT_JOURNAL)"):format(
      opts.show(o.journal)
    ), "NO_JOURNAL"
  end
  local ok, message, code = command.open_journal(o.journal)
  if ok then
    return direct()
  elseif code == "JOURNAL_IN_USE" then
    return remote(o.journal, message, code)
  end
  return nil, message, code
end

return M
