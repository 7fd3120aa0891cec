--- Event sourcing: what is so is made of everything that has happened to it.
--
-- An aggregate is declared by its events and its commands. A command looks at the state and answers
-- events; they are stored in SQL under the next numbers of their stream, together with the id of
-- the command and with what is published, in one transaction. Two writers of one stream: the
-- second one is told CONFLICT, or decides again on the new state.
local database = require "sipeat.eventsource_store"
local event = require "sipeat.event"
local failure = require "sipeat.failure"
local log = require "sipeat.log".new "eventsource"
local opts = require "sipeat.opts"
local relays = require "sipeat.relay"
local sql = require "sipeat.sql"
local task = require "sipeat.task"

local M = {}

local AGGREGATE = opts.spec("sipeat.eventsource.aggregate", {
  name = { "string", required = true },
  version = { "integer", default = 1, min = 1 },
  snapshot = { "integer", default = 100, min = 0 },
  topic = { "string" },
  mode = { "string", default = "plain", enum = { "binary", "structured", "plain", "body" } },
  initial = { "function", required = true },
  events = { "table", required = true },
  commands = { "table", default = {} },
})

local OPEN = opts.spec("sipeat.eventsource.open", {
  db = { "string|secret", required = true },
  aggregates = { "table", required = true },
})

local EXECUTE = opts.spec("sipeat.eventsource.execute", {
  command_id = { "string" },
  expected = { "integer", min = 0 },
  trace = { "string" },
})

local TRIES = 10 -- of a command that does not say which version it expects

-- --- aggregates ---

local Aggregate = {}
Aggregate.__index = Aggregate

local function check_functions(what, functions, level)
  for name, f in pairs(functions) do
    if not opts.is_callable(f) then
      error(("eventsource: %s of %s: a function is needed, got %s"):format(what, tostring(name),
        opts.show(f)), level + 1)
    end
  end
end

--- Declares a kind of aggregate. `events` maps definitions or types to apply(state, data, event),
--- which changes the state or returns another one; `commands` maps names to decide(state, args,
--- id), which answers a list of { definition or type, data }, or nil, message, code.
function M.aggregate(options)
  local o = AGGREGATE(options)
  if not o.name:find "^[%w_.]+$" then
    error(("eventsource: name: letters, digits, \"_\" and \".\", got %s"):format(opts.show(o.name)),
      2)
  end
  check_functions("events", o.events, 2)
  check_functions("commands", o.commands, 2)
  o.apply = {}
  for kind, f in pairs(o.events) do
    local definition = event.is_definition(kind) and kind or nil
    o.apply[definition and kind.type or kind] = { f = f, definition = definition }
  end
  return setmetatable(o, Aggregate)
end

-- The state after an event; raises when it has none.
local function apply(aggregate, state, ev)
  local known = aggregate.apply[ev.type]
  if not known then
    error(failure.permanent(("%s: an event of the type %s, which %s does not know"):format(
      ev.stream, opts.show(ev.type), aggregate.name), "UNKNOWN_TYPE"), 0)
  end
  local changed = known.f(state, ev.data, ev)
  if changed == nil then
    return state
  end
  return changed
end

-- An event out of its row: typed, and of today's version.
local function typed(aggregate, row)
  local known = aggregate.apply[row.type]
  local ev = event.untyped(row.type, row.data, { id = row.id, time = row.time }, row.source,
    row.version)
  ev.stream, ev.sequence = row.stream, row.sequence
  if known and known.definition then
    local ok, message, code = known.definition:accept(ev)
    if not ok then
      error(failure.permanent(("%s[%d]: %s"):format(row.stream, row.sequence, message), code), 0)
    end
  end
  return ev
end

-- --- the store ---

local Store = {}
Store.__index = Store

local function aggregate_of(store, name, level)
  local aggregate = store.aggregates[name]
  if not aggregate then
    local near = opts.nearest(tostring(name), opts.names(store.aggregates))
    error(("eventsource: there is no aggregate %s%s"):format(opts.show(name),
      near and (" (did you mean %s?)"):format(near) or ""), level + 1)
  end
  return aggregate
