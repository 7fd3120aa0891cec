--- What has ended long ago leaves the journal: runs with their records, signals that nobody waited
--- for, and versions of the script that no run needs.
local journal = require "sipeat.journal"
local log = require("sipeat.log").new "journal"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local PAGE = 200 -- runs looked at in one batch: what others write waits for no more than these
local DAY_MS = 24 * 3600 * 1000
local PAUSE = "20ms" -- between two batches
local EPOCH_2020_MS = 1577836800000 -- ids begin there: their upper bits are ms (sipeat.journal)

--- How long what has ended is kept.
M.keep_ms = 7 * DAY_MS

--- Sets it from a text such as "7d". true, or nil and a message.
function M.set_keep(text)
  local ms = opts.duration_ms(text)
  if not ms then
    return nil, ("--journal-keep and SIPEAT_JOURNAL_KEEP take a time such as 7d, got %s"):format(
      opts.show(text))
  end
  M.keep_ms = math.floor(ms)
  return true
end

local after = 0 -- the id up to which this pass has looked

-- The end of a pass. Signals and scripts are kept as long as a run may come that needs them.
local function finish(ended_before)
  after = 0
  local signals, message, code = journal.write({ "purge_signals", ended_before, n = 2 },
    { "purge_scripts", ended_before, n = 2 })
  if not signals then
    return nil, message, code
  end
  return true
end

--- Purges one page of runs, and at the end of a pass signals and scripts. The number of runs that
--- went, and whether the pass has ended; or nil, message, code.
function M.purge_batch()
  local ended_before = sys.now_ms() - M.keep_ms
  local page, message, code = journal.write { "page_end", after, PAGE, n = 3 }
  if not page then
    return nil, message, code
  end
  local last, count = page[1] and page[1][1], 0
  if last then
    local records, audit, runs = journal.write(
      { "purge_records", ended_before, after, last, n = 4 },
      { "purge_audit", ended_before, after, last, n = 4 },
      { "purge_runs", ended_before, after, last, n = 4 })
    if not records then
      return nil, audit, runs
    end
    after, count = last, runs
    if (last >> 22) + EPOCH_2020_MS <= ended_before then
      return count, false
    end
  end
  local ok -- what follows began too late to have ended long ago
  ok, message, code = finish(ended_before)
  if not ok then
    return nil, message, code
  end
  return count, true
end

--- Purges all that there is to purge. The number of runs; or nil, message, code.
---@param on_batch fun(runs: integer)?
function M.purge_all(on_batch)
  local total = 0
  after = 0
  while true do
    local runs, ended, code = M.purge_batch()
    if not runs then
      return nil, ended, code
    end
    total = total + runs
    if ended then
      return total
    end
    if on_batch then
      on_batch(total)
    end
  end
end

local purging -- a task, while one purges

--- Begins to purge what there is to purge, unless that goes on already; in a task of its own, with
--- a pause after each batch.
function M.purge()
  if purging and not purging:done() then
    return
  end
  purging = task.spawn(function()
    local keep = sys.getenv "SIPEAT_JOURNAL_KEEP"
    local wrong = keep and select(2, M.set_keep(keep))
    if wrong then
      log:error(wrong)
    end
    local runs, ended, code
    repeat
      runs, ended, code = M.purge_batch()
    until not runs or ended or not task.sleep(PAUSE)
    if not runs and code ~= "ECANCELED" then
      log:warn("what has ended long ago is not deleted: " .. tostring(ended))
    end
  end)
end

return M
