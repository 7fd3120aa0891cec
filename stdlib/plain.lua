--- Plain data: what survives being written down and read again. Steps hand on nothing else, so that
--- a chain behaves the same whether its state is kept in memory or in a journal.
local json = require "sipeat.json"

local M = {}

local MAX_DEPTH = 100

--- The text of plain data, or nil and what in it is not plain.
function M.pack(value)
  if value == nil then
    return "null"
  end
  local text, why = json.encode(value)
  if not text then
    return nil, (why:gsub("^json encode: ", ""))
  end
  return text
end

--- A fresh copy of what was packed, which is filled when it is touched.
function M.unpack(text)
  local value = json.lazy(text)
  if value == json.null then
    return nil
  end
  return value
end

local prune

local function prune_table(t, path, depth, dropped)
  local out, is_list = {}, json.is_array(t)
  for key, item in next, t do
    local name = is_list and math.type(key) == "integer" and key or tostring(key)
    local place = path == "" and tostring(key) or ("%s.%s"):format(path, key)
    local kept = prune(item, place, depth + 1, dropped)
    if kept == nil and is_list then
      kept = json.null -- its place in the list stays
    end
    out[name] = kept
  end
  return is_list and json.array(out) or out
end

function prune(value, path, depth, dropped)
  local kind = type(value)
  local finite = kind ~= "number" or value == value and math.abs(value) ~= math.huge
  if kind == "table" and depth < MAX_DEPTH and getmetatable(value) ~= "sipeat.secret" then
    return prune_table(value, path, depth, dropped)
  elseif kind == "boolean" or value == json.null or kind == "number" and finite then
    return value
  elseif kind == "string" and utf8.len(value) then
    return value
  end
  dropped[#dropped + 1] = path == "" and kind or ("%s (%s)"):format(path, kind)
  return nil
end

--- Are both the same, as far as plain data goes?
function M.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not M.same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

--- The text of the plain part of a value, and a list of what was left out, nil when nothing was.
function M.reduce(value)
  local text = M.pack(value)
  if text then
    return text
  end
  local dropped = {}
  local pruned = prune(value, "", 0, dropped)
  table.sort(dropped)
  return M.pack(pruned) or "null", dropped
end

return M
