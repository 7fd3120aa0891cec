--- Loads a script for a replay: its flows' handlers, and nothing that it would start or reach.
local core = require "sipeat.core.script"
local sys = require "sipeat.core.sys"
local versions = require "sipeat.versions"

local M = {}

local MAX_FILES = 10000

local function text(bytes)
  return (">s4"):pack(bytes)
end

-- The modules that a source requires by name, as files beside the script.
local function required(source)
  local names = {}
  for name in source:gmatch "require%s*%(?%s*[\"']([%w_.-]+)[\"']" do
    names[#names + 1] = name:gsub("%.", "/") .. ".lua"
    names[#names + 1] = name:gsub("%.", "/") .. "/init.lua"
  end
  return names
end

-- Reads the script and what it requires, as far as it lies beside it. name -> text; or nil,
-- message, code.
local function files_of(directory, main)
  local source, message, code = sys.read_file(directory .. main)
  if not source then
    return nil, message, code
  end
  local files, wanted = { [main] = source }, required(source)
  local at, count = 1, 1
  while wanted[at] and count < MAX_FILES do
    local name = wanted[at]
    local found = not files[name] and sys.read_file(directory .. name)
    if found then
      files[name], count = found, count + 1
      table.move(required(found), 1, #required(found), #wanted + 1, wanted)
    end
    at = at + 1
  end
  return files
end

-- A tree's blob, as runtime/vm/script_tree.h describes it.
local function pack(main, files)
  local names = {}
  for name in pairs(files) do
    names[#names + 1] = name
  end
  table.sort(names)
  local parts = { "sipeat script 1\n", text(sys.version), text(main), (">I4"):pack(#names) }
  for _, name in ipairs(names) do
    parts[#parts + 1] = text(name) .. text(files[name])
  end
  return table.concat(parts)
end

--- The blob of the script at that path as it is now; or nil, message, code.
function M.blob(path)
  local directory, main = path:match "^(.*/)([^/]+)$"
  directory, main = directory or "./", main or path
  local files, message, code = files_of(directory, main)
  if not files then
    return nil, message, code
  end
  return pack(main, files)
end

--- The flow of that group and topic in the script of a blob; or nil, message, code.
function M.flow(blob, group, topic)
  local tree, message, code = core.open(blob)
  if not tree then
    return nil, message, code
  end
  local flows
  flows, message, code = versions.handlers(tree:hash(), blob)
  if not flows then
    return nil, message, code
  end
  local flow = versions.pick(flows, group, topic)
  if not flow then
    return nil, "the script has no flow of the group " .. group, "NO_FLOW"
  end
  return flow
end

--- Closes the ways out: what a script would send is added to `outputs`, and answered with a
--- failure; databases are empty ones in memory. For the rest of the process.
function M.cut_off(outputs)
  local function closed(kind)
    return function(what)
      local detail = type(what) == "table" and (what.url or what.subject) or what
      outputs[#outputs + 1] = { kind = kind, to = type(detail) == "string" and detail or nil }
      return nil, "nothing leaves the machine in a replay", "NOT_SENT"
    end
  end
  require("sipeat.core.http").start = closed "http"
  require("sipeat.core.smtp").send = closed "mail"
  local kafka = require "sipeat.core.kafka"
  for _, name in ipairs { "send", "consumer", "reader", "admin" } do
    kafka[name] = closed("kafka " .. name)
  end
  local sqlite = require "sipeat.core.sqlite"
  local open = sqlite.open
  sqlite.open = function(_, ...)
    return open(":memory:", ...)
  end
  require("sipeat.core.postgres").open = closed "postgres"
  sys.write_file = closed "file"
end


return M
