--- Durable events: runs of the journal that this process works on, besides those that come from a
--- topic.
--
-- A run whose event is in a flow is the flow's. All others are taken up here: what a process left
-- behind, what slept or waited and is due, what stands in the queue of its key. Runs of one key (a
-- lane) go one after the other, and events of that key that come meanwhile wait for them, or, when
-- the lane is held, join the queue in the journal.
local core = require "sipeat.core.journal"
local failure = require "sipeat.failure"
local journal = require "sipeat.journal"
local kafka = require "sipeat.core.kafka"
local log = require "sipeat.log".new "journal"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local versions = require "sipeat.versions"
local kept = require "sipeat.versions_kept"

local M = {}

local AT_ONCE = 64 -- runs that are worked on side by side
local PAGE = 1000 -- rows read at a time
local LOOK_EVERY = "200ms" -- for what is due
local TAKE_EVERY_MS = 2000 -- from hosts that are gone
local PURGE_EVERY_MS = 60000
local TURN_MS = 20 -- an event whose key is taken asks again after that
local STOPPED_MS = 1000 -- before a run that could not go on is tried again
local IN_MEMORY_MS = 5000 -- a longer pause is spent in the journal

local COLUMN <const> = {
  id = 1, epoch = 2, state = 3, due = 4, flow = 6, topic = 8, partition = 9, offset = 10, key = 13,
  script = 14, record = 15,
}

-- --- flows ---

local flows = {} -- by group, as sipeat.versions has them
local loading -- of the version that loads
local resume -- sipeat.flow_run's
local go_on -- what was recovered waits for the flows

--- A script's version loads: its flows are known to recovery at once, to the rest with commit.
function M.begin()
  loading = {}
end

function M.commit()
  flows, loading = loading or flows, nil
  if go_on then
    go_on()
  end
end

function M.rollback()
  loading = nil
end

--- After sipeat.versions was told of the flow.
function M.declare(flow)
  local all = loading or flows
  all[flow.group] = all[flow.group] or flow
end

--- Who runs the handlers: f(flow, record, run, memory) -> "ended" | "later", due | "stopped".
function M.runs_with(f)
  resume = f
end

-- --- lanes ---

local lanes = {} -- group -> { count, by = { lane -> entry } }
local taken = {} -- id -> true: in an entry
local in_flow = {} -- id -> true: its flow has it
local woken = {} -- id -> true: of these, somebody wanted to go on with it meanwhile
local ready, first_ready, last_ready = {}, 1, 0 -- entries that wait for their turn
local running = 0
local working = {} -- id -> true: its handler runs
local held = {} -- entry -> true: not before its due

--- The lanes of a flow that are taken: `count` of them.
function M.lanes(group)
  lanes[group] = lanes[group] or { count = 0, by = {} }
  return lanes[group]
end

local function record_of(row)
  local record = journal.unpack_record(row[COLUMN.record])
  record.topic, record.partition = row[COLUMN.topic], row[COLUMN.partition]
  record.offset, record.key = row[COLUMN.offset], row[COLUMN.key]
  return record
end

-- The flow of a run, of the version that runs or loads.
local function flow_of(row)
  return versions.pick(loading or flows, row[COLUMN.flow], row[COLUMN.topic])
end

local function leave(entry)
  local all = M.lanes(entry.group)
  all.by[entry.lane] = nil
  all.count = all.count - 1
end

local work_off

local function get_ready(entry)
  last_ready = last_ready + 1
  ready[last_ready] = entry
end

local function pump()
  while running < AT_ONCE and first_ready <= last_ready do
    local entry = ready[first_ready]
    ready[first_ready] = nil
    first_ready, running = first_ready + 1, running + 1
    task.spawn(work_off, entry)
  end
end

