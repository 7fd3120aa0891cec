--- Declared state machines: which states there are, how they may follow each other, and which end.
--
-- A machine is only a declaration: what is in which state is kept by whoever uses it, in its own
-- rows, or by Machine:keep in a database (sipeat.states_kept). Codes of a refusal: UNKNOWN_STATE,
-- FINAL_STATE, ILLEGAL_TRANSITION, GUARD_REFUSED.
local diagram = require "sipeat.states_diagram"
local json = require "sipeat.json"
local opts = require "sipeat.opts"

local M = {}

local DEFINE = opts.spec("sipeat.states.define", {
  initial = { "string", required = true },
  final = { "string[]", required = true },
  transitions = { "table", required = true },
})

local Machine = { __name = "sipeat.states.machine" }
Machine.__index = Machine

function Machine:__tostring()
  return self.name
end

-- --- declaration ---

local function is_name(text)
  return type(text) == "string" and #text <= 64 and text:find "^[%a_][%w_-]*$" ~= nil
end

local function refuse(name, text, ...)
  error(("states.define %s: %s"):format(name, text:format(...)), 0)
end

-- One transition as it is written: "paid", or { "paid", name =, guard = }.
local function transition_of(name, from, entry)
  local t = type(entry) == "table" and entry or { entry }
  for key in pairs(t) do
    if key ~= 1 and key ~= "name" and key ~= "guard" then
      refuse(name, "%s: a transition has a state, name and guard, not %s", from, opts.show(key))
    end
  end
  if not is_name(t[1]) then
    refuse(name, "%s: a state's name is letters, digits, \"_\" and \"-\", got %s", from,
      opts.show(t[1]))
  elseif t.guard ~= nil and type(t.guard) ~= "function" then
    refuse(name, "%s to %s: guard is a function, got %s", from, t[1], opts.show(t.guard))
  elseif t.name ~= nil and type(t.name) ~= "string" then
    refuse(name, "%s to %s: name is text, got %s", from, t[1], opts.show(t.name))
  end
  return { to = t[1], name = t.name, guard = t.guard }
end

-- from -> to -> transition, and from -> the states that may follow, in the order of declaration.
local function read_transitions(name, transitions)
  local moves, order = {}, {}
  for from, list in pairs(transitions) do
    if not is_name(from) or type(list) ~= "table" or #list == 0 then
      refuse(name, "transitions is { state = { \"next state\", … } }, see %s", opts.show(from))
    end
    moves[from], order[from] = {}, {}
    for i, entry in ipairs(list) do
      local t = transition_of(name, from, entry)
      if moves[from][t.to] then
        refuse(name, "%s to %s is declared twice", from, t.to)
      end
      moves[from][t.to], order[from][i] = t, t.to
    end
  end
  return moves, order
end

-- Every state by name, true; each must be the start of a transition or final, and not both.
local function read_states(name, o, moves)
  local states, final = {}, {}
  for _, state in ipairs(o.final) do
    if not is_name(state) then
      refuse(name, "final: a state's name is needed, got %s", opts.show(state))
    elseif moves[state] then
      refuse(name, "%s is final and has transitions", state)
    end
    states[state], final[state] = true, true
  end
  for from in pairs(moves) do
    states[from] = true
  end
  for _, from in ipairs(opts.names(moves)) do
    for to in pairs(moves[from]) do
      if not states[to] then
        local near = opts.nearest(to, opts.names(states))
        refuse(name, "%s to %s: %s has no transitions and is not final%s", from, to, to,
          near and (" (did you mean %s?)"):format(near) or "")
      end
    end
  end
  if not states[o.initial] then
    refuse(name, "initial: there is no state %s", opts.show(o.initial))
  end
  return states, final
end

