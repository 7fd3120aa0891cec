--- `sipeat dlq list|show|replay`.
local ledgers = require "sipeat.deadletter_ledger"
local list = require "sipeat.deadletter_list"
local objects = require "sipeat.deadletter_object"
local moment = require "sipeat.moment"
local opts = require "sipeat.opts"
local output = require "sipeat.command_output"
local replay = require "sipeat.deadletter_replay"
local show = require "sipeat.command_dlq_show"
local sys = require "sipeat.core.sys"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, USAGE, BROKER = 0, 1, 2, 4
local LISTED = 100 -- letters, without --max
local TOLD = 20 -- letters that a replay names one by one
local TEXT_COLUMNS = 60
local PLAIN_EVERY_MS, STATUS_EVERY_MS = 5000, 100
local BAR_COLUMNS = 30

local actions = {}

local function complain(options, message)
  terminal.note(("sipeat dlq %s: %s"):format(options.action, message))
end

local function time(ms)
  return ms and ms >= 0 and sys.iso_time(ms) or ""
end

local function short(text, columns)
  text = output.printable(text or "")
  return utf8.len(text) > columns and text:sub(1, utf8.offset(text, columns) - 1) .. "…" or text
end

-- The filter of the options, or nil after the complaint.
local function filter_of(options)
  local since = options.since and moment.past_ms(options.since)
  if options.since and not since then
    complain(options, ("--since is %s; got %s"):format(
      moment.KINDS, output.printable(options.since)))
    return nil
  end
  return {
    topic = options.topic, parked = options.parked, directory = options.dir,
    reason = options.reason, type = options.type, group = options.group,
    since = since, max = options.max,
  }
end

