--- sipeat.core.journal: what one write may hold.
local core = require "sipeat.core.journal"
local t = require "sipeat.luatest"

t.journal()

t.test("hundreds of statements are one write", function()
  for _, count in ipairs { 10, 100, 700 } do
    local statements = {}
    for i = 1, count do
      statements[i] = { "run_get", i, n = 2 }
    end
    local answers = table.pack(core.write(table.unpack(statements)))
    t.eq(answers.n, count)
    t.eq(answers[count], {})
  end
end)
