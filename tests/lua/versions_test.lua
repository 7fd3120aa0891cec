--- Older versions of a script, recalled from what the journal keeps of them: they give handlers of
--- their flows, and take nothing over.
local background = require "sipeat.background"
local flow_run = require "sipeat.flow_run"
local routes = require "sipeat.http_routes"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local t = require "sipeat.luatest"
local versions = require "sipeat.versions"

local function nothing() end

local FLOW = [[
local sipeat = require "sipeat"
%s
sipeat.flow { topic = "orders", group = "orders", on = { order = function(event, ctx)
  return %s
end } }
]]

-- What runtime/vm/script_tree.h says a blob is. Files are { name = text }, the script is main.lua.
local function blob_of(files, release)
  local names, parts = {}, {}
  for name in pairs(files) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    parts[i] = (">s4s4"):pack(name, files[name])
  end
  local head = (">s4s4I4"):pack(release or sys.version, "main.lua", #names)
  local blob = "sipeat script 1\n" .. head .. table.concat(parts)
  return sys.sha256(blob), blob
end

local function script(top, result)
  return FLOW:format(top or "", result or "true")
end

-- The flow of a script's files, and its hash; to be released by the caller.
local function recall(files)
  local hash, blob = blob_of(type(files) == "string" and { ["main.lua"] = files } or files)
  local flows, message, code = versions.handlers(hash, blob)
  return flows, flows and hash or message, code
end

local function handle(flows, group)
  return flows[group or "orders"].routes.order.handler({ type = "order", data = {} }, {})
end

-- nil, message, code of a version that does not load.
local function refused(files)
  local flows, message, code = recall(files)
  t.eq(flows, nil)
  return message, code
end

t.test("a version has the modules of its blob, in folders too, and its own globals", function()
  local top = 'local price = require "parts.price"\nshared = 7'
  local flows, hash = recall {
    ["main.lua"] = script(top, "price.of(2) + shared"),
    ["parts/price.lua"] = 'local cents = require "parts.cents"\n'
      .. "return { of = function(n) return n * cents.each end }",
    ["parts/cents/init.lua"] = "return { each = 150 }",
  }
  t.eq(handle(flows), 307)
  t.eq(rawget(_G, "shared"), nil)
  t.eq(flows.orders.group, "orders")
  t.eq(flows.orders.topics, { "orders" })
  t.eq(type(flow_run.starter(flows.orders)), "function")
  versions.release(hash)
end)

t.test("its flow is all that handling needs: attempts, outputs, the dead letter", function()
  local flows, hash = recall(script([[
    local tries = 0
    local function handled(event, ctx)
      tries = tries + 1
      if tries == 1 then
        return nil, sipeat.transient "not yet"
      end
      return ctx:emit("seen", event.key, ("%d %s"):format(tries, event.data.n))
    end
  ]], "handled(event, ctx)"))
  if not flows then error(hash) end
  local sent, kept = {}, nil
  local ticket = {
    emit = function(_, ...)
      sent[#sent + 1] = { ... }
      return true, #sent
    end,
    keep = function(_, job) kept = job end,
    stopped = nothing, handles = nothing, fails = nothing, ends_as = nothing,
    followers = function() return 0 end,
  }
  local record = {
    topic = "orders", partition = 0, offset = 1, key = "k", value = '{"n":4}',
    headers = { { "event-type", "order" } },
  }
  local wait = flow_run.dispatch(flows.orders, record, ticket)
  t.eq(math.type(wait), "integer")
  t.eq({ flow_run.dispatch(flows.orders, nil, ticket, kept) }, { true, false, false })
  t.eq({ sent[1][1], sent[1][2], sent[1][3] }, { "seen", "k", "2 4" })
  record.headers = { { "event-type", "unknown" } }
  t.eq({ flow_run.dispatch(flows.orders, record, ticket) }, { true, true, true })
  t.eq(sent[2][1], "orders-dlt")
  versions.release(hash)
end)

t.test("two versions of one module stand side by side", function()
  local answers = {}
  for i = 1, 3 do
    local flows, hash = recall {
      ["main.lua"] = script('local words = require "words"', "words.version"),
      ["words.lua"] = ("return { version = %d }"):format(i),
    }
    answers[i] = { flows, hash }
  end
  for i, answer in ipairs(answers) do
    t.eq(handle(answer[1]), i)
    versions.release(answer[2])
  end
end)

t.test("a module that a handler requires later is of the same version", function()
  local flows, hash = recall {
    ["main.lua"] = script("", 'require "late".value'),
    ["late.lua"] = "return { value = 'of then' }",
  }
  t.eq(handle(flows), "of then")
  versions.release(hash)
  flows, hash = recall(script("", 'require("no" .. "where").value'))
  t.fails(function() handle(flows) end, "module 'nowhere' is neither compiled in nor in version "
    .. hash:sub(1, 12))
  versions.release(hash)
end)

t.test("a version that does not load is named with its hash, its file and its line", function()
  local message, code = refused {
    ["main.lua"] = script 'require "part"', ["part.lua"] = "return {\n  1 = 2 }",
  }
  t.eq(code, "VERSION_FAILED")
  t.has(message, "version ")
  t.has(message, "/part.lua:2: ")
  message = refused "local x = \n= 1"
  t.has(message, "/main.lua:2: unexpected symbol")
  message = refused(script "local n = nil\nlocal m = n.x")
  t.has(message, "/main.lua:3: attempt to index a nil value (local 'n')")
  message = refused { ["main.lua"] = script 'require "a"', ["a.lua"] = 'return require "b"',
    ["b.lua"] = 'return require "a"' }
  t.has(message, "module 'a' requires itself")
end)

t.test("modules in C, and files outside of the script's folder, are in no version", function()
  t.has(refused(script 'require "socket.core"'), "module 'socket.core' is neither compiled in")
  t.has(refused(script 'require "../up"'), "a name is words with dots")
  t.has(refused(script 'require "/etc/passwd"'), "a name is words with dots")
  t.has(refused(script 'require "sipeat.nothing"'), "is neither compiled in")
end)

t.test("what the journal gives is checked against the hash", function()
  local hash, blob = blob_of { ["main.lua"] = script() }
  local function why(...)
    local flows, message, code = versions.handlers(...)
    t.eq(flows, nil)
    return message, code
  end
  local message, code = why(("0"):rep(64), blob)
  t.eq(code, "VERSION_DAMAGED")
  t.has(message, hash)
  for _, bad in ipairs { "", "sipeat script 1\n", blob:sub(1, -2), blob .. "x", "x" .. blob } do
    message, code = why(sys.sha256(bad), bad)
    t.eq(code, "VERSION_DAMAGED")
    t.has(message, "damaged")
  end
  message, code = why(("1"):rep(64), nil)
  t.eq(code, "VERSION_UNKNOWN")
  t.has(message, "version 111111111111 ")
  message, code = why(("2"):rep(64), function() return nil, "the disk is gone", "EIO" end)
  t.eq(code, "EIO")
  t.has(message, "the disk is gone")
end)

t.test("the release is a part of the hash, and another one's blob loads all the same", function()
  local files = { ["main.lua"] = script("", "'old release'") }
  local ours = blob_of(files)
  local theirs, blob = blob_of(files, "0.0.1")
  t.ok(ours ~= theirs)
  t.eq(handle(versions.handlers(theirs, blob)), "old release")
  versions.release(theirs)
  local about = versions.describe(blob)
  t.eq({ about.hash, about.release, about.main }, { theirs, "0.0.1", "main.lua" })
  t.eq(about.files, { { name = "main.lua", bytes = #files["main.lua"] } })
end)

local function runs_of(hash)
  for _, one in ipairs(versions.used()) do
    if one.hash == hash then
      return one.runs
    end
  end
end

-- --- the top of a script ---

t.test("timers, routes, servers and consumers of an older version do not start", function()
  background.begin()
  background.commit()
  local before = #routes.all()
  local flows, hash = recall(script([[
    ticks, ended = 0, false
    local timer = sipeat.every("1ms", function() ticks = ticks + 1 end)
    timer:stop()
    sipeat.http.route("GET /recalled", function() return "never" end)
    local server = sipeat.http.listen "127.0.0.1:1"
    server:close()
    local consumer = require "sipeat.kafka".consumer { group = "x", topics = { "x" } }
    local record, _, code = consumer:next "1s"
    assert(record == nil and code == "CLOSED")
    local seeds = sipeat.create_consumer "y"
    seeds:subscribe { topic = "things" }
    seeds:run { each_message = function() end }
    sipeat.create_topic_consumer("seeds", "things", function() return "seeds" end)
  ]], "ticks"))
  if not flows then error(hash) end
  task.sleep "20ms"
  t.eq(handle(flows), 0)
  t.eq(#routes.all(), before)
  t.eq(flows.seeds.routes["*"].handler(), "seeds")
  versions.release(hash)
end)

t.test("a task of the top begins only when it is waited for; handlers' tasks as always", function()
  local flows, hash = recall(script([[
    local task = sipeat.task
    forgotten, waited, gathered = 0, 0, 0
    task.spawn(function() while true do forgotten = forgotten + 1 task.sleep "1ms" end end)
    local one = task.spawn(function(n) task.sleep "1ms" waited = n return n end, 5)
    assert(one:join() == 5 and one:done())
    task.gather { function() gathered = gathered + 1 end, function() gathered = gathered + 1 end }
    assert(task.with_timeout("1s", function() return 3 end) == 3)
    local killed = task.spawn(function() forgotten = 99 end)
    killed:kill()
    assert(killed:done())
    local function handled()
      local done = 0
      task.spawn(function() done = done + 1 end):join()
      local late = task.spawn(function() done = done + 1 end)
      task.sleep "5ms"
      return { forgotten, waited, gathered, done, late:done() }
    end
  ]], "handled()"))
  if not flows then error(hash) end
  task.sleep "20ms"
  t.eq(handle(flows), { 0, 5, 2, 2, true })
  versions.release(hash)
end)

t.test("what it would configure stays as it is, what it would send is refused", function()
  local vending, stripe = require "sipeat.vending", require "sipeat.stripe"
  local flows, hash = recall(script [[
    assert(sipeat.vending.attach { machine = "recalled", driver = "simulated" })
    sipeat.vending.driver("mine", {})
    sipeat.stripe.configure { nonsense = true }
    sipeat.discord.configure { nonsense = true }
    sipeat.outbox { nonsense = true }
    for _, send in ipairs {
      function() return sipeat.publish("a.b", {}, { topic = "t" }) end,
      function() return sipeat.send_message("t", { a = 1 }) end,
      function()
        return sipeat.get_producer():send { topic = "t", messages = { { value = "x" } } }
      end,
      function() return sipeat.kafka.producer():send { topic = "t", value = "x" } end,
      function() return sipeat.discord.send { content = "x" } end,
      function() return sipeat.discord.notify { title = "x" } end,
      function() return sipeat.mail.send { to = "a@b.example", subject = "x", text = "x" } end,
    } do
      local sent, message, code = send()
      assert(sent == nil and code == "RECALLED", message)
    end
  ]])
  if not flows then error(hash) end
  t.eq(vending.is_attached "recalled", false)
  t.ok(stripe)
  versions.release(hash)
end)

t.test("breakers and their like are shared by name, with the options of what runs", function()
  local guard, breaker = require "sipeat.guard", require "sipeat.breaker"
  guard.begin()
  breaker { name = "payments", failures = 3 }
  guard.commit()
  local flows, hash = recall(script [[
    sipeat.breaker { name = "payments", failures = 7 }
    sipeat.breaker { name = "gone since", failures = 2 }
    sipeat.retry_budget { name = "gone too", share = 0.5 }
    sipeat.commands "x" { { "y", run = function() end, effect = "local",
      retry = { attempts = 2, budget = "gone too" } } }
  ]])
  if not flows then error(hash) end
  breaker { name = "payments", failures = 3 } -- still the same: nothing to complain of
  guard.begin()
  guard.commit()
  t.eq(breaker.status(), {})
  versions.release(hash)
end)

-- --- many ---

t.test("a version is loaded once for all who ask, and again after it was dropped", function()
  local hash, blob = blob_of {
    ["main.lua"] = script('sipeat.task.sleep "5ms"\nlocal mine = {}', "mine"),
  }
  local asked = 0
  local function get()
    asked = asked + 1
    return blob
  end
  local functions = {}
  for i = 1, 10 do
    functions[i] = function() return handle(versions.handlers(hash, get)) end
  end
  local results = t.ok(task.gather(functions))
  for _, one in ipairs(results) do
    t.ok(rawequal(one, results[1]))
  end
  t.eq(asked, 1)
  t.eq(runs_of(hash), 10)
  for _ = 1, 10 do
    versions.release(hash)
  end
  versions.release(hash) -- one too many is harmless
  t.ok(rawequal(handle(versions.handlers(hash, get)), results[1]), "it is kept for the next run")
  versions.release(hash)
  for i = 1, versions.IDLE do
    local _, other = recall(script("", i))
    versions.release(other)
  end
  t.ok(not rawequal(handle(versions.handlers(hash, get)), results[1]))
  t.eq(asked, 2)
  versions.release(hash)
end)

t.test("one who waits for a version can be stopped without stopping the others", function()
  local hash, blob = blob_of { ["main.lua"] = script('sipeat.task.sleep "10ms"', "1") }
  local first = task.spawn(function() return versions.handlers(hash, blob) end)
  local second = task.spawn(function() return versions.handlers(hash, blob) end)
  task.sleep "2ms"
  first:kill()
  t.eq(select(3, first:join()), "ECANCELED")
  t.eq(handle(second:join()), 1)
  t.eq(runs_of(hash), 1)
  versions.release(hash)
end)

t.test("one that does not load is not tried for each run, but again after a while", function()
  local tried = 0
  local hash, blob = blob_of { ["main.lua"] = "error 'not today'" }
  local function get()
    tried = tried + 1
    return blob
  end
  for _ = 1, 5 do
    t.has(select(2, versions.handlers(hash, get)), "not today")
  end
  t.eq(tried, 1)
  local before = versions.FAILED_MS
  versions.FAILED_MS = 0
  local other, text = blob_of { ["main.lua"] = "error 'not ever'" }
  for n = 1, 3 do
    tried = 0
    t.has(select(2, versions.handlers(other, function()
      tried = tried + 1
      return text
    end)), "not ever")
    t.eq(tried, 1, "round " .. n)
  end
  versions.FAILED_MS = before
end)

t.test("they are bounded in number, and room comes back", function()
  local held = {}
  for i = 1, versions.LIMIT do
    local flows, hash = recall(script("", ("%d, 'many'"):format(i)))
    t.ok(flows, hash)
    held[i] = hash
  end
  local _, code = refused(script("", "'one too many'"))
  t.eq(code, "VERSIONS_FULL")
  versions.release(held[1])
  local flows, hash = recall(script("", "'one too many'"))
  t.eq(handle(flows), "one too many")
  versions.release(hash)
  for i = 2, #held do
    versions.release(held[i])
  end
  t.eq(#versions.used(), versions.IDLE)
end)

t.test("memory returns after many versions", function()
  local function use(i)
    local flows, hash = recall {
      ["main.lua"] = script('local big = require "big"', "#big"),
      ["big.lua"] = ("local t = {} for i = 1, 2000 do t[i] = { i + %d } end return t"):format(i),
    }
    t.eq(handle(flows), 2000)
    versions.release(hash)
  end
  local function memory()
    collectgarbage()
    collectgarbage()
    return sys.memory_bytes()
  end
  for i = 1, 30 do
    use(i)
  end
  local before = memory()
  for i = 31, 230 do
    use(i)
  end
  local after = memory()
  t.ok(after < before * 1.05, ("%d bytes before, %d after"):format(before, after))
end)

-- --- the one that runs ---

t.test("the version that runs is known by its flows, and answers for itself", function()
  local flow = require "sipeat.flow"
  local function declare()
    local on = { a = function() return "now" end }
    return flow.define({ topic = "t", group = "running", on = on }, 1)
  end
  versions.begin()
  local refused_flow = declare()
  versions.declare(refused_flow)
  local first = versions.of(refused_flow)
  t.ok(versions.handlers(first).running, "recovery comes before the commit")
  versions.rollback()
  t.eq(versions.current(), nil)
  versions.begin()
  versions.declare(declare())
  versions.commit()
  local hash, blob = versions.current()
  t.eq(#hash, 64)
  t.eq(sys.sha256(blob), hash)
  t.ok(rawequal(blob, (select(2, versions.current()))), "packed once")
  t.eq(versions.describe(blob).main, "versions_test.lua")
  local flows = versions.handlers(hash)
  t.eq(flows.running.routes.a.handler(), "now")
  t.eq({ versions.of(flows.running) }, { hash, blob })
  versions.begin()
  t.ok(versions.handlers(hash), "the one that runs goes on while another one loads")
  versions.rollback()
  t.eq(versions.used()[1], { hash = hash, running = true })
  versions.release(hash)
  versions.begin()
  versions.commit()
  t.eq(versions.current(), nil)
  t.eq({ versions.of(flows.running) }, { hash, blob })
end)

t.test("flows of one group are told apart by their topics", function()
  local flows, hash = recall [[
    local sipeat = require "sipeat"
    for _, topics in ipairs { { "a", "b" }, { "^c.*" }, { "d" } } do
      sipeat.flow { topics = topics, group = "g", on = { ["*"] = function() return topics[1] end } }
    end
  ]]
  if not flows then error(hash) end
  local function picked(topic)
    return versions.pick(flows, "g", topic).routes["*"].handler()
  end
  t.eq({ picked "b", picked "d", picked "cd" }, { "a", "d", "^c.*" })
  t.eq(versions.pick(flows, "other", "a"), nil)
  versions.release(hash)
end)