-- "3 NO_STOCK, 1 BAD_DATA": the most frequent ones first.
local function counted(counts, most)
  local names = opts.names(counts)
  table.sort(names, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    end
    return a < b
  end)
  local parts = {}
  for i = 1, math.min(most, #names) do
    parts[i] = ("%d %s"):format(counts[names[i]], short(names[i], 30))
  end
  if #names > most then
    parts[most + 1] = "…"
  end
  return table.concat(parts, ", ")
end

-- Without a topic: which topics there are.
local function list_topics(options, o)
  local topics, message, code = list.topics(o)
  if not topics then
    return nil, message, code
  end
  local rows = {}
  for i, topic in ipairs(topics) do
    if options.json then
      output.json {
        topic = topic.topic, letters = topic.letters, reasons = topic.reasons,
        types = topic.types, oldest = topic.oldest_ms and time(topic.oldest_ms),
        newest = topic.newest_ms and time(topic.newest_ms),
      }
    end
    rows[i] = {
      output.printable(topic.topic), topic.letters, time(topic.oldest_ms), time(topic.newest_ms),
      counted(topic.reasons, 3), counted(topic.types, 3),
    }
  end
  if #rows == 0 then
    complain(options, o.parked and "no letters are parked" or "there are no dead-letter topics")
  elseif not options.json then
    output.table({ "TOPIC", "LETTERS", "OLDEST", "NEWEST", "REASONS", "TYPES" }, rows)
  end
  return OK
end

local function place_of(one)
  return one.record.parked and "parked:" .. one.record.parked:sub(1, 12)
    or ("%d:%d"):format(one.partition, one.offset)
end

local function row(one, done)
  local replayed = one.replayed > 0 and ("%d times before"):format(one.replayed) or ""
  return {
    place_of(one), time(one.failed_ms), short(one.reason, 30), short(one.type, 30),
    short(one.record.key, 30), one.attempts or "",
    (one.was_replayed or done[one.id]) and "yes" or replayed,
    short(one.message, TEXT_COLUMNS),
  }
end

local HEADING = { "PLACE", "FAILED", "REASON", "TYPE", "KEY", "ATTEMPTS", "REPLAYED", "MESSAGE" }

function actions.list(options)
  local o = filter_of(options)
  if not o then
    return USAGE
  elseif not o.topic then
    return list_topics(options, o)
  end
  o.max = o.max or LISTED
  local letters, message, code = list.list(o)
  if not letters then
    return nil, message, code
  end
  local ledger = { done = {} }
  if not o.parked then
    ledger, message, code = ledgers.read(o.topic)
  end
  if not ledger then
    return nil, message, code
  end
  local rows = {}
  for i, one in ipairs(letters) do
    if options.json then
      local object = objects.object(one)
      object.was_replayed = one.was_replayed or ledger.done[one.id] == true
      output.json(object)
    end
    rows[i] = row(one, ledger.done)
  end
  if #rows == 0 then
    complain(options, "no letter fits")
  elseif not options.json then
    output.table(HEADING, rows)
  end
  return OK
end

-- The letter that the operands name. nil, message, code.
local function letter_of(options)
  local parked = options.topic:match "^parked:(%x+)$"
  if parked then
    for _, one in ipairs(list.list { parked = true, directory = options.dir } or {}) do
      if one.record.parked:sub(1, #parked) == parked then
        return one
      end
    end
    return nil, "no such letter is parked: " .. parked, "NOT_FOUND"
  end
  local partition, offset = (options.place or ""):match "^(%d+):(%d+)$"
  if not partition then
    return nil, "a letter's place is PARTITION:OFFSET, as \"sipeat dlq list\" shows it", "USAGE"
  end
  return list.get(options.topic, math.tointeger(tonumber(partition)),
    math.tointeger(tonumber(offset)))
end

function actions.show(options)
  local one, message, code = letter_of(options)
  if not one then
    return nil, message, code
  end
  return show.print(one, options.json) and OK or FAILED
end

local function bar(counts)
  local share = counts.total > 0 and math.min(1, counts.seen / counts.total) or 0
  local full = math.floor(share * BAR_COLUMNS)
  return ("[%s%s] %d of %d letters, %d replayed"):format(
    ("#"):rep(full), ("-"):rep(BAR_COLUMNS - full), counts.seen, counts.total, counts.replayed
  )
end

-- A function of the counts that shows them: a bar on a terminal, a line now and then elsewhere.
local function progress_of(options)
  local interactive = terminal.is_terminal "stderr"
  local shown_at = sys.monotonic_ms()
  return function(counts)
    local now = sys.monotonic_ms()
    if now - shown_at < (interactive and STATUS_EVERY_MS or PLAIN_EVERY_MS) then
      return
    end
    shown_at = now
    if interactive then
      terminal.status(bar(counts))
    else
      complain(options, ("%d of %d letters, %d replayed"):format(
        counts.seen, counts.total, counts.replayed
      ))
    end
  end
end

local function conclude(options, counts, told)
  if told > TOLD then
    complain(options, ("and %d more"):format(told - TOLD))
  end
  terminal.note(("%d %s, %d replayed before, %d refused, %d failed"):format(
    counts.replayed, options.dry_run and "would be replayed" or "replayed", counts.skipped,
    counts.refused, counts.failed
  ))
end

local function check_replay(options)
  if not options.topic and not options.parked then
    complain(options, "a dead-letter topic is needed, or --parked")
    return nil
  elseif options.rate and not require("sipeat.rate_limit").per_ms(options.rate) then
    complain(options, ("--rate is a number and a time, such as 100/s; got %s"):format(
      output.printable(options.rate)
    ))
    return nil
  end
  return filter_of(options)
end

function actions.replay(options)
  local o = check_replay(options)
  if not o then
    return USAGE
  end
  local told, rows = 0, {}
  o.rate, o.limit, o.again, o.dry_run = options.rate, options.limit, options.again, options.dry_run
  o.on_progress = progress_of(options)
  o.on_letter = function(one, outcome, why)
    if options.dry_run and outcome == "replayed" then
      rows[#rows + 1] = #rows < LISTED and row(one, {}) or nil
    elseif outcome == "refused" or outcome == "failed" then
      told = told + 1
      if told <= TOLD then
        terminal.status ""
        complain(options, ("%s: %s: %s"):format(one.id, outcome, why))
      end
    end
  end
  local counts, message, code, done = replay(o)
  terminal.status ""
  if #rows > 0 then
    output.table(HEADING, rows)
  end
  conclude(options, counts or done, told)
  if not counts then
    return nil, code == "ECANCELED" and "stopped; repeat it to go on" or message, code
  end
  return counts.refused + counts.failed == 0 and OK or FAILED
end

--- Returns the exit code.
function M.run(options)
  local result, message, code = actions[options.action](options)
  if result then
    return result
  end
  complain(options, message)
  if code == "USAGE" then
    return USAGE
  end
  return (code == "ECANCELED" or code == "NOT_FOUND" or code == "BAD_DATA") and FAILED or BROKER
end

return M
