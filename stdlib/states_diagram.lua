--- A state machine as a diagram: text for Mermaid and for Graphviz. Nothing is drawn here.
local M = {}

local RESERVED = { ["end"] = true, state = true, note = true, direction = true, class = true }

-- What Mermaid takes as an id: other names get one, and are shown by a description.
local function id_of(state)
  local id = state:gsub("-", "_")
  return RESERVED[id:lower()] and id .. "_" or id
end

-- Every transition as { from, to, name }, by the order of states and of declaration.
local function each(machine)
  local list = {}
  for _, from in ipairs(machine.states) do
    for _, to in ipairs(machine.order[from] or {}) do
      list[#list + 1] = { from = from, to = to, name = machine:transition(from, to) }
    end
  end
  return list
end

--- stateDiagram-v2, as GitHub and others show it in a block ```mermaid.
function M.mermaid(machine)
  local out = { "stateDiagram-v2" }
  for _, state in ipairs(machine.states) do
    if id_of(state) ~= state then
      out[#out + 1] = ("  state \"%s\" as %s"):format(state, id_of(state))
    end
  end
  out[#out + 1] = "  [*] --> " .. id_of(machine.initial)
  for _, t in ipairs(each(machine)) do
    local label = t.name and ": " .. t.name:gsub("[\r\n:;]", " ") or ""
    out[#out + 1] = ("  %s --> %s%s"):format(id_of(t.from), id_of(t.to), label)
  end
  for _, state in ipairs(machine.states) do
    if machine:is_final(state) then
      out[#out + 1] = ("  %s --> [*]"):format(id_of(state))
    end
  end
  return table.concat(out, "\n") .. "\n"
end

local function quoted(text)
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("[\r\n]", " ") .. '"'
end

--- A digraph in Graphviz's language: `dot -Tsvg`.
function M.dot(machine)
  local out = { ("digraph %s {"):format(quoted(machine.name)), "  rankdir=LR;",
    "  node [shape=box, style=rounded];", "  \"*\" [shape=point];" }
  for _, state in ipairs(machine.states) do
    if machine:is_final(state) then
      out[#out + 1] = ("  %s [peripheries=2];"):format(quoted(state))
    end
  end
  out[#out + 1] = ("  \"*\" -> %s;"):format(quoted(machine.initial))
  for _, t in ipairs(each(machine)) do
    local label = t.name and (" [label=%s]"):format(quoted(t.name)) or ""
    out[#out + 1] = ("  %s -> %s%s;"):format(quoted(t.from), quoted(t.to), label)
  end
  out[#out + 1] = "}"
  return table.concat(out, "\n") .. "\n"
end

return M
