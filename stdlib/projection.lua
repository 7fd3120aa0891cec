--- Projections: read models in SQL, made of the events of topics.
--
-- A projection's tables hold what its handlers made of every event up to the positions that stand
-- beside them, in the same transaction: each event is in them exactly once, whatever crashed. One
-- process follows the topics, others of the same database stand by. When the version in the script
-- is newer than that of the tables, they are built anew beside the old ones and swapped in.
local background = require "sipeat.background"
local env = require "sipeat.env"
local event = require "sipeat.event"
local failure = require "sipeat.failure"
local lease = require "sipeat.lease"
local log = require "sipeat.log"
local metrics = require "sipeat.metrics"
local opts = require "sipeat.opts"
local rebuild = require "sipeat.projection_rebuild"
local runs = require "sipeat.projection_run"
local sql = require "sipeat.sql"
local store = require "sipeat.projection_store"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local PROJECTION = opts.spec("sipeat.projection", {
  name = { "string", required = true },
  version = { "integer", default = 1, min = 1 },
  topic = { "string" },
  topics = { "string[]" },
  db = { "string|secret", required = true },
  tables = { "table", required = true },
  indexes = { "string[]", default = {} },
  on = { "table", required = true },
  batch = { "integer", default = 5000, min = 1, max = 100000 },
  on_error = { "string", default = "stop", enum = { "stop", "skip" } },
  rebuild = { "string", default = "auto", enum = { "auto", "manual" } },
  sequence = { "boolean", default = false },
})

local PAUSES = { backoff = { "1s", "30s" } }
local STAND_BY_MS = 2000
local MISSING_MS = 300 -- until a topic that was missing is looked for again
local LOOK = "20ms" -- between two looks of wait at the positions

local declared = {} -- of the script that was loaded last: a list
local databases = {} -- path -> { follow, ask }: connections stay for the program's life

local lag = metrics.gauge("sipeat_projection_lag_records",
  "Records that a projection has not read.", { "projection" })
local applied = metrics.counter("sipeat_projection_events",
  "Events that are in a read model.", { "projection" })
local failing = metrics.gauge("sipeat_projection_failing",
  "1 while a projection cannot go on.", { "projection" })

-- --- definitions ---

local function check_name(what, name, level)
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" or #name > 50 then
    error(("sipeat.projection: %s: letters, digits and \"_\", got %s"):format(what,
      opts.show(name)), level + 1)
  end
end

local function check_tables(o, level)
  if next(o.tables) == nil then
    error("sipeat.projection: tables: at least one, as in { stock = \"machine TEXT, …\" }",
      level + 1)
  end
  for name, columns in pairs(o.tables) do
    check_name("a table's name", name, level + 1)
    if type(columns) ~= "string" or columns == "" then
      error(("sipeat.projection: tables.%s: its columns as text, got %s"):format(name,
        opts.show(columns)), level + 1)
    end
  end
  for _, index in ipairs(o.indexes) do
    local name = index:match "^%s*([%w_]+)%s*%(.*%)%s*$"
    if not name or not o.tables[name] then
      error(("sipeat.projection: indexes: expected \"table (columns)\", got %s"):format(
        opts.show(index)), level + 1)
    end
  end
end

local function routes_of(on, level)
  local routes = {}
  for what, handler in pairs(on) do
    local definition = event.is_definition(what) and what or nil
    local name = definition and definition.type or what
    if type(name) ~= "string" or routes[name] or not opts.is_callable(handler) then
      error(("sipeat.projection: on: one function for each type or definition; see %s"):format(
        opts.show(name)), level + 1)
    end
    routes[name] = { handler = handler, definition = definition }
  end
  if next(routes) == nil then
    error("sipeat.projection: on: no handler; name a type, or \"*\" for every type", level + 1)
  end
  return routes
end

-- With `sequence`, one more table: how far each stream was applied.
local function add_seen(o)
  local name = o.name .. "_seen"
  o.tables[name] = "stream TEXT PRIMARY KEY, sequence BIGINT NOT NULL"
  o.seen_query = ("SELECT sequence FROM {%s} WHERE stream = ?"):format(name)
  o.seen_sql = ("INSERT INTO {%s} VALUES (?, ?) ON CONFLICT (stream) "
    .. "DO UPDATE SET sequence = excluded.sequence"):format(name)
end

