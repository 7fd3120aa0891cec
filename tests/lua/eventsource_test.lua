--- sipeat.eventsource: streams, conflicts, commands once, snapshots, upcasters, and what reaches
--- the topic.
local event = require "sipeat.event"
local eventsource = require "sipeat.eventsource"
local kafka = require "sipeat.kafka"
local records = require "sipeat.record"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

t.broker()

local Opened = event.define("account.opened", { owner = "string" })
local Paid = event.define("account.paid", { cents = "integer" })

local function account(more)
  local o = {
    name = "account",
    initial = function()
      return { cents = 0 }
    end,
    events = {
      [Opened] = function(state, data)
        state.owner = data.owner
      end,
      [Paid] = function(state, data)
        state.cents = state.cents + data.cents
      end,
    },
    commands = {
      open = function(state, args)
        if state.owner then
          return nil, "it is open", "ALREADY_OPEN"
        end
        return { { Opened, args } }
      end,
      pay = function(state, args)
        if not state.owner then
          return nil, "it is not open", "NOT_OPEN"
        end
        return { { Paid, args } }
      end,
      wrong = function()
        return { { "account.unknown", {} } }
      end,
    },
  }
  for key, value in pairs(more or {}) do
    o[key] = value
  end
  return eventsource.aggregate(o)
end

local function file()
  return ("/tmp/sipeat-es-%s.db"):format(sys.uuid():sub(1, 8))
end

local function open(path, more)
  return t.ok(eventsource.open { db = path or ":memory:", aggregates = { account(more) } })
end

