--- Where the flows keep what they know: Supabase when NEXT_PUBLIC_SUPABASE_URL is set, else a
--- SQLite file at SIPEAT_DB (default ./sipeat.db). Both offer the same:
--
--   find(table, filters) -> rows          filters are { column = value }
--   put(table, row)                       adds a row, or changes the one with its key
--   replace(table, filters, rows)         these rows instead of those that fit
--   forget(table, before)                 rows whose created_at is before that time; how many
--   change(table, filters, changes)       how many were changed: a compare-and-set, when the
--                                         filters name a state
--   reserve(event_id, machine_id, slot)   a reservation: takes one from the stock, once an event
--   release(event_id)                     puts it back; whether it was held
--
-- All answer nil and a failure when they fail.
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local settings = require "flows.settings"
local task = require "sipeat.task"

local M = {}

local opened -- of this version of the script
local opening = task.semaphore(1)

local function open()
  if opened then
    return opened
  end
  local store, problem
  if env.get "NEXT_PUBLIC_SUPABASE_URL" then
    store, problem = require("flows.store.supabase").open()
  else
    store, problem = require("flows.store.sqlite").open(settings.database())
  end
  opened = store
  return store, problem
end

--- The store, opened at the first call; or nil and a failure.
function M.get()
  local store, problem, code = opening:with(open)
  if not store then
    return nil, failure.of(problem, code)
  end
  return store
end

--- Uses that store from now on: for tests.
function M.use(store)
  opened = store
end

-- M.find(…) and the rest: the same methods on the store that is open.
for _, method in ipairs { "find", "put", "replace", "forget", "change", "reserve", "release" } do
  M[method] = function(...)
    local store, problem = M.get()
    if not store then
      return nil, problem
    end
    return store[method](store, ...)
  end
end

--- The first row that fits, or false.
function M.first(name, filters)
  local rows, problem = M.find(name, filters)
  if not rows then
    return nil, problem
  end
  return rows[1] or false
end

return M
