--- crash_at_every_step: a chain that dies at each point, and twice, with fakes that count.
local chain = require "sipeat.chain"
local commands = require "sipeat.commands"
local failure = require "sipeat.failure"
local observers = require "sipeat.observers"
local simulation = require "sipeat.simulation"
local strategy = require "sipeat.strategy"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local crash_at_every_step = simulation.crash_at_every_step

-- A payment that knows its keys and a board that counts: what both did is in `done`.
local function fakes(run)
  local w = { captured = {}, refunded = {}, vends = 0, captures = 0, refunds = 0 }
  function w.capture(args, ctx)
    if not w.captured[ctx.key] then
      w.captured[ctx.key] = args.amount
      w.captures = w.captures + 1
    end
    run.point "captured"
    return { id = ctx.key }
  end
  function w.refund(_, result, ctx)
    if not w.refunded[ctx.key] then
      w.refunded[ctx.key] = result and result.id or "unknown"
      w.refunds = w.refunds + 1
    end
    return true
  end
  function w.vend()
    task.sleep "300ms"
    w.vends = w.vends + 1
    task.sleep "10ms"
    return { slot = 1 }
  end
  return w
end

local function sale(w, vend, reconcile)
  return chain "sale" {
    { "pay", effect = "idempotent", args = function() return { amount = 150 } end,
      run = w.capture, undo = w.refund, timeout = "5s" },
    { "vend", effect = "at_most_once", run = vend or w.vend, timeout = "5s",
      args = function() return { before = w.vends } end, reconcile = reconcile or function(args)
        return w.vends > args.before and "done" or "not_done"
      end },
    { "notice", effect = "repeatable", required = false, run = function() return true end },
  }
end

t.test("a sale charges once and vends once, wherever it dies", function()
  local report = crash_at_every_step(function(run)
    local w = fakes(run)
    local outcome = run(sale(w))
    t.eq({ outcome.state, w.captures, w.refunds, w.vends }, { "done", 1, 0, 1 })
  end)
  t.ok(report.points >= 12, report.points)
  t.ok(report.runs > report.points ^ 2 / 2, report.runs)
end)

t.test("a sale that fails gives the money back once, wherever it dies", function()
  crash_at_every_step(function(run)
    local w = fakes(run)
    local outcome = run(sale(w, function()
      return nil, failure.permanent("jammed", "JAM")
    end))
    t.eq({ outcome.state, w.captures, w.refunds, w.vends }, { "dead", 1, 1, 0 })
  end)
end)

t.test("the point at which an invariant breaks is named", function()
  local why = t.fails(crash_at_every_step, "got 2, expected 1", function(run)
    local w = fakes(run)
    run(sale(w, nil, function() return "not_done" end))
    t.eq(w.vends, 1)
  end)
  t.has(why, "crash 1: at point ")
  t.ok(why:find "while it waits" or why:find "before record", why)
end)

t.test("undo goes on where it stopped, in reverse", function()
  crash_at_every_step(function(run)
    local log = {}
    local function note(name)
      return function()
        if log[#log] ~= name then
          log[#log + 1] = name
        end
        return true
      end
    end
    local outcome = run(commands "three" {
      { "a", effect = "idempotent", run = note "a", undo = note "undo a" },
      { "b", effect = "idempotent", run = note "b", undo = note "undo b" },
      { "c", effect = "local", run = function() return nil, failure.permanent "no" end },
    })
    t.eq(outcome.state, "dead")
    t.eq(log, { "a", "b", "undo b", "undo a" })
  end, { crashes = 3 })
end)

t.test("a pause before the next attempt passes in virtual time", function()
  crash_at_every_step(function(run)
    local tries = 0
    local outcome = run(observers { shop = {
      function()
        tries = tries + 1
        return tries > 1 or nil, failure.transient "busy"
      end, required = false, retry = { attempts = 2, backoff = { "3d" } },
    } })
    t.eq(outcome.state, "done")
    t.ok(tries >= 2, "it was tried again")
  end)
end)

t.test("observers and strategies: what is done is not done again", function()
  crash_at_every_step(function(run)
    local w, mails, chosen = fakes(run), {}, {}
    local outcome = run(observers {
      sale = strategy(function()
        chosen[#chosen + 1] = #chosen == 0 and "sale" or "other"
        return chosen[#chosen]
      end, { sale = sale(w), other = sale(w) }),
      mail = function(_, ctx)
        mails[ctx.key] = true
        return true
      end,
    }, { id = "e1", data = {} })
    t.eq({ outcome.state, w.captures, w.vends }, { "done", 1, 1 })
    t.eq(next(mails, next(mails)), nil)
  end, { crashes = 1 })
end)

t.test("what waits for ever is said, and so are wrong options", function()
  t.fails(crash_at_every_step, "waits for what never comes", function(run)
    run(function() task.channel():recv() end)
  end)
  t.fails(crash_at_every_step, "a function is needed", 7)
  t.fails(crash_at_every_step, "unknown option", function() end, { crash = 1 })
  t.ok(math.abs(task.now_ms() - os.time() * 1000) < 5000, "the clock is real again")
end)