end

local function stream_of(aggregate, id, level)
  if type(id) ~= "string" or id == "" then
    error(("eventsource: an id is text, got %s"):format(opts.show(id)), level + 1)
  end
  return aggregate.name .. "-" .. id
end

-- A snapshot that this version of the code may use: state and sequence; else the beginning.
local function start_of(store, aggregate, stream, id)
  local row, message, code = store.rows:snapshot(stream)
  if row == nil then
    return nil, message, code
  elseif row and row.version == aggregate.version then
    return row.state, row.sequence
  elseif row and row.version > aggregate.version and not store.told[stream] then
    store.told[stream] = true
    log:warn(("%s: its snapshot is of version %d of the state, and this program has version %d: "
      .. "it is left alone, and all events are applied"):format(stream, row.version,
      aggregate.version))
  end
  return aggregate.initial(id), 0
end

local function fold(store, aggregate, stream, id)
  local state, sequence, code = start_of(store, aggregate, stream, id)
  if state == nil then
    error(failure.of(sequence, code), 0)
  end
  while true do
    local rows, message
    rows, message, code = store.rows:events(stream, sequence)
    if not rows then
      error(failure.of(message, code), 0)
    end
    for _, row in ipairs(rows) do
      state, sequence = apply(aggregate, state, typed(aggregate, row)), row.sequence
    end
    if #rows < database.PAGE then
      return state, sequence
    end
  end
end

--- The state of an aggregate and its version, which counts its events; version 0 is one to which
--- nothing has happened. nil, message, code.
function Store:load(name, id)
  local aggregate = aggregate_of(self, name, 2)
  local stream = stream_of(aggregate, id, 2)
  local ok, state, version = failure.catch(fold, self, aggregate, stream, id)
  if not ok then
    return nil, state.message, state.code
  end
  return state, version
end

--- The events of an aggregate behind the version `after`, at most 1,000: typed, with `sequence`.
function Store:events(name, id, after)
  local aggregate = aggregate_of(self, name, 2)
  local stream = stream_of(aggregate, id, 2)
  local rows, message, code = self.rows:events(stream, after or 0)
  if not rows then
    return nil, message, code
  end
  local list = {}
  for i, row in ipairs(rows) do
    local ok, ev = failure.catch(typed, aggregate, row)
    if not ok then
      return nil, ev.message, ev.code
    end
    list[i] = ev
  end
  return list
end

-- What a command decided as events, checked, with their numbers.
local function made(aggregate, stream, version, decided, o)
  local list = {}
  for i, one in ipairs(decided) do
    local kind, data = one[1], one[2]
    local attributes = {
      key = stream, trace = o.trace, attributes = { stream = stream, sequence = version + i },
    }
    local name = event.is_definition(kind) and kind.type or kind
    local known = aggregate.apply[name]
    if not known then
      error(("eventsource: a command of %s answered %s, which is none of its events"):format(
        aggregate.name, opts.show(name)), 0)
    end
    local ev, message, code
    if known.definition then
      ev, message, code = known.definition:new(data, attributes)
    else
      ev = event.untyped(name, data, attributes)
    end
    if not ev then
      error(failure.permanent(message, code), 0)
    end
    ev.stream, ev.sequence = stream, version + i
    list[i] = ev
  end
  return list
end

