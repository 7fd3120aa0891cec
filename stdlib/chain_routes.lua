--- /admin/chains: what `sipeat chains` does in a process that has the journal.
local access = require "sipeat.access"
local chains = require "sipeat.chains"
local object = require "sipeat.chain_object"
local opts = require "sipeat.opts"

local M = {}

local STATUS = { NOT_FOUND = 404, BUSY = 409, REFUSED = 409, USAGE = 400 }

local function refused(message, code)
  return { status = STATUS[code] or 503, json = { error = message, code = code } }
end

-- A handler of f(req) -> value, or nil, message, code.
local function answering(f)
  return function(req)
    if not chains.is_open() then
      return refused("this process has no journal", "NO_JOURNAL")
    end
    local value, message, code = f(req)
    if value == nil then
      return refused(message, code)
    end
    return { status = 200, json = value }
  end
end

local FILTERS = { "state", "flow", "type", "key", "event" }
local NUMBERS = { "since_ms", "before_ms", "max" }

local function list(req)
  local o = {}
  for _, name in ipairs(FILTERS) do
    o[name] = req.query[name]
  end
  for _, name in ipairs(NUMBERS) do
    o[name] = math.tointeger(tonumber(req.query[name] or ""))
  end
  local found, message, code = chains.list(o)
  if not found then
    return nil, message, code
  end
  return object.list(found)
end

local function show(req)
  local run, message, code = chains.show(req.params.id)
  if not run then
    return nil, message, code
  end
  return object.full(run)
end

local function versions()
  local found, message, code = chains.versions()
  if not found then
    return nil, message, code
  end
  return object.versions(found)
end

local function export(req)
  local lines, message, code = require("sipeat.chain_export").lines(req.params.id)
  if not lines then
    return nil, message, code
  end
  return { lines = lines }
end

local ACT = opts.spec("sipeat.chains.act", {
  verb = { "string", required = true, enum = { "retry", "skip", "undo", "complete", "abandon" } },
  who = { "string", required = true },
  why = { "string", required = true },
  step = { "string" },
  result = { "string" },
  not_done = { "boolean" },
  dry_run = { "boolean" },
})

local function act(req)
  local said, message = req:json()
  local o, code
  if type(said) == "table" then
    o, message = ACT(said, false)
  end
  if not o then
    return nil, message or "an object with verb, who and why is needed", "USAGE"
  end
  if not o.dry_run then
    local noted
    noted, message, code = access.audit({ name = o.who, via = "command line" }, "chain." .. o.verb,
      { run = req.params.id, step = o.step, why = o.why })
    if not noted then
      return nil, message, code
    end
  end
  return chains.act(req.params.id, o)
end

--- Adds the routes; `guarded` lets only programs on this machine pass.
function M.add(http, guarded)
  local builtin = { builtin = true }
  chains.is_live = true
  http.route("GET /admin/chains", guarded(answering(list)), builtin)
  http.route("GET /admin/chains/:id", guarded(answering(show)), builtin)
  http.route("GET /admin/chains/:id/export", guarded(answering(export)), builtin)
  http.route("GET /admin/chain-versions", guarded(answering(versions)), builtin)
  http.route("POST /admin/chains/:id", guarded(answering(act)), builtin)
end

return M