local function enqueue(group, lane, id)
  local all = M.lanes(group)
  lane = lane or "#" .. id
  local entry = all.by[lane]
  taken[id] = true
  if not entry then
    entry = { group = group, lane = lane, ids = { id }, first = 1 }
    all.by[lane] = entry
    all.count = all.count + 1
    return entry, true
  end
  entry.ids[#entry.ids + 1] = id
  return entry, false
end

local function add(row)
  local id, group, is_held = row[COLUMN.id], row[COLUMN.flow], row[COLUMN.state] == journal.HELD
  if taken[id] then
    return
  end
  local flow = flow_of(row)
  local entry, is_new = enqueue(group, flow and flow.lane_of(record_of(row)), id)
  entry.is_held = entry.is_held or is_held
  if not is_new then
    return
  elseif is_held and row[COLUMN.due] > sys.now_ms() then
    entry.due, held[entry] = row[COLUMN.due], true
  else
    get_ready(entry)
  end
end

local function park(row, why)
  log:error(("run %d is parked: %s"):format(row[COLUMN.id], why))
  journal.write {
    "run_state", row[COLUMN.id], row[COLUMN.epoch], journal.PARKED, 0, sys.now_ms(), why, n = 7,
  }
end

-- Runs it under the version of the script that it began with.
local function with_version(row, memory, seq)
  local hash, group, topic = row[COLUMN.script], row[COLUMN.flow], row[COLUMN.topic]
  local flow, why, code = versions.pick(flows, group, topic), nil, nil
  if hash ~= "" then
    flow, why, code = kept.flow(hash, group, topic)
  end
  if code == "VERSIONS_FULL" or code == "QUEUE_FULL" then
    return "later", sys.now_ms() + IN_MEMORY_MS
  elseif code and not code:find "^VERSION_" then
    return "stopped" -- the task was, or the journal cannot be read
  elseif not flow then
    park(row, why or ("the script has no flow of the group %s"):format(group))
    return "ended"
  end
  local how, due = resume(flow, record_of(row), journal.adopt(row, seq), memory)
  kept.release(hash)
  return how, due
end

-- Works on one run: "ended", "later" and when, or "stopped".
local function take_up(id)
  local rows = journal.write { "run_get", id, n = 2 }
  local row = rows and rows[1]
  if not rows then
    return "stopped"
  elseif not row or row[COLUMN.epoch] ~= M.epoch() or row[COLUMN.state] >= journal.DONE
    or row[COLUMN.state] == journal.PARKED then
    return "ended"
  end
  local memory, seq = journal.memory(id)
  if not memory then
    return "stopped"
  end
  return with_version(row, memory, seq)
end

-- take_up, also when what the journal has cannot be read.
local function worked_on(id)
  local ok, how, due = failure.catch(take_up, id)
  if not ok then
    log:error(("run %d cannot be gone on with: %s"):format(id, how.message))
    return "stopped"
  end
  return how, due
end

function work_off(entry)
  local id = entry.ids[entry.first]
  while id do
    working[id] = true
    local how, due = worked_on(id)
    working[id] = nil
    if how == "later" then
      entry.is_held, entry.due, held[entry] = true, due, true
      break
    elseif how == "stopped" then -- at the end of the process, or because the journal is full
      entry.due, held[entry] = sys.now_ms() + STOPPED_MS, true
      break
    end
    if not woken[id] then
      entry.ids[entry.first], taken[id] = nil, nil
      entry.first = entry.first + 1
    end
    woken[id] = nil
    id = entry.ids[entry.first]
  end
  if not id then
    leave(entry)
  end
  running = running - 1
  pump()
end

-- --- what flows ask ---

local opening

--- The number of this opening of the journal.
function M.epoch()
  opening = opening or core.opening()
  return opening.epoch
end

local cluster

local function cluster_id()
  if cluster then
    return cluster
  end
  local id = kafka.cluster()
  if id and id:find "^mockCluster" and opening then
    id = ("%s/%d"):format(id, opening.epoch) -- it begins anew with each start
  end
  cluster = opening and id
  return id or ""
end

--- The run of an event that has none; false without a journal.
function M.run(job)
  if not journal.is_open() or not job.flow.durable then
    return false
  end
  local epoch = M.epoch()
  job.run = journal.run {
    epoch = epoch, flow = job.flow.group, cluster = cluster_id(), record = job.record,
    event = job.event, script = kept.of(job.flow),
    id = nil, seq = nil, pending = nil, added = nil, ready = nil, beginning = nil, -- room
  }
  in_flow[job.run.id] = true
  return job.run
end

--- The flow has ended with an event that has a run: `goes_on` when this process is to go on with
--- it.
function M.release(run, goes_on)
  local was_woken = woken[run.id]
  in_flow[run.id], woken[run.id] = nil, nil
  if run.added and (goes_on or was_woken) then
    task.spawn(M.resume, run.id)
  end
end

--- Puts an event into the queue of its key, where it is tried again at `due`. true, or nil and a
--- failure.
function M.hold(job, why, due)
  local run = job.run or M.run(job)
  local ok, failed = run:leave(journal.HELD, why, due)
  if not ok then
    return nil, failed
  end
  in_flow[run.id] = nil
  local entry, is_new = enqueue(job.flow.group, job.flow.lane_of(job.record), run.id)
  entry.is_held = true
  if is_new then
    entry.due, held[entry] = due, true
  end
  return true
end

--- May a failing event of the flow be held in the journal?
function M.holds(job)
  return job.flow.durable and journal.is_open() and not job.from_journal
end

--- An event is to begin while lanes of its flow are taken: nil when it may, ms to ask again, or
--- true when it went into the queue of its key.
function M.turn(job)
  local flow = job.flow
  local lane = flow.lane_of(job.record)
  local entry = lane and M.lanes(flow.group).by[lane]
  if not entry then
    return nil
  elseif entry.is_held then
    local ok, why = M.hold(job, "behind another event of its key", sys.now_ms())
    if ok or why.code == "DUPLICATE" then -- then it was in the queue before
      return true
    end
  end
  return TURN_MS
end

--- Is the run in somebody's hands right now? Then nothing else may write into it.
function M.is_busy(id)
  return in_flow[id] or working[id] or false
end

--- A run that this process is to go on with: it woke, a person said so, or its flow let go.
function M.resume(id)
  if in_flow[id] or taken[id] then
    woken[id] = true
    return
  end
  local rows = journal.write { "run_get", id, n = 2 }
  while not rows and not core.failure() and task.sleep(LOOK_EVERY) do
    rows = journal.write { "run_get", id, n = 2 } -- its disk did not keep up
  end
  local row = rows and rows[1]
  if row and row[COLUMN.state] < journal.DONE and row[COLUMN.state] ~= journal.PARKED then
    add(row)
    pump()
  end
end

--- How long a pause is spent in memory; a longer one in the journal.
M.in_memory_ms = IN_MEMORY_MS

-- --- recovery ---

local function load_ready()
  local after, count = 0, 0
  repeat
    local rows, message, code = journal.write { "runs_ready", M.epoch(), after, PAGE, n = 4 }
    if not rows then
      return nil, message, code
    end
    for _, row in ipairs(rows) do
      after = row[COLUMN.id]
      add(row)
    end
    count = count + #rows
  until #rows < PAGE
  return count
end

-- Takes over what hosts that are gone, and earlier openings, have left: how many there were. What a
-- host is just writing to is not given; it is asked for again.
local function take_over()
  local after, count = 0, 0
  repeat
    local rows, message, code =
      journal.write { "runs_orphaned", after, sys.now_ms(), PAGE, n = 4 }
    if not rows then
      return nil, message, code
    end
    local statements = {}
    for _, row in ipairs(rows) do
      after = row[COLUMN.id]
      if row[COLUMN.epoch] ~= M.epoch() then
        statements[#statements + 1] = { "run_take", after, row[COLUMN.epoch], M.epoch() }
      end
    end
    local taken_over = statements[1] and table.pack(journal.write(table.unpack(statements))) or {}
    if statements[1] and not taken_over[1] then
      return nil, taken_over[2], taken_over[3]
    end
    for _, changes in ipairs(taken_over) do
      count = count + changes
    end
  until #rows < PAGE
  return count
end

local function wake_held(now)
  for entry in pairs(held) do
    if entry.due <= now then
      held[entry] = nil
      get_ready(entry)
    end
  end
end

local function purge()
  local is_there, retention = pcall(require, "sipeat.journal_retention")
  if is_there then
    retention.purge()
  end
end

-- Looks for what is due, and for what others left, as long as the process runs.
local function watch()
  local take_at, purge_at = sys.monotonic_ms() + TAKE_EVERY_MS, sys.monotonic_ms() + PURGE_EVERY_MS
  while task.sleep(LOOK_EVERY) and not core.failure() do
    local now = sys.now_ms()
    wake_held(now)
    local rows = journal.write { "runs_due", M.epoch(), now, PAGE, n = 4 }
    for _, row in ipairs(rows or {}) do
      if not taken[row[1]] then
        M.resume(row[1])
      end
    end
    if opening.is_shared and sys.monotonic_ms() >= take_at then
      take_at = sys.monotonic_ms() + TAKE_EVERY_MS
      local count = take_over()
      if count and count > 0 then
        log:warn(("%d runs of a host that is gone are taken over"):format(count))
        load_ready()
      end
    end
    if sys.monotonic_ms() >= purge_at then
      purge_at = sys.monotonic_ms() + PURGE_EVERY_MS
      purge()
    end
    pump()
  end
end

local NAMES = { "active", "sleeping", "waiting", "held", "parked" }

local function report()
  local counts = journal.write { "counts", n = 1 } or {}
  local parts = {}
  for _, row in ipairs(counts) do
    if NAMES[row[1]] then
      parts[#parts + 1] = ("%d %s"):format(row[2], NAMES[row[1]])
    end
  end
  local open = #parts > 0 and table.concat(parts, ", ") or "nothing"
  local how = opening.was_interrupted and ", which was not closed," or ""
  log:info(("%s%s has open: %s"):format(opening.place, how, open))
end

--- Takes up what an earlier process left, before flows take events. true, or nil, message, code.
function M.recover()
  local done, message, code = take_over()
  if done then
    done, message, code = load_ready()
  end
  if not done then
    return nil, message, code
  end
  report()
  go_on = function()
    go_on = nil
    task.spawn(watch)
    pump()
  end
  if not loading then
    go_on()
  end
  return true
end

return M
