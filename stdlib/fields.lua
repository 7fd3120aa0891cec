--- The field types of typed events: checks data, collects every complaint, converts both ways.
--
-- compile(fields) makes a tree of nodes once; check turns wire or typed data into typed data, and
-- wire turns typed data back into what is written.
local json = require "sipeat.json"
local money = require "sipeat.money"
local opts = require "sipeat.opts"

local M = {}

local MAX_PROBLEMS = 20

local List = {} -- metatable of fields.list

--- A list whose items are all of one type or have the same fields.
function M.list(item)
  return setmetatable({ item = item }, List)
end

local function count(t)
  local n = 0
  for _ in next, t do
    n = n + 1
  end
  return n
end

local function is_list(value)
  return type(value) == "table" and count(value) == #value
end

local function is_object(value)
  return type(value) == "table" and not json.is_array(value)
end

--- An address that mail software takes: one @, a domain with a point, nothing that splits headers.
function M.is_email(text)
  if type(text) ~= "string" or #text > 254 then
    return false
  end
  local user, domain = text:match("^([%w!#$%%&'*+/=?^_`{|}~.\128-\255-]+)@([%w.\128-\255-]+)$")
  return user ~= nil
    and #user <= 64
    and domain:find("^[^.-].*%.[^.-]") ~= nil
    and not domain:find("%.%.")
    and not domain:find("[.-]$")
    and not user:find("^%.")
    and not user:find("%.$")
    and not user:find("%.%.")
    and utf8.len(text) ~= nil
end

--- RFC 3339, as in "2024-01-01T12:00:00Z" or "2024-01-01T13:00:00.250+01:00".
function M.is_time(text)
  if type(text) ~= "string" then
    return false
  end
  local month, day, hour, minute, second, rest =
    text:match("^%d%d%d%d%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(.*)$")
  if not month then
    return false
  end
  rest = rest:gsub("^%.%d+", "")
  local zone = rest:find("^[Zz]$") or rest:find("^[+-]%d%d:%d%d$")
  month, day = tonumber(month), tonumber(day)
  return zone ~= nil
    and month >= 1 and month <= 12
    and day >= 1 and day <= 31
    and tonumber(hour) < 24 and tonumber(minute) < 60 and tonumber(second) <= 60
end

local function test(predicate)
  return function(value)
    if predicate(value) then
      return value
    end
  end
end

local function of_type(kind)
  return test(function(value)
    return type(value) == kind
  end)
end

-- type -> { what a message calls it, function(value, currency) -> typed value | nil, why }
local SCALARS = {
  string = { "string", of_type "string" },
  boolean = { "boolean", of_type "boolean" },
  email = { "an e-mail address", test(M.is_email) },
  time = { "a time such as 2024-01-01T12:00:00Z", test(M.is_time) },
  object = { "an object", test(is_object) },
  array = { "an array", test(is_list) },
  any = { "a value", function(value)
    return value
  end },
  integer = { "integer", function(value)
    return type(value) == "number" and math.tointeger(value) or nil
  end },
  number = { "number", test(function(value)
    return type(value) == "number" and value == value and math.abs(value) ~= math.huge
  end) },
  money = { "an amount such as 25.50", function(value, currency)
    if money.is(value) then
      return money.new(value.amount_minor, value.currency)
    elseif type(value) == "number" then
      return money.of(value, currency)
    end
  end },
  ["money:minor"] = { "an amount in minor units such as 2550", function(value, currency)
    if money.is(value) then
      return money.new(value.amount_minor, value.currency)
    elseif type(value) == "number" and math.tointeger(value) then
      return money.new(value, currency)
    end
  end },
}

local function identity(value)
  return value
end

local WIRES = {
  money = function(value)
    return money.is(value) and money.to_number(value) or value
  end,
  ["money:minor"] = function(value)
    return money.is(value) and value.amount_minor or value
  end,
  array = function(value)
    return #value == 0 and json.empty_array or value
  end,
}

