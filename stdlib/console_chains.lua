--- Chains in the journal of this process: lists, one with its timeline, and what people decide.
local access = require "sipeat.access"
local api = require "sipeat.console_api"
local chains = require "sipeat.chains"
local filter = require "sipeat.console_filter"
local host = require "sipeat.console_host"
local json = require "sipeat.json"
local object = require "sipeat.chain_object"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local NO_JOURNAL = "this process has no journal (--journal, docs/journal.md)"
local PARKED = 50 -- in the live figures
local LISTED = 1000

local function is_open()
  return not host.is_alone() and chains.is_open()
end

local function absent()
  local reason = not host.is_alone() and NO_JOURNAL or nil
  return host.without({ runs = json.array {}, counts = {}, more = false }, reason)
end

-- The run as this user may see it.
local function seen(req, run)
  if access.may(req.user, "operator") then
    return run
  end
  run.key = run.key and access.seen(req, run.key)
  for _, list in ipairs { run.steps or {}, run.timeline or {} } do
    for _, one in ipairs(list) do
      for _, name in ipairs { "args", "result", "value", "message" } do
        if one[name] ~= nil then
          one[name] = access.seen(req, one[name])
        end
      end
    end
  end
  return run
end

local function time_of(text, name)
  if text ~= nil and text ~= "" then
    return filter.time_ms(text, name)
  end
end

local function filter_of(req)
  local o = {}
  for _, name in ipairs { "state", "flow", "type", "key", "event" } do
    o[name] = req.query[name] ~= "" and req.query[name] or nil
  end
  if o.state and o.state ~= "all" then
    local known = false
    for _, name in pairs(chains.STATES) do
      known = known or name == o.state
    end
    if not known then
      return nil, "there is no state " .. opts.show(o.state), "BAD_REQUEST"
    end
  end
  local message, code
  o.since_ms, message, code = time_of(req.query.since, "since")
  if not code then
    o.before_ms, message, code = time_of(req.query.before, "before")
  end
  if not code then
    o.max, message, code = api.integer(req.query.max, "max", 100, LISTED)
  end
  if code then
    return nil, message, code
  end
  return o
end

local function list(req)
  if not is_open() then
    return absent()
  end
  local o, message, code = filter_of(req)
  local found
  if o then
    found, message, code = chains.list(o)
  end
  if not found then
    return nil, message, code
  end
  local out = object.list(found)
  out.available = true
  for _, run in ipairs(out.runs) do
    seen(req, run)
  end
  return out
end

local function show(req)
  if not is_open() then
    return nil, absent().reason, "NO_JOURNAL"
  end
  local run, message, code = chains.show(req.params.id)
  if not run then
    return nil, message, code
  end
  return api.with_status(200, seen(req, object.full(run)))
end

local ACT = opts.spec("sipeat.console.act", {
  why = { "string", required = true, check = function(text)
    return not text:find "%S" and "is empty: say why" or nil
  end },
  step = { "string" },
  result = { "any" },
  not_done = { "boolean" },
  dry_run = { "boolean", default = false },
})

local VERBS = { retry = true, skip = true, undo = true, complete = true, abandon = true }

local function act(req)
  local verb = req.params.verb
  if not VERBS[verb] then
    return nil, "there is no verb " .. opts.show(verb), "NOT_FOUND"
  elseif not is_open() then
    return nil, absent().reason, "NO_JOURNAL"
  end
  local o, message, code = api.body(req, ACT)
  if not o then
    return nil, message, code
  end
  o.verb, o.who = verb, api.who(req)
  if o.result ~= nil then
    o.result = json.encode(o.result)
  end
  local really = not o.dry_run
  o.dry_run = true
  local done
  done, message, code = chains.act(req.params.id, o)
  if done and really then
    local ok
    ok, message, code = api.audit(req, "chain." .. verb, {
      run = req.params.id, step = o.step, why = o.why,
    })
    o.dry_run = false
    if ok then
      done, message, code = chains.act(req.params.id, o)
    else
      done = nil
    end
  end
  if not done then
    return nil, message, code
  end
  done.changes, done.dry_run = json.array(done.changes), not really
  return done
end

--- What the event `chains` tells: counts, and the parked ones as viewers see them.
function M.state()
  if not is_open() then
    local out = absent()
    out.parked = json.array {}
    return out
  end
  local found, message, code = chains.list { state = "parked", max = PARKED }
  if not found then
    return nil, message, code
  end
  local out = object.list(found)
  local viewer = { user = { role = "viewer" } }
  for _, run in ipairs(out.runs) do
    seen(viewer, run)
  end
  return { available = true, counts = out.counts, parked = out.runs }
end

local parked_at, parked_kept

--- How many runs of each flow wait for a person; nil without a journal.
function M.parked_by_flow()
  if not is_open() then
    return nil
  end
  local now = sys.monotonic_ms()
  if not parked_at or now - parked_at >= 2000 then
    local found = chains.list { state = "parked", max = LISTED }
    parked_at, parked_kept = now, {}
    for _, run in ipairs(found and found.runs or {}) do
      parked_kept[run.flow] = (parked_kept[run.flow] or 0) + 1
    end
  end
  return parked_kept
end

--- The runs of an event, or the run of that id, as viewers see them; empty without a journal.
function M.find(req, id)
  local out = json.array {}
  if is_open() then
    local found = chains.list { event = id, max = PARKED }
    for _, run in ipairs(found and found.runs or {}) do
      out[#out + 1] = seen(req, object.run(run))
    end
    local one = #out == 0 and id:find "^%d+$" and chains.show(id)
    out[#out + 1] = one and seen(req, object.run(one)) or nil
  end
  return out
end

--- Versions of the script that runs in the journal need; empty without one.
function M.versions()
  local found = is_open() and chains.versions()
  return found and object.versions(found) or json.array {}
end

--- Sums for the overview.
function M.summarize(out)
  local counts = is_open() and chains.counts(false)
  out.chains = counts and { available = true, counts = counts }
    or { available = false, reason = absent().reason, counts = {} }
end

function M.routes()
  api.route("GET chains", "viewer", list)
  api.route("GET chains/:id", "viewer", show)
  api.route("POST chains/:id/:verb", "operator", act)
end

return M
