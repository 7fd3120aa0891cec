--- The store behind Supabase's REST interface; its tables and functions are in supabase.sql. The
--- interface is described in flows.store.
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local supabase = require "sipeat.supabase"
local sys = require "sipeat.core.sys"
local tables = require "flows.store.tables"

local M = {}

local Store = {}
Store.__index = Store

function Store:find(name, filters)
  local order = table.concat(tables[name].key, ",")
  local rows, message, code = self.client:select(name, filters, { order = order })
  if not rows then
    return supabase.fail(message, code)
  end
  return rows
end

function Store:put(name, row)
  row.updated_at = sys.iso_time()
  local options = { on_conflict = table.concat(tables[name].key, ",") }
  local ok, message, code = self.client:upsert(name, row, options)
  if not ok then
    return supabase.fail(message, code)
  end
  return true
end

-- Two requests, not one transaction: first the rows that shall be there, then away with the others.
-- Repeating it after a failure in between gives the same end.
function Store:replace(name, filters, rows)
  local key = tables[name].key
  local last = key[#key]
  local kept = {}
  for i, row in ipairs(rows) do
    for _, column in ipairs(tables[name].optional) do
      if row[column] == nil then
        row[column] = json.null -- what the new row does not have must not stay from the old one
      end
    end
    local ok, problem = self:put(name, row)
    if not ok then
      return nil, problem
    end
    kept[i] = row[last]
  end
  local others = {}
  for column, value in pairs(filters) do
    others[column] = value
  end
  if #kept > 0 and filters[last] == nil then
    others[last] = { "not.in", kept }
  elseif #kept > 0 then
    return true -- one row by its whole key: there are no others
  end
  local ok, message, code = self.client:delete(name, others)
  if not ok then
    return supabase.fail(message, code)
  end
  return true
end

function Store:change(name, filters, changes)
  changes.updated_at = sys.iso_time()
  local rows, message, code = self.client:update(name, filters, changes, { returning = true })
  if not rows then
    return supabase.fail(message, code)
  end
  return #rows
end

function Store:forget(name, before)
  local filters = { created_at = { "lt", before } }
  local rows, message, code = self.client:delete(name, filters, { returning = true })
  if not rows then
    return supabase.fail(message, code)
  end
  return #rows
end

function Store:reserve(event_id, machine_id, slot)
  local answer, message, code = self.client:rpc("reserve_drink", {
    p_event_id = event_id, p_machine_id = machine_id, p_slot = slot,
  })
  if not answer then
    return supabase.fail(message, code)
  elseif answer.outcome == "sold_out" then
    local text = ("machine %s, slot %s: sold out"):format(machine_id, slot)
    return nil, failure.permanent(text, "SOLD_OUT")
  elseif type(answer.reservation) ~= "table" then
    local text = "supabase: reserve_drink answered %s (is supabase.sql up to date?)"
    return nil, failure.permanent(text:format(opts.show(answer.outcome)), "BAD_ANSWER")
  end
  return answer.reservation
end

function Store:release(event_id)
  local answer, message, code = self.client:rpc("release_drink", { p_event_id = event_id })
  if not answer then
    return supabase.fail(message, code)
  end
  return answer.outcome == "released"
end

--- The store of the project that the environment or the options of supabase.client name. nil and a
--- failure without one.
function M.open(options)
  local client, message, code = supabase.client(options)
  if not client then
    return nil, failure.permanent(message, code)
  end
  return setmetatable({ client = client, name = "Supabase" }, Store)
end

return M
