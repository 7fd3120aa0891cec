-- chains_fill.lua - makes a journal large: runs the chain of chains.lua for one event, and writes
-- its rows again under other ids: BENCH_ENDED chains that have ended, BENCH_SLEEPING ones that
-- sleep and BENCH_OPEN ones that were stopped on their way. Says so when that is durable.
local chain = require "chains_five"
local core = require "sipeat.core.journal"
local journal = require "sipeat.journal"
local sipeat = require "sipeat"

local PAGE <const> = 100 -- runs of a write
local HALF_WAY <const> = 3 -- records of a chain that has not ended
local YEAR_MS <const> = 365 * 24 * 3600 * 1000

local function number(name)
  return tonumber(os.getenv(name)) or 0
end

-- The row of a run, and its records, as statements for another one.
local function copies(row, records, id, state, count)
  local due = state == journal.SLEEPING and row[16] + YEAR_MS or 0
  local statements = { {
    "run_add", id, row[2], state, due, row[5], row[6], row[7], row[8], row[9], -id,
    ("%s/%d"):format(row[11], id), row[12], core.blob(row[13]), core.blob(row[14]),
    core.blob(row[15]),
    n = 16,
  } }
  for i = 1, count do
    local r = records[i]
    statements[i + 1] = { "record_add", id, row[2], r[1], r[2], r[3], r[4], r[5], n = 8 }
  end
  return statements
end

local function write_page(row, records, first, last, state)
  local all = {}
  for id = first, last do
    local count = state == journal.DONE and #records or HALF_WAY
    for _, statement in ipairs(copies(row, records, id, state, count)) do
      all[#all + 1] = statement
    end
  end
  assert(journal.write(table.unpack(all)))
end

local function fill(run)
  local row = journal.write({ "run_get", run.id, n = 2 })[1]
  local records = journal.write { "records", run.id, n = 2 }
  local id = 1
  for _, wanted in ipairs {
    { journal.DONE, number "BENCH_ENDED" }, { journal.SLEEPING, number "BENCH_SLEEPING" },
    { journal.ACTIVE, number "BENCH_OPEN" },
  } do
    local state, left = wanted[1], wanted[2]
    while left > 0 do
      local count = math.min(PAGE, left)
      write_page(row, records, id, id + count - 1, state)
      id, left = id + count, left - count
    end
  end
end

local run -- of the one event

sipeat.flow {
  topic = os.getenv "BENCH_IN", group = os.getenv "BENCH_GROUP",
  on = {
    ["*"] = function(event, ctx)
      ctx:on_end(function()
        run = ctx.run
      end)
      return chain(event, ctx)
    end,
  },
}

-- For no event: what it takes is nobody's budget.
sipeat.task.spawn(function()
  while not run do
    sipeat.task.sleep "50ms"
  end
  fill(run)
  sipeat.log.new "bench":info "the journal is filled"
end)
