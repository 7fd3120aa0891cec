--- The environment of a test: empty, but for what the test sets. What the machine's own says, its
--- secrets too, never gets into a test.
local permissions = require "sipeat.core.permissions"

local M = {}

local values = {}

--- Sets a variable, or takes it away (nil).
function M.set(name, value)
  values[name] = value
end

--- What sipeat.core.sys is in a test.
function M.open(real)
  local fake = {}
  for name, value in pairs(real) do
    fake[name] = value
  end
  function fake.getenv(name)
    permissions.permit("env", name)
    return values[name]
  end
  fake.secret = fake.getenv
  return fake
end

return M
