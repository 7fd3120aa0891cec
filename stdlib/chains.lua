--- Runs in the journal, for people: looking at them, and saying what is to become of them.
--
-- What a verb changes is worked out by sipeat.chain_verbs from what was read; here it is written,
-- in one transaction, only if nothing has changed since, and never into a run that a process is
-- handling right now. Functions give nil, message, code: NOT_FOUND, BUSY, REFUSED, or the
-- journal's.
local bytes = require "sipeat.bytes"
local core = require "sipeat.core.journal"
local durable = require "sipeat.durable"
local journal = require "sipeat.journal"
local plain = require "sipeat.plain"
local failure = require "sipeat.failure"
local reader = require "sipeat.chain_steps"
local sys = require "sipeat.core.sys"
local verbs = require "sipeat.chain_verbs"

local M = {}

M.STATES = {
  [1] = "active", [2] = "sleeping", [3] = "waiting", [4] = "held", [5] = "parked", [10] = "done",
  [11] = "dead", [12] = "abandoned", [13] = "completed",
}
local NUMBERS = {}
for number, name in pairs(M.STATES) do
  NUMBERS[name] = number
end

local OPEN_BELOW = 10
local PAGE = 500 -- runs that one statement reads: the process that owns the journal goes on working
local MAX_ID = math.maxinteger
local LISTED = 100
local MAX_LISTED = 10000

-- A row of a run's columns as a table.
local function run_of(row)
  return {
    id = ("%d"):format(row[1]), number = row[1], epoch = row[2],
    state = M.STATES[row[3]] or tostring(row[3]), state_number = row[3],
    due_ms = row[4] > 0 and row[4] or nil, at_ms = row[5], flow = row[6], cluster = row[7],
    topic = row[8], partition = row[9], offset = row[10], event_id = row[11], type = row[12],
    key = row[13], script = bytes.hex(row[14]), record = row[15], changed_ms = row[16],
    why = row[17],
  }
end

--- The numbers of runs by state: of open ones, or with `all` of ended ones too, which reads every
--- run.
function M.counts(all)
  local rows, message, code = journal.write { all and "counts" or "counts_open", n = 1 }
  if not rows then
    return nil, message, code
  end
  local counts = {}
  for _, row in ipairs(rows) do
    counts[M.STATES[row[1]] or tostring(row[1])] = row[2]
  end
  return counts
end

local function fits(run, o)
  return (not o.flow or run.flow == o.flow) and (not o.type or run.type == o.type)
    and (not o.key or run.key == o.key) and (not o.state or run.state == o.state)
    and (not o.since_ms or run.at_ms >= o.since_ms)
    and (not o.before_ms or run.at_ms <= o.before_ms)
end

-- Runs by one of the two statements that go back in time, until `max` were found.
local function collect(statement, o, max, take)
  local before = MAX_ID
  while true do
    local rows, message, code = journal.write { statement, before, PAGE, n = 3 }
    if not rows then
      return nil, message, code
    end
    for _, row in ipairs(rows) do
      local run = run_of(row)
      before = run.number
      if o.since_ms and run.at_ms < o.since_ms then
        return true -- ids ascend with time
      elseif fits(run, o) and not take(run, max) then
        return true
      end
    end
    if #rows < PAGE then
      return true
    end
  end
end

-- --- one run ---

local function get(id)
  local rows, message, code = journal.write { "run_get", id, n = 2 }
  if not rows then
    return nil, message, code
  end
  return rows[1] and run_of(rows[1]), "there is no run " .. id, "NOT_FOUND"
end

local function runs_of_event(id)
  local rows, message, code = journal.write { "runs_of_event", id, n = 2 }
  if not rows then
    return nil, message, code
  end
  local ids = {}
  for i, row in ipairs(rows) do
    ids[i] = row[1]
  end
  return ids
end

-- The run that a text names: by its own id, or by its event's.
local function find(text)
  local number = text:find "^%d+$" and math.tointeger(tonumber(text))
  if number then
    local run, message, code = get(number)
    if run or code ~= "NOT_FOUND" then
      return run, message, code
    end
  end
  local ids, message, code = runs_of_event(text)
  if not ids then
    return nil, message, code
  elseif #ids == 0 then
    return nil, ("there is no run of that id, nor of an event of that id: %s"):format(text),
      "NOT_FOUND"
  elseif #ids > 1 then
    return nil, ("%d runs are of the event %s: %s; name one"):format(
      #ids, text, table.concat(ids, ", ")
    ), "NOT_FOUND"
  end
  return get(ids[1])
end

-- Who may write into the run at this moment: a process that handles it, or another host that may
-- take it up by itself.
local function hands_of(run, hosts)
  local mine = core.opening().epoch
  for _, host in ipairs(hosts) do
    local wakes = host[1] ~= mine and run.state ~= "parked" and run.state_number < OPEN_BELOW
    if host[1] == run.epoch and host[3] > sys.now_ms() and (run.state == "active" or wakes) then
      return host[2] == "this" and "the running process" or "host " .. host[2]
    end
  end
  return durable.is_busy(run.number) and "this process" or nil
end

-- The run with its records read, and what people said.
local function open(text)
  local run, message, code = find(text)
  if not run then
    return nil, message, code
  end
  local records, audit, hosts = journal.write({ "records", run.number, n = 2 },
    { "audit", run.number, n = 2 }, { "hosts", n = 1 })
  if not records then
    return nil, audit, hosts
  end
  run.rows, run.steps = records, reader.read(records)
  run.audit = {}
  for i, row in ipairs(audit) do
    run.audit[i] = { at_ms = row[1], who = row[2], verb = row[3], why = row[4] }
  end
  run.handled_by = hands_of(run, hosts)
  return run
end

