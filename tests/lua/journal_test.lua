--- A run's writes, with a stand-in for the store: who is first, who waits, and what is refused.
local journal = require "sipeat.journal"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local function new_run()
  return journal.run {
    epoch = 1, flow = "f", cluster = "c", script = "s", event = { id = "e1" },
    record = { topic = "t", partition = 0, offset = 7, headers = {} },
  }
end

-- Runs f while `answer` stands for the store; the names of the statements of each write.
local function with_store(answer, f)
  local real, writes = journal.write, {}
  journal.write = function(...)
    local names = {}
    for i, statement in ipairs { ... } do
      names[i] = statement[1]
    end
    writes[#writes + 1] = table.concat(names, " ")
    return answer(#writes, ...)
  end
  local ok, why = pcall(f)
  journal.write = real
  t.ok(ok, why)
  return writes
end

t.test("of two first records the second waits until the event is the journal's", function()
  local run, answers = new_run(), {}
  local writes = with_store(function(n)
    if n == 1 then
      task.sleep "5ms"
      return {}, 1, 1
    end
    return 1
  end, function()
    task.gather {
      function() answers[1] = run:keep("intent", "a", 1) end,
      function() answers[2] = run:keep("intent", "b", 2) end,
    }
  end)
  t.eq(writes, { "run_of_event run_add record_add", "record_add" })
  t.eq(answers, { true, true })
end)

t.test("nothing that a refused run says is taken", function()
  local run, first, second, third = new_run()
  local writes = with_store(function(n)
    if n == 1 then
      return { { 99, 10, n = 2 } }, 1, 1
    end
    return 1
  end, function()
    first = select(2, run:keep("intent", "a", 1))
    second = select(2, run:keep("outcome", "a", 1, true))
    third = select(2, run:keep("intent", "b", 1))
  end)
  t.eq(writes, { "run_of_event run_add record_add", "run_state" })
  t.eq({ first.code, second.code, third.code }, { "DUPLICATE", "DUPLICATE", "DUPLICATE" })
  t.eq(first.kind, "permanent")
end)

t.test("a first write that was stopped, and made all the same, is no duplicate", function()
  local run, first, second = new_run()
  with_store(function(n, found, add)
    if n == 1 then
      return nil, "stopped", "ECANCELED"
    end
    t.eq(found[1], "run_of_event")
    return { { add[2], 1, n = 2 } }, 0, 1
  end, function()
    first = select(2, run:keep("intent", "a", 1))
    second = run:keep("intent", "a", 1)
  end)
  t.eq(first.kind, "cancelled")
  t.eq(second, true)
end)

t.test("a run of another host now says nothing more", function()
  local run, why, later = new_run()
  local writes = with_store(function(n)
    if n == 1 then
      return {}, 1, 1
    end
    return 0
  end, function()
    run:keep("intent", "a", 1)
    why = select(2, run:keep("intent", "b", 1))
    later = select(2, run:finish(journal.DONE))
  end)
  t.eq({ why.code, why.kind, later.code }, { "JOURNAL_FENCED", "cancelled", "JOURNAL_FENCED" })
  t.eq(#writes, 2)
end)
