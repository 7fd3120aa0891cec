--- The field types of typed events: checks data, collects every complaint, converts both ways.
--
-- compile(fields) makes a tree of nodes once; check turns wire or typed data into typed data, and
-- wire turns typed data back into what is written. What a node is (`kind`, `max`, `item`, `values`,
-- `children`) stands in it, for documents.
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

--- What the items of such a type are, "string[]" or one that list made; nil when it is no list.
function M.item(field)
  if getmetatable(field) == List then
    return field.item
  end
  return type(field) == "string" and field:match "^(.*)%[%]$" or nil
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
  text = { "a text that is not blank", test(function(value)
    return type(value) == "string" and value:find "%S" ~= nil
  end) },
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

local LIMITED = { string = true, text = true, email = true } -- may have a longest length

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

local function complain(problems, path, text, code)
  problems[#problems + 1] = {
    field = path, message = text, code = code or "type",
    text = path == "" and text or ("%s: %s"):format(path, text),
  }
end

local function check_length(value, max, path, problems)
  if max and #value > max and (utf8.len(value) or #value) > max then
    complain(problems, path, ("longer than %d characters"):format(max), "too_long")
  end
end

local function scalar(name, max)
  local title, convert = SCALARS[name][1], SCALARS[name][2]
  return {
    kind = name,
    max = max,
    title = title,
    check = function(value, path, problems, currency)
      local typed, why = convert(value, currency)
      if typed == nil then
        local is_blank = name == "text" and type(value) == "string"
        why = why or ("expected %s, got %s"):format(title, opts.show(value))
        complain(problems, path, why, is_blank and "blank" or "type")
      elseif max then
        check_length(typed, max, path, problems)
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
    kind = "enum",
    values = values,
    title = title,
    wire = identity,
    check = function(value, path, problems)
      for _, allowed in ipairs(values) do
        if value == allowed then
          return value
        end
      end
      local text = ("expected %s, got %s"):format(title, opts.show(value))
      complain(problems, path, text, "not_listed")
    end,
  }
end

local function list(item)
  return {
    kind = "list",
    item = item,
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

local function refuse_others(value, children, path, problems)
  for _, key in ipairs(opts.names(value)) do
    if not children[key] then
      local near = opts.nearest(key, opts.names(children))
      local hint = near and ("is not known (did you mean %s?)"):format(near) or "is not known"
      complain(problems, path == "" and key or path .. "." .. key, hint, "unknown")
    end
  end
end

local function object_check(children, names, closed)
  return function(value, path, problems, currency)
    if not is_object(value) then
      return complain(problems, path, ("expected an object, got %s"):format(opts.show(value)))
    end
    local out = {}
    for key, item in next, value do
      out[key] = item
    end
    if closed then
      refuse_others(value, children, path, problems)
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
        how = ("%s (expected %s)"):format(how, child.node.title)
        local text = ("%s %s"):format(place, how)
        problems[#problems + 1] = { field = place, message = how, code = "missing", text = text }
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

local function object(fields, where, closed)
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
    kind = "fields",
    children = children,
    closed = closed or false,
    title = "an object",
    check = object_check(children, opts.names(children), closed),
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
  local name, limit, brackets, mark = text:match("^([%a:]+)(%(?%d*%)?)(%[?%]?)(%??)$")
  local max = limit and math.tointeger(tonumber(limit:match "^%((%d+)%)$"))
  local well_limited = limit == "" or max and LIMITED[name]
  if not name or not SCALARS[name] or not well_limited or brackets ~= "" and brackets ~= "[]" then
    local near = name and opts.nearest(name, opts.names(SCALARS))
    local hint = near and ("did you mean %q?"):format(near)
      or "known: " .. table.concat(opts.names(SCALARS), ", ")
    error(("%s: unknown type %s (%s)"):format(where, opts.show(field), hint), 0)
  end
  local node = scalar(name, max)
  return brackets == "[]" and list(node) or node, mark == "?"
end

-- One text of all problems.
local function told(problems)
  local texts = {}
  for i = 1, math.min(#problems, MAX_PROBLEMS) do
    texts[i] = problems[i].text
  end
  if #problems > MAX_PROBLEMS then
    texts[#texts + 1] = ("and %d more"):format(#problems - MAX_PROBLEMS)
  end
  return table.concat(texts, "; ")
end

--- Compiles the fields of a definition; raises a message that begins with `where`. Other fields are
--- kept, or refused when it is `closed`.
function M.compile(fields, where, closed)
  local root = object(fields, where, closed)
  return {
    --- Typed data; or nil, one text that names every wrong field, and a list of { field, message,
    --- code, text }: code is "missing", "type", "blank", "too_long", "not_listed" or
    --- "unknown".
    check = function(data, currency)
      local problems = {}
      local typed = root.check(data, "", problems, currency)
      if #problems > 0 then
        return nil, told(problems), problems
      end
      return typed
    end,
    wire = root.wire,
    node = root,
  }
end

--- The node of one type, as in "integer?", and whether it is optional; raises as compile does.
function M.node(field, where)
  return compile_type(field, where)
end

return M
