--- What the commands of a machine have in common: each owns the machine's rows of one table (or
--- some of them), puts new ones there, and its undo puts back those that were there before.
local capture = require "sipeat.capture"
local failure = require "sipeat.failure"
local store = require "flows.store"

local M = {}

M.tables = { "machines", "machine_drivers", "inventory", "machine_network", "maintenance" }

local function show(command, what, machine_id, rows)
  capture.record("machine", {
    command = command, what = what, machine_id = machine_id, rows = rows,
  })
end

--- The first command: reads what is known of the machine, for the undo of those that follow. Rows
--- that an earlier delivery of the same event has written do not count.
function M.survey(args)
  local before = {}
  for _, name in ipairs(M.tables) do
    local rows, problem = store.find(name, { machine_id = args.machine_id })
    if not rows then
      return nil, problem
    end
    before[name] = {}
    for _, row in ipairs(rows) do
      if row.event_id ~= args.event_id then
        table.insert(before[name], row)
      end
    end
  end
  return before
end

local function filters_of(o, machine_id)
  local filters = { machine_id = machine_id }
  for column, value in pairs(o.only or {}) do
    filters[column] = value
  end
  return filters
end

-- The rows of the survey that this command replaces.
local function earlier(o, results)
  local rows = {}
  for _, row in ipairs(results.survey and results.survey[o.table] or {}) do
    local fits = true
    for column, value in pairs(o.only or {}) do
      fits = fits and row[column] == value
    end
    if fits then
      rows[#rows + 1] = row
    end
  end
  return rows
end

--- Makes a command of o = { name, table, only?, make, after? }: make(args) gives the new rows or
--- nil, message, code; after(machine_id) is called when rows were written, also by the undo.
function M.command(o)
  local function write(machine_id, rows)
    local ok, problem = store.replace(o.table, filters_of(o, machine_id), rows)
    if ok and o.after then
      o.after(machine_id)
    end
    return ok, problem
  end
  return {
    o.name,
    args = function(event)
      return { event_id = event.id, machine_id = event.data.machineId, data = o.args(event) }
    end,
    run = function(args)
      local rows, message, code = o.make(args.data, args)
      if not rows then
        return nil, failure.permanent(("%s: %s"):format(o.name, message), code)
      end
      for _, row in ipairs(rows) do
        row.machine_id, row.event_id = args.machine_id, args.event_id
      end
      local ok, problem = write(args.machine_id, rows)
      if not ok then
        return nil, o.explain and o.explain(problem, args) or problem
      end
      show(o.name, "done", args.machine_id, rows)
      return { rows = #rows }
    end,
    undo = function(args, _, ctx)
      local rows = earlier(o, ctx.results)
      local ok, problem = write(args.machine_id, rows)
      if not ok then
        return nil, problem
      end
      show(o.name, "undone", args.machine_id, rows)
      return { rows = #rows }
    end,
    effect = "idempotent",
  }
end

return M