-- One try of a command: its result; or nil, message, code.
local function attempt(store, aggregate, id, command, args, o)
  local stream = stream_of(aggregate, id, 3)
  local state, version = fold(store, aggregate, stream, id)
  if o.expected and version ~= o.expected then
    return nil, ("%s: expected version %d, it has %d"):format(stream, o.expected, version),
      "CONFLICT"
  end
  local decided, message, code = aggregate.commands[command](state, args, id)
  if decided == nil then
    return nil, message or ("%s: the command %s was refused"):format(stream, command),
      code or "REFUSED"
  end
  local list = made(aggregate, stream, version, decided, o)
  for _, ev in ipairs(list) do
    state = apply(aggregate, state, ev)
  end
  local every, last = aggregate.snapshot, version + #list
  local snapshot = every > 0 and last // every > version // every
    and { state = state, version = aggregate.version } or nil
  local ok
  ok, message, code = store.rows:append(stream, version, list, {
    command = command, command_id = o.command_id, snapshot = snapshot, mode = aggregate.mode,
    topic = aggregate.topic, relay = store.relay,
  })
  if not ok then
    return nil, message, code
  end
  if aggregate.topic and #list > 0 then
    store.relay:wake()
  end
  return { stream = stream, version = last, events = list, state = state }
end

-- Commands of one stream run one after the other: among themselves they would only conflict.
local function alone(store, stream, f, ...)
  local lock = store.locks[stream] or { gate = task.semaphore(1), users = 0 }
  store.locks[stream], lock.users = lock, lock.users + 1
  local results = table.pack(failure.catch(lock.gate.with, lock.gate, f, ...))
  lock.users = lock.users - 1
  if lock.users == 0 then
    store.locks[stream] = nil
  end
  if not results[1] then
    return nil, results[2].message, results[2].code
  end
  return table.unpack(results, 2, results.n)
end

local function try_all(store, aggregate, id, command, args, o)
  local result, message, code
  for try = 1, o.expected and 1 or TRIES do
    result, message, code = attempt(store, aggregate, id, command, args, o)
    if result or code ~= "CONFLICT" then
      break
    elseif try < TRIES and not o.expected and not task.sleep(math.random(1, 5 * try) .. "ms") then
      return nil, "the command was stopped", "ECANCELED"
    end
  end
  return result, message, code
end

--- Executes a command: { stream, version, events, state }. With `command_id`, one that was executed
--- before answers { stream, version, repeated = true } and does nothing; with `expected`, another
--- version than that is "CONFLICT". What the command refuses is nil, message, code.
function Store:execute(name, id, command, args, options)
  local o = EXECUTE(options)
  local aggregate = aggregate_of(self, name, 2)
  local stream = stream_of(aggregate, id, 2)
  if not aggregate.commands[command] then
    local near = opts.nearest(tostring(command), opts.names(aggregate.commands))
    error(("eventsource: %s has no command %s%s"):format(name, opts.show(command),
      near and (" (did you mean %s?)"):format(near) or ""), 2)
  end
  for _ = 1, 2 do -- a second time when somebody executed it meanwhile
    local before, message, code = self.rows:executed(o.command_id, stream, command)
    if before or code then
      return before, message, code
    end
    local result
    result, message, code = alone(self, stream, try_all, self, aggregate, id, command, args, o)
    if result or code ~= "REPEATED" then
      return result, message, code
    end
  end
  return nil, ("%s: the command %s is being executed elsewhere"):format(stream, command), "CONFLICT"
end

--- What waits for the broker: { waiting, refused, oldest_ms, sent }.
function Store:status()
  return self.relay:status()
end

--- Closes it; what waits for the broker stays in it.
function Store:close()
  self.relay:stop()
  self.db:close()
end

Store.__close = Store.close

--- Opens a store of events. Its relay publishes them in the background.
function M.open(options)
  local o = OPEN(options)
  local db, message, code = sql.open(o.db)
  if not db then
    return nil, message, code
  end
  local self = setmetatable({ db = db, aggregates = {}, locks = {}, told = {} }, Store)
  for _, aggregate in ipairs(o.aggregates) do
    if getmetatable(aggregate) ~= Aggregate then
      error("eventsource.open: aggregates: a list of what eventsource.aggregate gives", 2)
    end
    self.aggregates[aggregate.name] = aggregate
  end
  self.rows, message, code = database.new(db)
  self.relay = relays.new { db = db, table = "eventsource_outbox" }
  local started = self.rows
  if started then
    started, message, code = self.relay:start()
  end
  if not started then
    db:close()
    return nil, message, code
  end
  return self
end

return M
