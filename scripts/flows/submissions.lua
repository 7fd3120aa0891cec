--- What came in by a form or the API: from the moment it is taken until its event has ended, so
--- that its page can say what became of it, and so that sending it twice makes one event.
--
-- taken: noted here. sent: Kafka (or the outbox) has it. lost: it could not be sent, sending it
-- again may work. done, dead: how its event ended.
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local store = require "flows.store"
local log = require("sipeat.log").new "submissions"
local settings = require "flows.settings"
local sys = require "sipeat.core.sys"

local M = {}

--- The source of such events: only of these the end is noted.
M.SOURCE = "sipeat-web"

-- Data as a text that is the same each time, whatever the order of its fields.
local function spell(value, out)
  if type(value) ~= "table" then
    out[#out + 1] = json.encode(value)
    return
  end
  out[#out + 1] = json.is_array(value) and "[" or "{"
  for _, key in ipairs(opts.names(value)) do
    out[#out + 1] = ("%q:"):format(key)
    spell(value[key] == nil and value[math.tointeger(tonumber(key))] or value[key], out)
  end
  out[#out + 1] = "}"
end

local function digest_of(data)
  local out = {}
  spell(data, out)
  return sys.sha256(table.concat(out, " "))
end

--- The row of an id, or false; nil and a failure when the store does not answer.
function M.find(id)
  local row, problem = store.first("submissions", { event_id = id })
  if row then
    row.about = json.decode(row.about) or {}
    row.ended = row.ended and json.decode(row.ended)
  end
  return row, problem
end

--- Notes what was sent in, and answers its row: the one that is there already, when it was sent
--- before. nil and "KEY_REUSED" when that one was something else; nil and a failure.
function M.open(id, kind, data, about)
  local digest = digest_of(data)
  local row, problem = M.find(id)
  if row == nil then
    return nil, problem
  elseif row and (row.kind ~= kind or row.digest ~= digest) then
    return nil, "KEY_REUSED"
  elseif row then
    return row
  end
  row = {
    event_id = id, kind = kind, digest = digest, about = json.encode(about or {}), state = "taken",
    created_at = sys.iso_time(),
  }
  local ok
  ok, problem = store.put("submissions", row)
  if not ok then
    return nil, problem
  end
  row.about = about or {}
  return row
end

local EVERY_MS = 60 * 60 * 1000
local forgotten_at

--- Forgets what is older than SIPEAT_SUBMISSIONS_KEEP: now and then, when something comes in.
function M.forget_old()
  local now = sys.now_ms()
  if forgotten_at and now - forgotten_at < EVERY_MS then
    return 0
  end
  forgotten_at = now
  local count, problem = store.forget("submissions",
    sys.iso_time(now - settings.submissions_keep_ms()))
  if not count then
    log:warn("old submissions are still there: " .. problem.message)
  end
  return count
end

local function move(id, from, to, why)
  return store.change("submissions", { event_id = id, state = from }, { state = to, why = why })
end

--- Notes that its event is in Kafka or in the outbox.
function M.sent(row)
  return move(row.event_id, row.state, "sent")
end

--- Notes that it could not be sent.
function M.lost(row, why)
  return move(row.event_id, row.state, "lost", why)
end

-- Where a chain or commands have failed, from what they report.
local function place_of(why)
  local where = { failed = why.step }
  for _, name in ipairs { "undone", "not_undone", "unknown" } do
    where[name] = json.array(why[name] or {})
  end
  return json.encode(where)
end

--- A handler that also notes how an event of the web ended.
function M.noted(handler)
  return function(event, ctx)
    if event.source == M.SOURCE and ctx.on_end then
      ctx:on_end(function(outcome)
        local why = outcome.status == "dead" and outcome.failure
        store.change("submissions", { event_id = event.id }, {
          state = why and "dead" or "done", why = why and (why.code or why.message) or nil,
          ended = why and place_of(why) or nil,
        })
      end)
    end
    return handler(event, ctx)
  end
end

return M