-- What can be reached from the given states by `next_of`, in the order of finding.
local function reach(starts, next_of)
  local seen, queue = {}, {}
  local function add(state)
    if not seen[state] then
      seen[state], queue[#queue + 1] = true, state
    end
  end
  for _, state in ipairs(starts) do
    add(state)
  end
  local i = 1
  while queue[i] do
    for _, state in ipairs(next_of[queue[i]] or {}) do
      add(state)
    end
    i = i + 1
  end
  return seen, queue
end

-- No state that nothing leads to, and none from which there is no way to an end.
local function check_ways(name, o, states, order)
  local back = {}
  for from, list in pairs(order) do
    for _, to in ipairs(list) do
      back[to] = back[to] or {}
      table.insert(back[to], from)
    end
  end
  local from_start, queue = reach({ o.initial }, order)
  local to_end = reach(o.final, back)
  for _, state in ipairs(opts.names(states)) do
    if not from_start[state] then
      refuse(name, "nothing leads to %s", state)
    elseif not to_end[state] then
      refuse(name, "from %s there is no way to a final state", state)
    end
  end
  return queue
end

local function define(name, o)
  if not is_name(name) then
    error(("states.define: a machine's name is letters, digits, \"_\" and \"-\", got %s"):format(
      opts.show(name)), 0)
  end
  local moves, order = read_transitions(name, o.transitions)
  local states, final = read_states(name, o, moves)
  return setmetatable({
    name = name, initial = o.initial, moves = moves, order = order, known = states, final = final,
    states = check_ways(name, o, states, order),
  }, Machine)
end

--- Declares a machine. A transition is a state's name, or { state, name = "release", guard =
--- function(context) … end }: a guard answers true, or false (or nil) and why not. Throws when a
--- state cannot be reached, or cannot end.
function M.define(name, options)
  local o = DEFINE(options)
  local ok, machine = pcall(define, name, o)
  if not ok then
    error(machine, 2)
  end
  return machine
end

function M.is_machine(value)
  return getmetatable(value) == Machine
end

-- --- asking ---

--- The states that may follow one, in the order of declaration; none for a final or unknown one.
function Machine:allowed(from)
  return json.array(table.move(self.order[from] or {}, 1, #(self.order[from] or {}), 1, {}))
end

function Machine:is_final(state)
  return self.final[state] == true
end

function Machine:has(state)
  return self.known[state] == true
end

local function refusal(self, from, to, code, why)
  local allowed = self:allowed(from)
  local shown = #allowed > 0 and "may become " .. table.concat(allowed, ", ") or "may not change"
  local text = ("%s: %s to %s is refused: %s (%s %s)"):format(
    self.name, tostring(from), tostring(to), why, tostring(from), shown)
  return nil, text, code, {
    machine = self.name, from = tostring(from), to = tostring(to), allowed = allowed,
  }
end

--- May what is in the state `from` become `to`? true; or nil, a message, a code and { machine,
--- from, to, allowed }. `context` is what guards are asked with.
function Machine:check(from, to, context)
  if not self.known[from] then
    local why = ("there is no state %s"):format(opts.show(from))
    return refusal(self, from, to, "UNKNOWN_STATE", why)
  elseif not self.known[to] then
    local near = type(to) == "string" and opts.nearest(to, self.states)
    return refusal(self, from, to, "UNKNOWN_STATE", ("there is no state %s%s"):format(
      opts.show(to), near and (", did you mean %s?"):format(near) or ""))
  elseif self.final[from] then
    return refusal(self, from, to, "FINAL_STATE", ("%s is final"):format(from))
  end
  local move = self.moves[from][to]
  if not move then
    return refusal(self, from, to, "ILLEGAL_TRANSITION", "there is no such transition")
  elseif move.guard then
    local ok, why = move.guard(context)
    if not ok then
      return refusal(self, from, to, "GUARD_REFUSED", tostring(why or "its guard says no"))
    end
  end
  return true
end

--- The name of a transition that was declared with one.
function Machine:transition(from, to)
  local move = self.moves[from] and self.moves[from][to]
  return move and move.name
end

--- Every pair of states, as { from, to, legal, guarded }: for tests and tables.
function Machine:pairs()
  local list = {}
  for _, from in ipairs(self.states) do
    for _, to in ipairs(self.states) do
      local move = self.moves[from] and self.moves[from][to]
      list[#list + 1] = {
        from = from, to = to, legal = move ~= nil, guarded = move ~= nil and move.guard ~= nil,
      }
    end
  end
  return list
end

--- The machine as a Mermaid state diagram.
function Machine:mermaid()
  return diagram.mermaid(self)
end

--- The machine for Graphviz.
function Machine:dot()
  return diagram.dot(self)
end

--- A table of a database (sipeat.sql) in which the state of each thing is kept: see
--- sipeat.states_kept. nil, message, code when the table cannot be made.
function Machine:keep(db, options)
  return require("sipeat.states_kept").open(self, db, options)
end

return M
