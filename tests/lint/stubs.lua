--- Compares the modules compiled into the binary with their stubs in stdlib/meta, both ways.
--
-- A module's functions and constants stand as M.<name> in its stub; a spec "sipeat.x.do_it" is the
-- class sipeat.x.DoItOptions, with a field for each key: optional when the key is not required, and
-- with "default <value>" in its text when the spec has one.
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local t = require "sipeat.luatest"

-- Modules that users do not require: parts of another one, or of the command line.
local PARTS = {
  answer = true, attempt = true, bytes = true, chains = true, console = true, context = true,
  durable = true, fields = true, guard = true, journal = true, lease = true, local_effects = true,
  moment = true, otlp = true, place = true, plain = true, queues = true, record = true,
  replay = true, retry_topic = true, service = true, sibling_topic = true, simulation = true,
  step_spec = true, step_undo = true, steps = true, tracing = true, versions = true,
}

-- A module whose name goes on after that of another one ("discord_queue") is a part of it.
local function is_part(name, modules)
  local owner = name:match "^(%a+)_"
  return PARTS[name] or owner == "command" or owner and modules[owner]
end

local modules = { sipeat = true }
for _, full in ipairs(sys.modules()) do
  modules[full:match "^sipeat%.(.+)$" or full] = true
end

local function text_of(name)
  return sys.read_file(("stdlib/meta/%s.lua"):format(name))
end

local stubs = {} -- public module -> text of its stub
local all_text = {}
for name in pairs(modules) do
  if not is_part(name, modules) then
    stubs[name] = text_of(name) or false
    all_text[#all_text + 1] = stubs[name] or nil
  end
end

-- class -> { field -> { optional, text } }
local classes = {}
for _, text in ipairs(all_text) do
  local class
  for line in text:gmatch "[^\n]*" do
    local name = line:match "^%-%-%-@class ([%w_.]+)"
    if name then
      class = classes[name] or {}
      classes[name] = class
    end
    local field, mark, rest = line:match "^%-%-%-@field (%[?[%w_]+%]?)(%??) ?(.*)$"
    if field and class then
      class[field] = { optional = mark == "?" or (rest .. " "):find "%? " ~= nil, text = rest }
    elseif not line:find "^%-%-%-" then
      class = nil
    end
  end
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

local function report(problems)
  t.eq(table.concat(problems, "\n"), "")
end

t.test("every public module has a stub that is not run", function()
  local problems = {}
  for _, name in ipairs(sorted(stubs)) do
    if not stubs[name] then
      problems[#problems + 1] = ("%s has no stdlib/meta/%s.lua"):format(name, name)
    elseif not stubs[name]:find "^%-%-%-@meta sipeat[%w_.]*\nerror" then
      local why = "stdlib/meta/%s.lua does not begin with ---@meta and error"
      problems[#problems + 1] = why:format(name)
    end
  end
  report(problems)
end)

local function stub_names(text)
  local names = {}
  for line in text:gmatch "[^\n]+" do
    local name = line:match "^function M[.:]([%w_]+)%(" or line:match "^M%.([%w_]+) ="
    if name then
      names[name] = true
    end
  end
  return names
end

local function compare(name, text, problems)
  local exported = require(name == "sipeat" and name or "sipeat." .. name)
  local named = stub_names(text)
  if type(exported) == "function" then
    if not text:find "\nlocal function [%w_]+%([%w_, .]*%) end\n" then
      problems[#problems + 1] = name .. ": the module is a function, its stub is none"
    end
    return
  end
  for key in pairs(exported) do
    if not named[key] and type(key) == "string" then
      problems[#problems + 1] = ("%s.%s is not in its stub"):format(name, key)
    end
  end
  for key in pairs(named) do
    local ok, value = pcall(function()
      return exported[key]
    end)
    if not ok or value == nil then
      problems[#problems + 1] = ("%s.%s is in the stub only"):format(name, key)
    end
  end
end

t.test("what a module exports is in its stub, and the other way round", function()
  local problems = {}
  for _, name in ipairs(sorted(stubs)) do
    if stubs[name] then
      compare(name, stubs[name], problems)
    end
  end
  table.sort(problems)
  report(problems)
end)

local function class_of(spec)
  local path, last = spec:match "^(.*)%.([^.]+)$"
  local camel = (last:gsub("_*(%a)([^_]*)", function(first, rest)
    return first:upper() .. rest
  end))
  return ("%s.%sOptions"):format(path, camel)
end

local function written(value)
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

-- The default that a field's text names: default "x", default 5, true (default).
local function literal_of(text)
  local number = text:match "default (%-?%d[%d.,]*)" or text:match "(%-?%d[%d.,]*) %(default%)"
  return text:match 'default ("[^"]*")' or text:match '("[^"]*") %(default%)'
    or number and number:gsub("[.,]+$", ""):gsub(",", "")
    or text:match "default (true)" or text:match "default (false)"
    or text:match "(true) %(default%)" or text:match "(false) %(default%)"
    or text:match "default ({)"
end

local function compare_field(where, field, stub, problems)
  local function problem(text)
    problems[#problems + 1] = ("%s %s"):format(where, text)
  end
  if not stub then
    return problem "is not in the stub"
  end
  if stub.optional == (field.required == true) and where:sub(-1) ~= "]" then
    problem(field.required and "is required, the stub says optional" or "is optional: write ?")
  end
  local literal = literal_of(stub.text)
  if field.default == nil and literal then
    problem(("has no default, the stub says %s"):format(literal))
  elseif type(field.default) == "table" then
    if literal ~= "{" then
      problem "has a default, the stub does not say which: default { … }"
    end
  elseif field.default ~= nil and literal ~= written(field.default) then
    problem(("has default %s, the stub says %s"):format(written(field.default), literal or "none"))
  end
end

t.test("option keys and defaults are those of the specs", function()
  for _, name in ipairs(sorted(modules)) do
    if not name:find "^command_" then
      pcall(require, name == "sipeat" and name or "sipeat." .. name)
    end
  end
  local problems = {}
  for _, spec in ipairs(sorted(opts.specs)) do
    local class = classes[class_of(spec)]
    local part = is_part(spec:match "^sipeat%.([%w_]+)", modules) -- only other modules call it
    if not part and not class then
      problems[#problems + 1] = ("%s has no class %s in a stub"):format(spec, class_of(spec))
    elseif not part then
      for key, field in pairs(opts.specs[spec]) do
        local name = type(key) == "string" and key or ("[%s]"):format(key)
        compare_field(("%s: %s"):format(spec, name), field, class[name], problems)
      end
      for name in pairs(class) do
        if opts.specs[spec][tonumber(name:match "%[(%d+)%]") or name] == nil then
          problems[#problems + 1] = ("%s: %s is in the stub only"):format(spec, name)
        end
      end
    end
  end
  table.sort(problems)
  report(problems)
end)
