--- What a script may reach: sipeat.permissions { … } at its top; whatever it does not name is
--- refused from then on, where the program would do it.
local core = require "sipeat.core.permissions"
local opts = require "sipeat.opts"

local M = {}

local KINDS = { "hosts", "topics", "groups", "paths", "reads", "ports", "env" }

local PERMISSIONS = opts.spec("sipeat.permissions", {
  hosts = { "string[]" },
  topics = { "string[]" },
  groups = { "string[]" },
  paths = { "string[]" },
  reads = { "string[]" },
  ports = { "string[]" },
  env = { "string[]" },
})

--- As a list of { kind, pattern }.
local function listed(o)
  local list = {}
  for _, kind in ipairs(KINDS) do
    for _, pattern in ipairs(o[kind] or {}) do
      if pattern == "" then
        error(("sipeat.permissions: %s has an empty text"):format(kind), 3)
      end
      list[#list + 1] = { kind, kind == "hosts" and pattern:lower() or pattern }
    end
  end
  return list
end

--- Has the script said what it needs?
---@return boolean
function M.declared()
  return core.declared()
end

--- What the script has asked for while it loaded, by kind.
---@return table<string, string[]>
function M.uses()
  local by_kind = {}
  for _, use in ipairs(core.uses()) do
    by_kind[use[1]] = by_kind[use[1]] or {}
    table.insert(by_kind[use[1]], use[2])
  end
  return by_kind
end

M.KINDS = KINDS

return setmetatable(M, {
  __call = function(_, options)
    local ok, message = pcall(core.declare, listed(PERMISSIONS(options)))
    if not ok then
      error(message, 2)
    end
  end,
})