local function complain(problems, path, text)
  problems[#problems + 1] = path == "" and text or ("%s: %s"):format(path, text)
end

local function scalar(name)
  local title, convert = SCALARS[name][1], SCALARS[name][2]
  return {
    title = title,
    check = function(value, path, problems, currency)
      local typed, why = convert(value, currency)
      if typed == nil then
        complain(problems, path, why or ("expected %s, got %s"):format(title, opts.show(value)))
      end
      return typed
    end,
    wire = WIRES[name] or identity,
  }
end

local function enumeration(values)
  local shown = {}
  for i, value in ipairs(values) do
    shown[i] = opts.show(value)
  end
  local title = "one of " .. table.concat(shown, ", ")
  return {
    title = title,
    wire = identity,
    check = function(value, path, problems)
      for _, allowed in ipairs(values) do
        if value == allowed then
          return value
        end
      end
      complain(problems, path, ("expected %s, got %s"):format(title, opts.show(value)))
    end,
  }
end

local function list(item)
  return {
    title = "an array",
    check = function(value, path, problems, currency)
      if not is_list(value) then
        return complain(problems, path, ("expected an array, got %s"):format(opts.show(value)))
      end
      local out = json.array()
      for i, entry in ipairs(value) do
        out[i] = item.check(entry, ("%s[%d]"):format(path, i), problems, currency)
      end
      return out
    end,
    wire = function(value)
      local out = json.array()
      for i, entry in ipairs(value) do
        out[i] = item.wire(entry)
      end
      return out
    end,
  }
end

local function is_absent(value)
  return value == nil or value == json.null
end

local function object_check(children, names)
  return function(value, path, problems, currency)
    if not is_object(value) then
      return complain(problems, path, ("expected an object, got %s"):format(opts.show(value)))
    end
    local out = {}
    for key, item in next, value do
      out[key] = item
    end
    if money.is_currency(value.currency) then
      currency = value.currency
    end
    for _, name in ipairs(names) do
      local child, item = children[name], value[name]
      local place = path == "" and name or path .. "." .. name
      if not is_absent(item) then
        out[name] = child.node.check(item, place, problems, currency)
      elseif child.optional then
        out[name] = nil
      else
        local how = item == nil and "is missing" or "is null"
        problems[#problems + 1] = ("%s %s (expected %s)"):format(place, how, child.node.title)
      end
    end
    return out
  end
end

local function object_wire(children)
  return function(value)
    local out = {}
    for key, item in next, value do
      local child = children[key]
      out[key] = child and item ~= json.null and child.node.wire(item) or item
    end
    return out
  end
end

local compile_type

local function object(fields, where)
  local children = {}
  for key, field in pairs(fields) do
    if type(key) ~= "string" then
      error(("%s: field names are strings, got %s"):format(where, opts.show(key)), 0)
    end
    local name = key:gsub("%?$", "")
    local node, optional = compile_type(field, ("%s.%s"):format(where, name))
    if children[name] then
      error(("%s.%s is declared twice"):format(where, name), 0)
    end
    children[name] = { node = node, optional = optional or name ~= key }
  end
  return {
    title = "an object",
    check = object_check(children, opts.names(children)),
    wire = object_wire(children),
  }
end

-- The node of a type as written in a definition, and whether it is optional.
function compile_type(field, where)
  if type(field) == "table" then
    if getmetatable(field) == List then
      return list((compile_type(field.item, where .. "[]"))), false
    elseif #field > 0 then
      return enumeration(field), false
    end
    return object(field, where), false
  end
  local text = type(field) == "string" and field or ""
  local name, brackets, mark = text:match("^([%a:]+)(%[?%]?)(%??)$")
  if not name or not SCALARS[name] or brackets ~= "" and brackets ~= "[]" then
    local near = name and opts.nearest(name, opts.names(SCALARS))
    local hint = near and ("did you mean %q?"):format(near)
      or "known: " .. table.concat(opts.names(SCALARS), ", ")
    error(("%s: unknown type %s (%s)"):format(where, opts.show(field), hint), 0)
  end
  local node = scalar(name)
  return brackets == "[]" and list(node) or node, mark == "?"
end

--- Compiles the fields of a definition; raises a message that begins with `where`.
function M.compile(fields, where)
  local root = object(fields, where)
  return {
    --- Typed data, or nil and one text that names every wrong field.
    check = function(data, currency)
      local problems = {}
      local typed = root.check(data, "", problems, currency)
      if #problems > MAX_PROBLEMS then
        local more = ("and %d more"):format(#problems - MAX_PROBLEMS)
        problems = table.move(problems, 1, MAX_PROBLEMS, 1, {})
        problems[#problems + 1] = more
      end
      if #problems > 0 then
        return nil, table.concat(problems, "; ")
      end
      return typed
    end,
    wire = root.wire,
  }
end

return M
