--- Rebuilding a projection beside its live tables, and what is said of it meanwhile.
--
-- Everything that a rebuild has done is committed with its positions: one that was killed goes on
-- where it was. The last step swaps its tables for the live ones, in one transaction.
local lease = require "sipeat.lease"
local runs = require "sipeat.projection_run"
local store = require "sipeat.projection_store"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local SWAP_PAUSE = "50ms"

-- Refuses a topic whose first records are gone: the tables would not hold what the live ones do.
local function check_whole(def, spans)
  for topic, list in pairs(spans) do
    for partition, span in pairs(list) do
      if span.low > 0 and span.high > span.low then
        local why = "rebuild %s: %s[%d] begins at %d: what was before is gone from the topic "
          .. "(--partial builds it of what is left)"
        return nil, why:format(def.name, topic, partition, span.low), "PROJECTION_EVENTS_GONE"
      end
    end
  end
  return true
end

-- Reads to the end and swaps, again and again until the live tables are not ahead.
local function read_and_swap(run, def, db, me, job)
  while true do
    local ok, message, code = run:read(true)
    if ok and job and job.stopped then
      return nil, "stopped", "ECANCELED"
    elseif ok then
      ok, message, code = store.swap(db, def, me)
    end
    if ok or code ~= "PROJECTION_BEHIND" then
      return ok, message, code
    end
    ok, message, code = task.sleep(SWAP_PAUSE)
    if not ok then
      return nil, message, code
    end
  end
end

local function build(def, db, me, row, o)
  local begun, resumed, code = store.begin_build(db, def, o.fresh)
  if not begun then
    return nil, resumed, code
  end
  local committed, message
  committed, message, code = store.positions(db, def.name, store.SHADOW)
  if not committed then
    return nil, message, code
  end
  local progress = {
    resumed = resumed, before = begun.build_events, began_ms = sys.monotonic_ms(), events = 0,
  }
  local run = runs.new(def, {
    db = db, build = store.SHADOW, role = "builder", me = me, generation = row.generation,
    committed = committed, told = function(run)
      progress.events = run.events
      if o.told then
        o.told(progress)
      end
    end,
  })
  local spans, left, reason = run:look()
  if not spans then
    return nil, left, reason
  end
  progress.total = left
  local ok = true
  if not o.partial and not resumed then
    ok, message, code = check_whole(def, spans)
  end
  if ok then
    ok, message, code = read_and_swap(run, def, db, me, o.job)
  end
  if not ok then
    return nil, message, code
  end
  progress.seconds = (sys.monotonic_ms() - progress.began_ms) / 1000
  return progress
end

--- Builds the tables anew and swaps them in; goes on with a rebuild that was left. `o`: job (one
--- that may be stopped), fresh, partial, told(progress). { events, before, resumed, seconds }; or
--- nil, message, code: "PROJECTION_BUSY" when another process does it.
function M.run(def, db, o)
  local me = lease.me()
  local row, message, code = store.lease(db, def.name, "builder", me)
  if not row then
    return nil, message, code
  end
  local done
  done, message, code = build(def, db, me, row, o or {})
  if not done then
    store.release(db, def.name, "builder", me)
    return nil, message, code
  end
  return done
end

-- Where its partitions stand, with what the broker says when it answers.
local function partitions_of(self, positions)
  local list, lag = {}, 0
  local run = runs.new(self.def, { build = store.LIVE, committed = positions })
  local spans, message, code = run:look()
  if not spans then
    return nil, message, code
  end
  for _, topic in ipairs(self.def.topics) do
    local ids = {}
    for id in pairs(spans[topic]) do
      ids[#ids + 1] = id
    end
    table.sort(ids)
    for _, id in ipairs(ids) do
      local span, at = spans[topic][id], (positions[topic] or {})[id]
      list[#list + 1] = {
        topic = topic, partition = id, position = at or 0, low = span.low, high = span.high,
      }
      lag = lag + math.max(0, span.high - math.max(span.low, at or 0))
    end
  end
  return list, lag
end

--- What sipeat.projection's status answers.
function M.status(self)
  local db, message, code = self:connect()
  local row, positions, skipped
  if db then
    row, message, code = store.state(db.ask, self.def.name)
  end
  if row then
    positions, message, code = store.positions(db.ask, self.def.name, store.LIVE)
  end
  if positions then
    skipped, message, code = store.skipped(db.ask, self.def.name)
  end
  if not skipped then
    return nil, message, code
  end
  local partitions, lag, lag_code = partitions_of(self, positions)
  local builder, runner = store.holder(row, "builder"), store.holder(row, "runner")
  return {
    name = self.def.name, version = self.def.version, built_version = row.version,
    generation = row.generation, built = row.built_ms and sys.iso_time(row.built_ms),
    following = self.following or false, followed_by = runner and lease.describe(runner),
    standing_by = self.standing_by, message = self.message or not partitions and lag or nil,
    code = self.code or not partitions and lag_code or nil,
    rebuilding = builder and lease.describe(builder),
    left = row.build_version and {
      version = row.build_version, events = row.build_events,
      began = sys.iso_time(row.build_began_ms),
    } or nil,
    skipped = skipped, lag = partitions and lag or nil, partitions = partitions or {},
  }
end

return M
