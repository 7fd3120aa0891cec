--- Sealed fields of typed events. A path is a field ("card"), one within others
--- ("customer.card.number"), or of every item of a list ("payments[].card", "notes[]").
local failure = require "sipeat.failure"
local fields = require "sipeat.fields"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local seal = require "sipeat.seal"

local M = {}

local EACH = {} -- the step into every item of a list

-- "a.b[].c" as { "a", "b", EACH, "c" }; nil when it is no path.
local function steps_of(text)
  local steps = {}
  for part in (text .. "."):gmatch "([^.]*)%." do
    local name, lists = part:match "^([^%[%]]+)([%[%]]*)$"
    if not name or lists:gsub("%[%]", "") ~= "" then
      return nil
    end
    steps[#steps + 1] = name
    for _ = 1, #lists // 2 do
      steps[#steps + 1] = EACH
    end
  end
  return steps
end

-- The type of what a step leads to; "any" where nobody has said; nil when there is none.
local function step_into(field, step)
  local item = fields.item(field)
  if step == EACH then
    return item or (field == "array" or field == "any") and "any" or nil
  elseif type(field) == "table" and not item and #field == 0 then
    return field[step] or field[step .. "?"]
  end
  return (field == "object" or field == "any") and "any" or nil
end

local function plain(field)
  return type(field) == "string" and field:gsub("%?$", "") or field
end

local function check(steps, declared)
  for _, step in ipairs(steps) do
    declared = step_into(plain(declared), step)
    if declared == nil then
      return false
    end
  end
  return true
end

local function begins_with(long, short)
  for i, step in ipairs(short) do
    if long[i] ~= step then
      return false
    end
  end
  return true
end

--- The paths of a definition's option `sealed`; raises what is wrong with them.
function M.compile(texts, declared)
  local paths = {}
  for i, text in ipairs(texts) do
    local steps = steps_of(text)
    if not steps then
      error(("sealed: %s is no path, such as customer.card or payments[].card"):format(
        opts.show(text)), 0)
    elseif not check(steps, declared) then
      error(("sealed: it has no field %s"):format(opts.show(text)), 0)
    end
    for _, other in ipairs(paths) do
      if begins_with(steps, other.steps) or begins_with(other.steps, steps) then
        error(("sealed: %s and %s are within one another"):format(other.text, text), 0)
      end
    end
    paths[i] = { text = text, steps = steps }
  end
  return paths
end

-- A copy of the value in which f has changed what is at the path, as far as that is there.
local function change(value, steps, at, f)
  local step = steps[at]
  if value == nil or value == json.null then
    return value
  elseif step == nil then
    return f(value)
  elseif type(value) ~= "table" then
    return value -- sealed as a whole, or of a wrong type, which the check finds
  elseif step == EACH then
    if #value == 0 then
      return value -- or an object, which the check finds
    end
    local out = json.array()
    for i = 1, #value do
      out[i] = change(value[i], steps, at + 1, f)
    end
    return out
  end
  local out = {}
  for key, item in next, value do
    out[key] = item
  end
  out[step] = change(value[step], steps, at + 1, f)
  return out
end

--- A copy with the fields at these paths sealed; what is sealed already stays. Raises a permanent
--- failure.
function M.close(wire, paths, type_name)
  for _, path in ipairs(paths) do
    wire = change(wire, path.steps, 1, function(value)
      if seal.is(value) then
        return value
      end
      -- with its place, so that nobody moves it into another field
      local text = json.encode { at = type_name .. "." .. path.text, value = value }
      local sealed, message, code = seal.close(text)
      if not sealed then
        local why = ("%s: field %s: %s"):format(type_name, path.text, message)
        error(failure.permanent(why, code), 0)
      end
      return sealed
    end)
  end
  return wire
end

-- The value of a sealed field; nil, message, code.
local function open_field(sealed, place)
  local text, message, code = seal.open(sealed)
  if not text then
    return nil, message, code
  end
  local found = json.decode(text)
  if type(found) ~= "table" or found.at ~= place then
    return nil, "seal: it was sealed for another field", "BAD_DATA"
  end
  return found.value
end

--- A copy of data with its sealed fields opened, and a list of the paths where some stay closed, or
--- nil; nil, nil, message or failure, code.
function M.open(data, definition)
  local kept, trouble
  for _, path in ipairs(definition.sealed_paths) do
    local stays = false
    data = change(data, path.steps, 1, function(sealed)
      if trouble or not seal.is(sealed) then
        return sealed
      end
      local value, message, code = open_field(sealed, definition.type .. "." .. path.text)
      if not code then
        return value
      elseif code == "NO_KEY" and definition.without_key == "leave" then
        stays = true
      else
        trouble = { ("%s: field %s: %s"):format(definition.type, path.text, message), code }
      end
      return sealed
    end)
    if trouble then
      local wait = trouble[2] == "NO_KEY" and definition.without_key == "wait"
      return nil, nil, wait and failure.transient(trouble[1], trouble[2]) or trouble[1], trouble[2]
    elseif stays then
      kept = kept or {}
      kept[#kept + 1] = path
    end
  end
  return data, kept
end

-- The type with any value at the path.
local function loosen(field, steps, at)
  local step = steps[at]
  local item = fields.item(plain(field))
  if step == nil then
    return "any"
  elseif step == EACH then
    return item and fields.list(loosen(item, steps, at + 1)) or field
  elseif type(field) ~= "table" then
    return field
  end
  local out = {}
  for key, inner in pairs(field) do
    if key:gsub("%?$", "") ~= step then
      out[key] = inner
    else
      local optional = type(inner) == "string" and inner:find "%?$" and step .. "?"
      out[optional or key] = loosen(inner, steps, at + 1)
    end
  end
  return out
end

--- Fields as declared, but with any value where these paths lead to: they stay closed.
function M.loosen(declared, paths)
  for _, path in ipairs(paths) do
    declared = loosen(declared, path.steps, 1)
  end
  return declared
end

return M
