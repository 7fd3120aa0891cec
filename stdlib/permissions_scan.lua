--- What the files of a script name: addresses, topics, databases, variables; and the list of it as
-- a script declares it.
local permissions = require "sipeat.permissions"

local M = {}

local WIDTH = 96

-- kind -> patterns with one capture
local WRITTEN = {
  topics = { ":emit%s*%(?%s*[\"']([^\"'\n]+)[\"']" },
  paths = { "sql%.open%s*%(?%s*[\"']([^\"'\n:]+)[\"']" },
  ports = { "port%s*=%s*[\"'](/[^\"'\n]+)[\"']" },
  env = {
    "env%.get%s*%(?%s*[\"']([%w_]+)[\"']", "env%.secret%s*%(?%s*[\"']([%w_]+)[\"']",
    "env%.require%s*%(?%s*[\"']([%w_]+)[\"']", "sipeat%.secret%s*%(?%s*[\"']([%w_]+)[\"']",
    "os%.getenv%s*%(?%s*[\"']([%w_]+)[\"']",
  },
}

--- Notes that it uses that name.
function M.add(found, kind, name)
  found[kind] = found[kind] or {}
  found[kind][name] = true
end

local PORTS = { http = "80", https = "443", smtp = "25", smtps = "465" }

--- Adds what is written in the text of a file to `found`, kind -> set of names.
---@param text string
---@param found table
function M.scan(text, found)
  for scheme, host, port in text:gmatch "(%a+)://([%w.-]+):?(%d*)" do
    if PORTS[scheme] then
      M.add(found, "hosts", ("%s:%s"):format(host:lower(), port ~= "" and port or PORTS[scheme]))
    end
  end
  for kind, patterns in pairs(WRITTEN) do
    for _, pattern in ipairs(patterns) do
      for name in text:gmatch(pattern) do
        M.add(found, kind, name)
      end
    end
  end
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = ("%q"):format(name)
  end
  table.sort(list)
  return list
end

local function line_of(kind, names)
  local line = ("  %s = { %s },"):format(kind, table.concat(names, ", "))
  if #line <= WIDTH then
    return line
  end
  return ("  %s = {\n    %s,\n  },"):format(kind, table.concat(names, ",\n    "))
end

--- The list as a script declares it.
---@param found table
---@return string
function M.text(found)
  local lines = { "sipeat.permissions {" }
  for _, kind in ipairs(permissions.KINDS) do
    if found[kind] and next(found[kind]) then
      lines[#lines + 1] = line_of(kind, sorted(found[kind]))
    end
  end
  lines[#lines + 1] = "}\n"
  return table.concat(lines, "\n")
end

return M
