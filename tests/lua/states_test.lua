--- State machines: what is declared, every pair of states, diagrams, and states kept in a database.
local sql = require "sipeat.sql"
local states = require "sipeat.states"
local t = require "sipeat.luatest"
local task = require "sipeat.task"

local function door()
  return states.define("door", {
    initial = "closed",
    final = { "walled-up" },
    transitions = {
      closed = { "open", { "locked", name = "lock" }, "walled-up" },
      open = { "closed" },
      locked = {
        { "closed", name = "unlock", guard = function(context)
          return context and context.has_key, "no key"
        end },
      },
    },
  })
end

t.test("every pair of states is legal or refused, and a refusal says what is allowed", function()
  local machine, seen = door(), 0
  local expected = {
    ["closed open"] = true, ["closed locked"] = true, ["closed walled-up"] = true,
    ["open closed"] = true, ["locked closed"] = true,
  }
  for _, pair in ipairs(machine:pairs()) do
    seen = seen + 1
    local ok, message, code, refusal = machine:check(pair.from, pair.to, { has_key = true })
    if expected[pair.from .. " " .. pair.to] then
      t.eq({ ok, pair.legal }, { true, true })
    else
      t.eq({ ok, pair.legal }, { nil, false })
      t.eq(code, pair.from == "walled-up" and "FINAL_STATE" or "ILLEGAL_TRANSITION")
      t.has(message, "door: " .. pair.from .. " to " .. pair.to)
      t.eq(refusal, {
        machine = "door", from = pair.from, to = pair.to, allowed = machine:allowed(pair.from),
      })
    end
  end
  t.eq(seen, 16)
  t.eq(machine:allowed "closed", { "open", "locked", "walled-up" })
  t.eq(machine:allowed "walled-up", {})
end)

t.test("states that there are not are named with the nearest", function()
  local ok, message, code = door():check("closed", "opne")
  t.eq({ ok, code }, { nil, "UNKNOWN_STATE" })
  t.has(message, "did you mean open?")
  t.eq(select(3, door():check("ajar", "open")), "UNKNOWN_STATE")
  t.eq(select(3, door():check(nil, "open")), "UNKNOWN_STATE")
  t.eq(select(3, door():check("closed", {})), "UNKNOWN_STATE")
end)

t.test("a guard decides, and says why not", function()
  t.eq(door():check("locked", "closed", { has_key = true }), true)
  local ok, message, code = door():check("locked", "closed", { has_key = false })
  t.eq({ ok, code }, { nil, "GUARD_REFUSED" })
  t.has(message, "no key")
end)

t.test("a machine that cannot be right is refused where it is declared", function()
  local function fails(options, part)
    t.fails(function() states.define("m", options) end, part)
  end
  fails({ initial = "a", final = { "z" }, transitions = { a = { "b" } } }, "b has no transitions")
  fails({ initial = "a", final = { "z" }, transitions = { a = { "z" }, b = { "z" } } },
    "nothing leads to b")
  fails({ initial = "a", final = { "z" }, transitions = { a = { "z", "b" }, b = { "b" } } },
    "from b there is no way")
  fails({ initial = "a", final = { "a" }, transitions = { a = { "a" } } }, "a is final and has")
  fails({ initial = "x", final = { "z" }, transitions = { a = { "z" } } }, "initial")
  fails({ initial = "a", final = { "z" }, transitions = { a = { "z", "z" } } }, "twice")
  fails({ initial = "a", final = { "z" }, transitions = { a = { { "z", guard = 1 } } } }, "guard")
  fails({ initial = "a", final = { "z" }, transitions = { a = { { "z", gard = 1 } } } }, "gard")
  fails({ initial = "a", final = { "z" }, transitions = { a = {} } }, "transitions is")
  fails({ initial = "a", final = { "z" }, transitions = { a = { "z z" } } }, "a state's name")
end)

t.test("diagrams have every state and transition", function()
  t.eq(door():mermaid(), [[
stateDiagram-v2
  state "walled-up" as walled_up
  [*] --> closed
  closed --> open
  closed --> locked: lock
  closed --> walled_up
  open --> closed
  locked --> closed: unlock
  walled_up --> [*]
]])
  t.eq(door():dot(), [[
digraph "door" {
  rankdir=LR;
  node [shape=box, style=rounded];
  "*" [shape=point];
  "walled-up" [peripheries=2];
  "*" -> "closed";
  "closed" -> "open";
  "closed" -> "locked" [label="lock"];
  "closed" -> "walled-up";
  "open" -> "closed";
  "locked" -> "closed" [label="unlock"];
}
]])
end)

t.test("states in a database are moved as the machine says, with their history", function()
  local db <close> = t.ok(sql.open(":memory:"))
  local doors = t.ok(door():keep(db, { table = "doors" }))
  t.eq(t.ok(doors:start("d1")).state, "closed")
  t.eq(t.ok(doors:move("d1", "open", { by = "ada" })).revision, 2)
  local ok, _, code, refusal = doors:move("d1", "locked")
  t.eq({ ok, code, refusal.allowed }, { nil, "ILLEGAL_TRANSITION", { "closed" } })
  t.eq(doors:get("d1").state, "open")
  t.eq(t.ok(doors:start("d1")).state, "open") -- it is there already
  local history = t.ok(doors:history("d1"))
  t.eq(#history, 2)
  t.eq({ history[2].from_state, history[2].to_state, history[2].moved_by },
    { "closed", "open", "ada" })
  t.eq(select(3, doors:get("d2")), "NOT_FOUND")
  t.eq(select(3, doors:move("d2", "open")), "NOT_FOUND")
  t.fails(function() doors:move("", "open") end, "an id is a text")
  t.fails(function() door():keep(db, { table = "Doors; DROP" }) end, "small letters")
end)

t.test("a move with a key happens once", function()
  local db <close> = t.ok(sql.open(":memory:"))
  local doors = t.ok(door():keep(db))
  t.ok(doors:start("d1"))
  t.eq(t.ok(doors:move("d1", "open", { key = "event-1" })).again, nil)
  t.ok(doors:move("d1", "closed", { key = "event-2" }))
  local again = t.ok(doors:move("d1", "open", { key = "event-1" }))
  t.eq({ again.revision, again.again }, { 2, true })
  t.eq(doors:get("d1").state, "closed")
  t.eq(select(3, doors:move("d1", "locked", { key = "event-1" })), "KEY_REUSED")
  t.eq(select(3, doors:move("d1", "open", { from = "locked" })), "STATE_MOVED")
end)

t.test("of two who move the same thing at once, one is told what is there by then", function()
  local db <close> = t.ok(sql.open(":memory:"))
  local doors = t.ok(door():keep(db))
  t.ok(doors:start("d1"))
  local results = {}
  local function mover(to)
    return task.spawn(function()
      local row, _, code = doors:move("d1", to)
      results[#results + 1] = row and row.state or code
    end)
  end
  local first, second = mover "open", mover "locked"
  first:join()
  second:join()
  t.eq(results, { "open", "ILLEGAL_TRANSITION" })
end)

t.test("a move within the caller's transaction goes with it", function()
  local db <close> = t.ok(sql.open(":memory:"))
  local doors = t.ok(door():keep(db))
  t.ok(doors:start("d1"))
  db:transaction(function(tx)
    t.eq(t.ok(doors:move("d1", "open", { tx = tx })).state, "open")
    return nil, "rolled back"
  end)
  t.eq(doors:get("d1").state, "closed")
end)
