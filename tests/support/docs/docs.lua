--- Runs a Lua block of a page, with what the page leaves to its reader.
--
-- docs.block(page, number, f) declares the test of one block for `sipeat test`; docs.live does it
-- in a script that runs, for what needs more than fakes. f(b) loads the block and lets what it
-- declares happen. Afterwards each statement of the block must have run.
local assertions = require "sipeat.testing_assert"
local blocks = require "blocks"
local sipeat = require "sipeat"
local t = require "sipeat.testing"

local M = {}

local Block = {}
Block.__index = Block

local function new(page, number)
  local declared = assert(blocks[page] and blocks[page][number], "there is no such block")
  local b = setmetatable({ page = page, number = number, changes = {} }, Block)
  b.hits, b.printed = {}, {}
  b.line, b.statements, b.source = declared.line, declared.statements, declared.source
  function b.hit(line)
    b.hits[line] = true
  end
  function b.print(...)
    local words = table.pack(...)
    for i = 1, words.n do
      words[i] = tostring(words[i])
    end
    b.printed[#b.printed + 1] = table.concat(words, "\t")
  end
  return b
end

-- `form` is how the text is completed to a script: "" (it is one), "fields" or "body".
local function run(b, form, env)
  b.env, b.made_of_it = env, nil
  t.docs = b
  if b.is_live then
    local text = b.source[form]
    for from, to in pairs(b.changes) do
      text = text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%")))
    end
    assert(load(text, ("@%s.md"):format(b.page), "t", _ENV))()
  else
    t.load(("blocks/%s-%d%s.lua"):format(b.page, b.number, form))
  end
  return b.made_of_it
end

--- Loads it as a script. `env` has the names that it takes from the text around it.
function Block:load(env)
  run(self, "", env)
end

--- Loads it as a script and gives its local variables of these names.
function Block:made(env, ...)
  local made, values = run(self, "", env), table.pack(...)
  for i = 1, values.n do
    values[i] = made[values[i]]
  end
  return table.unpack(values, 1, values.n)
end

--- It is fields of a table, such as the options of a flow or the steps of a chain: that table.
function Block:fields(env)
  return run(self, "-fields", env)
end

--- It is a part of a handler: a function(event, ctx) that runs it.
function Block:body(env)
  return run(self, "-body", env)
end

--- Of a live block: puts a text in the place of another one, such as the port of this machine.
function Block:with(from, to)
  self.changes[from] = to
end

--- The statements that were not run, or nil.
function Block:missed()
  local missed = {}
  for _, line in ipairs(self.statements) do
    if not self.hits[line] then
      missed[#missed + 1] = ("%s.md:%d"):format(self.page, self.line + line - 1)
    end
  end
  return missed[1] and "these statements were not run: " .. table.concat(missed, ", ")
end

--- Declares the test of one block.
---@param page string without .md
---@param number integer of the Lua blocks of that page
---@param f fun(b: table)
function M.block(page, number, f)
  t.test(page .. " " .. number, function()
    local b = new(page, number)
    f(b)
    local missed = b:missed()
    t.ok(not missed, missed)
  end)
end

--- Delivers an event of this type, which must be done.
function M.done(topic, type, data, key)
  local outcome = t.deliver(topic, key or "k-1", { type = type, data = data })
  t.eq({ outcome.status, outcome.failure and outcome.failure.message }, { "done" })
  return outcome
end

--- A handler that keeps what it was called with, and gives this result.
function M.handler(result)
  local calls = {}
  return function(...)
    calls[#calls + 1] = table.pack(...)
    return result == nil or result
  end, calls
end

--- A script with this flow, in the place of the one before.
function M.flow(options)
  t.docs_flow = options
  t.load "host.lua"
end

--- A flow of this topic with that handler for this type of events.
function M.handles(topic, type, handler)
  M.flow { topic = topic, group = topic, on = { [type] = handler } }
end

-- --- in a script that runs ---

local later = {}

--- Loads a block now; what f gives is called once the script runs.
function M.live(page, number, f)
  local b = new(page, number)
  b.is_live = true
  later[#later + 1] = { b = b, look = f(b) }
end

--- Waits until f() is true.
function M.wait(f)
  local turns = 0
  while not f() do
    turns = turns + 1
    assert(turns < 300, "it does not happen")
    sipeat.task.sleep "100ms"
  end
end

--- Looks at all of them, side by side.
function M.begin()
  for _, entry in ipairs(later) do
    sipeat.task.spawn(function()
      local name = ("%s %d"):format(entry.b.page, entry.b.number)
      local ok, message = pcall(entry.look or function() end)
      message = not ok and tostring(message) or entry.b:missed()
      sipeat.log.info(message and ("docs: failed %s: %s"):format(name, message)
        or "docs: passed " .. name)
    end)
  end
end

M.eq, M.ok = assertions.eq, assertions.ok
return M