--- Runs that fit, newest first, parked ones before the others: { runs, counts, more }. Without a
--- state those that are open; "all" for every one. `o` has state, flow, type, key, event, since_ms,
--- before_ms and max, each optional.
function M.list(o)
  local max = math.min(o.max or LISTED, MAX_LISTED)
  local out = { parked = {}, others = {} }
  local function take(run)
    local list = run.state == "parked" and out.parked or out.others
    if #out.parked + #out.others == max then
      out.more = true
      if list == out.parked and #out.others > 0 then
        table.remove(out.others) -- what waits for a person goes first
      else
        return list == out.others and o.state == nil
      end
    end
    list[#list + 1] = run
    return true
  end
  local wanted = { state = o.state ~= "all" and o.state or nil }
  for _, name in ipairs { "flow", "type", "key", "since_ms", "before_ms" } do
    wanted[name] = o[name]
  end
  local ok, message, code = true, nil, nil
  if o.event then
    local ids
    ids, message, code = runs_of_event(o.event)
    for i = 1, ids and math.min(#ids, max) or 0 do
      local run, why, reason = get(ids[i])
      if not run and reason ~= "NOT_FOUND" then
        return nil, why, reason
      elseif run and fits(run, wanted) then
        take(run)
      end
    end
    ok = ids
  else
    local number = NUMBERS[o.state]
    if o.state == nil or o.state == "all" or number and number < OPEN_BELOW then
      ok, message, code = collect("open_before", wanted, max, take)
    end
    if ok and (o.state == "all" or number and number >= OPEN_BELOW) then
      ok, message, code = collect("ended_before", wanted, max, take)
    end
  end
  if not ok then
    return nil, message, code
  end
  local ended = o.state == "all" or (NUMBERS[o.state] or 0) >= OPEN_BELOW
  local counts
  counts, message, code = M.counts(ended)
  if not counts then
    return nil, message, code
  end
  table.move(out.others, 1, #out.others, #out.parked + 1, out.parked)
  return { runs = out.parked, counts = counts, more = out.more }
end

--- One run, by its id or its event's: its fields, `steps` (of sipeat.chain_steps), `audit`, and
--- `next`, a list of { verb, step, text }: what can be said about it now.
function M.show(id)
  local run, message, code = open(id)
  if not run then
    return nil, message, code
  end
  run.next = verbs.possible(run)
  return run
end

-- --- verbs ---

local function record_add(run, seq, at, change)
  local body = plain.reduce(failure.to_plain(change.value))
  return { "record_add", run.number, 0, seq, at, change.phase, change.place, body, n = 8 }
end

-- What goes on is due now: whichever process has it looks for that.
local function number_of(plan)
  return plan.state == "open" and journal.SLEEPING or NUMBERS[plan.state]
end

-- The statements of a verb: the run is seized as it was seen, or none of them does anything.
local function statements_of(run, plan, o, at)
  local list = { { "run_seize", run.number, run.epoch, run.state_number, n = 4 } }
  for i, change in ipairs(plan.changes) do
    list[#list + 1] = record_add(run, run.steps.seq + i, at, change)
  end
  local number = number_of(plan)
  if number >= OPEN_BELOW then
    list[#list + 1] = { "waits_end", run.number, 0, n = 3 }
  end
  local due = number < OPEN_BELOW and at or 0
  list[#list + 1] = { "run_state", run.number, 0, number, due, at, plan.why, n = 7 }
  local said = o.step and ("%s %s"):format(o.verb, o.step) or o.verb
  list[#list + 1] = { "audit_add", run.number, 0, at, o.who, said, o.why, n = 7 }
  list[#list + 1] = { "run_take", run.number, 0, run.epoch, n = 4 }
  return list
end

--- Does what a person says: o is { verb, who, why, step, result (JSON), not_done, dry_run }. Gives
--- { run, state, changes, dry_run }.
function M.act(id, o)
  local run, message, code = open(id)
  if not run then
    return nil, message, code
  elseif run.handled_by then
    return nil, ("run %s is in the hands of %s: try again when it waits or has ended, or say it to "
      .. "that process"):format(run.id, run.handled_by), "BUSY"
  end
  local plan
  plan, message = verbs.plan(run, o)
  if not plan then
    return nil, message, "REFUSED"
  end
  local answer = {
    id = run.id, verb = o.verb, before = run.state, state = M.STATES[number_of(plan)],
    goes_on = plan.state == "open", why = plan.why,
    changes = plan.texts, dry_run = o.dry_run,
  }
  if o.dry_run then
    return answer
  end
  local list = statements_of(run, plan, o, sys.now_ms())
  local seized
  seized, message, code = journal.write(table.unpack(list))
  if not seized then
    return nil, message, code
  elseif seized == 0 then
    return nil, ("run %s has changed in the meantime: look at it again"):format(run.id), "BUSY"
  end
  if M.is_live and plan.state == "open" then
    durable.resume(run.number)
  end
  return answer
end

--- Versions of the script that the journal keeps: { hash, at_ms, open }, oldest first.
function M.versions()
  local rows, message, code = journal.write { "scripts_used", n = 1 }
  if not rows then
    return nil, message, code
  end
  local list = {}
  for i, row in ipairs(rows) do
    list[i] = { hash = bytes.hex(row[1]), at_ms = row[2], open = row[3] }
  end
  return list
end

--- The files of a version, packed; nil when the journal does not have it.
function M.script(hash)
  local rows, message, code = journal.write { "script_get", core.blob(bytes.unhex(hash)), n = 2 }
  if not rows then
    return nil, message, code
  end
  return rows[1] and rows[1][1]
end

M.is_open = journal.is_open

--- Set in a process whose flows go on with runs.
M.is_live = false

return M