t.test("a state is made of its events, and commands decide on it", function()
  local store <close> = open()
  t.eq({ store:load("account", "a") }, { { cents = 0 }, 0 })
  t.eq(select(3, store:execute("account", "a", "pay", { cents = 5 })), "NOT_OPEN")
  local done = t.ok(store:execute("account", "a", "open", { owner = "Ada" }))
  t.eq({ done.stream, done.version, done.state.owner }, { "account-a", 1, "Ada" })
  t.eq(t.ok(store:execute("account", "a", "pay", { cents = 5 })).version, 2)
  t.eq(t.ok(store:execute("account", "a", "pay", { cents = 7 })).state.cents, 12)
  t.eq({ store:load("account", "a") }, { { cents = 12, owner = "Ada" }, 3 })
  local list = t.ok(store:events("account", "a", 1))
  t.eq({ #list, list[1].type, list[1].sequence, list[2].data.cents }, { 2, "account.paid", 2, 7 })
  t.eq(select(3, store:execute("account", "a", "open", { owner = "Bob" })), "ALREADY_OPEN")
  local _, message, code = store:execute("account", "a", "pay", { cents = "many" })
  t.eq(code, "INVALID_EVENT")
  t.has(message, "cents")
  t.has(t.fails(function() store:execute("account", "a", "pya") end), "did you mean pay?")
  t.has(select(2, store:execute("account", "a", "wrong")), "none of its events")
end)

t.test("an expected version that is not the stream's is a conflict", function()
  local store <close> = open()
  t.ok(store:execute("account", "a", "open", { owner = "Ada" }, { expected = 0 }))
  local _, message, code = store:execute("account", "a", "pay", { cents = 1 }, { expected = 0 })
  t.eq(code, "CONFLICT")
  t.has(message, "expected version 0, it has 1")
  t.ok(store:execute("account", "a", "pay", { cents = 1 }, { expected = 1 }))
end)

t.test("many writers of one stream, of two stores, lose nothing", function()
  local path = file()
  local one <close> = open(path)
  local other <close> = open(path)
  t.ok(one:execute("account", "a", "open", { owner = "Ada" }))
  local works = {}
  for i = 1, 40 do
    works[i] = function()
      local store = i % 2 == 0 and one or other
      local done, message
      repeat -- a client that was told CONFLICT tries again
        local code
        done, message, code = store:execute("account", "a", "pay", { cents = i })
      until code ~= "CONFLICT"
      return done, message
    end
  end
  t.ok(task.gather(works))
  t.eq({ one:load("account", "a") }, { { cents = 820, owner = "Ada" }, 41 })
end)

t.test("a command with an id is executed once", function()
  local store <close> = open()
  local first = { command_id = "c-1" }
  t.ok(store:execute("account", "a", "open", { owner = "Ada" }, first))
  local again = t.ok(store:execute("account", "a", "open", { owner = "Ada" }, first))
  t.eq(again, { stream = "account-a", version = 1, repeated = true })
  t.eq(select(3, store:execute("account", "a", "pay", { cents = 1 }, { command_id = "c-1" })),
    "COMMAND_MISMATCH")
  local works = {}
  for i = 1, 10 do
    works[i] = function()
      return store:execute("account", "a", "pay", { cents = 3 }, { command_id = "c-2" })
    end
  end
  for _, done in ipairs(t.ok(task.gather(works))) do
    t.eq(done.version, 2)
  end
  t.eq(store:load("account", "a").cents, 3)
end)

t.test("snapshots shorten the way, and one of a newer version is left alone", function()
  local path = file()
  do
    local store <close> = open(path, { snapshot = 5, version = 2 })
    t.ok(store:execute("account", "a", "open", { owner = "Ada" }))
    for _ = 1, 11 do
      t.ok(store:execute("account", "a", "pay", { cents = 1 }))
    end
    local row = t.ok(store.db:query "SELECT * FROM eventsource_snapshots")[1]
    t.eq({ row.sequence, row.version }, { 10, 2 })
    t.ok(store.db:exec [[UPDATE eventsource_snapshots SET state = '{"cents":900}']])
    t.eq(store:load("account", "a"), { cents = 902 })
  end
  local old <close> = open(path, { snapshot = 5, version = 1 })
  t.eq({ old:load("account", "a") }, { { cents = 11, owner = "Ada" }, 12 })
  for _ = 1, 5 do
    t.ok(old:execute("account", "a", "pay", { cents = 1 }))
  end
  t.eq(old.db:query("SELECT sequence, version FROM eventsource_snapshots"),
    { { sequence = 10, version = 2 } })
  local new <close> = open(path, { snapshot = 5, version = 3 })
  t.eq(new:load("account", "a").cents, 16)
  for _ = 1, 3 do
    t.ok(new:execute("account", "a", "pay", { cents = 1 }))
  end
  t.eq(new.db:query("SELECT sequence, version FROM eventsource_snapshots"),
    { { sequence = 20, version = 3 } })
end)

t.test("events of older versions are lifted, those of newer ones refused", function()
  local path = file()
  do
    local store <close> = open(path)
    t.ok(store:execute("account", "a", "open", { owner = "Ada" }))
  end
  local Opened2 = event.define("account.opened", { owner = "string", country = "string" }, {
    version = "2.0",
    upcast = { ["1.0"] = function(data) data.country = "DE" return data end },
  })
  local events = { [Opened2] = function(state, data) state.country = data.country end }
  local store <close> = open(path, { events = events, commands = {} })
  t.eq(store:load("account", "a").country, "DE")
  t.ok(store.db:exec "UPDATE eventsource_events SET version = '3.0'")
  local _, message, code = store:load("account", "a")
  t.eq(code, "NEWER_VERSION")
  t.has(message, "account-a[1]")
  local none <close> = open(path, { events = {}, commands = {} })
  t.eq(select(3, none:load("account", "a")), "UNKNOWN_TYPE")
end)

local function next_of(reader)
  local record, _, code = reader:next "10s"
  return record, code
end

-- The records of a topic, once there are that many.
local function read(topic, count)
  local reader <close> = t.ok(kafka.reader { topic = topic })
  local list = {}
  for i = 1, count do
    local record, code
    repeat
      record, code = next_of(reader)
    until record or code ~= "END"
    list[i] = t.ok(record, code)
  end
  return list
end

t.test("what happened reaches the topic in order, with its stream and number", function()
  local topic = "ledger-" .. sys.uuid():sub(1, 8)
  local store <close> = open(file(), { topic = topic })
  for _, id in ipairs { "a", "b" } do
    t.ok(store:execute("account", id, "open", { owner = id }))
    for cents = 1, 5 do
      t.ok(store:execute("account", id, "pay", { cents = cents }))
    end
  end
  t.eq(select(3, store:execute("account", "a", "open", { owner = "x" })), "ALREADY_OPEN")
  local last = {}
  for _, record in ipairs(read(topic, 12)) do
    local ev = t.ok(records.of(record))
    t.eq(ev.attributes.stream, record.key)
    t.eq(ev.attributes.sequence, (last[record.key] or 0) + 1)
    last[record.key] = ev.attributes.sequence
  end
  t.eq(last, { ["account-a"] = 6, ["account-b"] = 6 })
  for _ = 1, 200 do
    if t.ok(store:status()).waiting == 0 then
      break
    end
    t.ok(task.sleep "20ms")
  end
  t.eq(store:status(), { waiting = 0, refused = 0, oldest_ms = 0, sent = 12 })
end)