local function define(options, level)
  local o = PROJECTION(options, level + 1)
  check_name("name", o.name, level + 1)
  check_tables(o, level + 1)
  local own = {}
  for name, columns in pairs(o.tables) do
    own[name] = columns
  end
  o.tables = own
  o.topics = o.topics or {}
  o.topics[#o.topics + 1] = o.topic
  if #o.topics == 0 then
    error("sipeat.projection: no topic: set topic = \"name\" or topics = { … }", level + 1)
  end
  o.routes = routes_of(o.on, level + 1)
  if o.sequence then
    add_seen(o)
  end
  o.log = log.new("projection " .. o.name)
  return o
end

-- --- connections ---

local function connect(path)
  path = env.is_secret(path) and env.reveal(path) or path
  local kept = databases[path]
  if kept then
    return kept
  end
  local follow, message, code = sql.open(path)
  if not follow then
    return nil, message, code
  end
  kept = { follow = follow, ask = follow }
  if path ~= ":memory:" then
    kept.ask, message, code = sql.open(path)
    if not kept.ask then
      follow:close()
      return nil, message, code
    end
  end
  databases[path] = databases[path] or kept
  return databases[path]
end

local Projection = {}
Projection.__index = Projection

--- Its connections; the second one is for questions, which then wait for no transaction.
function Projection:connect()
  local db, message, code = connect(self.def.db)
  if not db then
    return nil, message, code
  elseif not self.prepared then
    local ok
    ok, message, code = store.prepare(db.follow, self.def.name)
    if not ok then
      return nil, message, code
    end
    self.prepared = true
  end
  return db
end

-- --- following ---

-- What stands between the version of the script and that of the tables. true: nothing.
local function agree(self, db, row)
  local def = self.def
  if row.version > def.version then
    local why = "projection %s: its tables were built by version %d, and this script has version "
      .. "%d: run the newer script, or sipeat project rebuild to go back"
    return nil, why:format(def.name, row.version, def.version), "PROJECTION_NEWER"
  elseif row.version == def.version then
    return true
  elseif row.version == 0 then
    return store.create_live(db, def, self.me)
  elseif def.rebuild == "manual" then
    local why = "projection %s: its tables were built by version %d, and this script has version "
      .. "%d: run sipeat project rebuild"
    return nil, why:format(def.name, row.version, def.version), "PROJECTION_OLD"
  end
  def.log:info(("version %d is built beside version %d"):format(def.version, row.version))
  return rebuild.run(def, db, { job = self.job })
end

-- Refuses positions that the topics do not reach, and says what is not there any more.
local function check_spans(def, spans, committed)
  for topic, list in pairs(spans) do
    for partition, span in pairs(list) do
      local at = (committed[topic] or {})[partition]
      if at and at > span.high then
        local why = "projection %s: %s[%d] was read up to %d and ends at %d: was the topic made "
          .. "anew? (sipeat project rebuild --fresh reads it from its beginning)"
        return nil, why:format(def.name, topic, partition, at, span.high),
          "PROJECTION_POSITION_LOST"
      elseif span.low > (at or 0) then
        def.log:warn(("%s[%d] begins at %d: what was before is not in the tables"):format(topic,
          partition, span.low))
      end
    end
  end
  return true
end

local function follow(self, db)
  local def = self.def
  local row, message, code = store.state(db, def.name)
  if not row then
    return nil, message, code
  end
  local committed
  committed, message, code = store.positions(db, def.name, store.LIVE)
  if not committed then
    return nil, message, code
  end
  local counted = 0
  local run = runs.new(def, {
    db = db, build = store.LIVE, role = "runner", me = self.me, generation = row.generation,
    committed = committed, told = function(run)
      applied:add(run.events - counted, def.name)
      counted = run.events
      failing:set(0, def.name)
      self.message, self.code, self.failures = nil, nil, 0
    end,
  })
  local spans, left, reason = run:look()
  if not spans then
    return nil, left, reason
  end
  local ok
  ok, message, code = check_spans(def, spans, committed)
  if not ok then
    return nil, message, code
  end
  lag:set(left, def.name)
  self.run, self.following = run, true
  ok, message, code = run:read(false)
  self.run, self.following = nil, false
  return ok, message, code
end

-- One try: the lease, the tables, and following until something ends it.
local function try(self)
  local db, message, code = self:connect()
  if not db then
    return nil, message, code
  end
  db = db.follow
  local row
  row, message, code = store.lease(db, self.def.name, "runner", self.me)
  if not row then
    return nil, message, code
  end
  local ok
  ok, message, code = agree(self, db, row)
  if ok and not self.job.stopped then
    ok, message, code = follow(self, db)
  end
  store.release(db, self.def.name, "runner", self.me)
  return ok, message, code
end

-- Expected ways for a try to end, which are no failures.
local QUIET = { PROJECTION_BUSY = true, PROJECTION_MOVED = true }
local MISSING = "UNKNOWN_TOPIC_OR_PART" -- a topic that somebody makes soon, mostly

local function work(self, job)
  local pause = opts.backoff(PAUSES)
  self.job, self.me, self.failures = job, lease.me(), 0
  local stop = job.stop
  job.stop = function(...)
    if self.run then
      self.run:stop()
    end
    return stop(...)
  end
  while not job.stopped do
    local ok, why = failure.catch(try, self)
    if ok or job.stopped then
      break
    end
    local message, code = why.message, why.code
    if QUIET[code] then
      self.standing_by = message
      job:rest(STAND_BY_MS)
    elseif code == MISSING and self.code ~= code then
      self.message, self.code = message, code
      self.def.log:info("waits: " .. self.message)
      job:rest(MISSING_MS)
    else
      self.failures = self.failures + 1
      if code ~= "ECANCELED" then
        failing:set(1, self.def.name)
        local again = message ~= self.message and "error" or "debug"
        self.def.log[again](self.def.log, message, { code = code })
      end
      self.message, self.code = message, code
      job:rest(pause(math.min(self.failures, 10)))
    end
    self.standing_by = QUIET[code] and message or nil
  end
end

-- --- what a script does with it ---

--- Rows of its tables, as far as they were built. `{name}` in the statement is a table; the plain
--- name is the same.
function Projection:query(text, ...)
  local db, message, code = self:connect()
  if not db then
    return nil, message, code
  end
  local statement = text:gsub("{([%w_]+)}", "%1")
  return db.ask:query(statement, ...)
end

--- How far it is: { name, version, built_version, generation, following, standing_by, message,
--- code, rebuilding, skipped, lag, partitions = { { topic, partition, position, low, high } } }.
function Projection:status()
  return rebuild.status(self)
end

local function has_passed(self, db, report)
  local positions, message, code = store.positions(db, self.def.name, store.LIVE)
  if not positions then
    return nil, message, code
  end
  return ((positions[report.topic] or {})[report.partition] or 0) > report.offset
end

--- Waits until the read model has that record, as sipeat.publish reports it. true; or nil, message,
--- "ETIMEDOUT".
function Projection:wait(report, timeout)
  local limit_ms, why = opts.duration_ms(timeout or "5s")
  if not limit_ms then
    error("projection wait: " .. why, 2)
  elseif type(report) ~= "table" or not report.partition or not report.offset then
    error("projection wait: expected { topic, partition, offset }, as sipeat.publish gives", 2)
  end
  local db, message, code = self:connect()
  local till = sys.monotonic_ms() + limit_ms
  while db do
    local passed
    passed, message, code = has_passed(self, db.ask, report)
    if passed then
      return true
    elseif passed == nil then
      break
    elseif sys.monotonic_ms() >= till then
      message = ("projection %s has not read %s[%d]@%d after %s"):format(self.def.name,
        report.topic, report.partition, report.offset, timeout or "5s")
      return nil, message, "ETIMEDOUT"
    end
    local slept
    slept, message, code = task.sleep(LOOK)
    if not slept then
      break
    end
  end
  return nil, message, code
end

--- Declares a projection and follows its topics in the background. Of several workers the first
--- one does; all of them may ask.
function M.projection(options)
  local def = define(options, 2)
  for i = #declared, 1, -1 do
    if declared[i].def.name == def.name then
      table.remove(declared, i) -- of the version of the script before
    end
  end
  local self = setmetatable({ def = def }, Projection)
  declared[#declared + 1] = self
  if sys.worker == 1 then
    background.run("projection " .. def.name, function(job)
      local ok, why = failure.catch(work, self, job)
      if not ok and why.kind ~= "cancelled" then
        error(why, 0)
      end
    end)
  end
  return self
end

--- What the script declares.
function M.declared()
  return declared
end

return setmetatable(M, {
  __call = function(_, options)
    return M.projection(options)
  end,
})
