--- Reading dead letters: which topics hold them, and those of one topic that fit a filter.
local kafka = require "sipeat.kafka"
local letter = require "sipeat.deadletter_letter"
local log = require("sipeat.log").new "deadletter"
local opts = require "sipeat.opts"
local park = require "sipeat.deadletter_park"

local M = {}

local DISTINCT_MAX = 100 -- reasons and types that a summary names; more are "(others)"
local SUFFIXES = { ["-dlt"] = true, [".dlt"] = true, ["-dlq"] = true, [".dlq"] = true }

--- What chooses letters.
M.filter = opts.spec("sipeat.deadletter.filter", {
  topic = { "string" },
  parked = { "boolean", default = false },
  directory = { "string" },
  reason = { "string" },
  type = { "string" },
  group = { "string" },
  since = { "integer" },
  max = { "integer", min = 1 },
})

--- Is that the name of a dead-letter topic, by the usual suffixes?
function M.is_topic(name)
  return SUFFIXES[name:sub(-4):lower()] == true
end

local function fits(one, o)
  return (not o.reason or one.reason == o.reason)
    and (not o.type or one.type == o.type)
    and (not o.group or one.group == o.group)
    and (not o.since or (one.failed_ms or 0) >= o.since)
end

local function each_parked(o, visit)
  local names, replayed, code = park.letters(o.directory)
  if not names then
    return nil, replayed, code
  end
  for i, name in ipairs(names) do
    local record, message
    record, message, code = park.read_letter(name, o.directory)
    if not record and code == "ECANCELED" then
      return nil, message, code
    elseif not record then
      log:warn(message, { code = code })
    else
      local one = letter.read(record)
      one.was_replayed = replayed[name]
      if (not o.topic or record.topic == o.topic) and fits(one, o) then
        local go_on, why, reason = visit(one, i, #names)
        if not go_on then
          return go_on, why, reason
        end
      end
    end
  end
  return true
end

-- Letters that the topic holds now: the offset after the last one of each partition.
local function ends_of(topic)
  local about, message, code = kafka.admin():describe_topic(topic)
  if not about then
    return nil, message, code
  end
  local ends, total = {}, 0
  for _, partition in ipairs(about.partitions) do
    ends[partition.id] = partition.high or math.maxinteger
    total = total + math.max(0, (partition.high or 0) - (partition.low or 0))
  end
  return ends, total
end

-- A reader of what is wanted: the one letter at o.partition and o.offset, or all from o.offsets on.
local function reader_of(o, ends)
  if o.partition then
    return kafka.reader {
      topic = o.topic, partitions = { o.partition }, offsets = { [o.partition] = o.offset },
      ends = { [o.partition] = o.offset + 1 },
    }
  end
  return kafka.reader { topic = o.topic, offsets = o.offsets, ends = ends }
end

--- Calls visit(letter, number, total) for each letter of o.topic (or parked one) that is there now
--- and fits; number and total count the others too. Stops when visit answers false, or nil,
--- message, code. true, or nil, message, code.
function M.each(o, visit)
  if o.parked then
    return each_parked(o, visit)
  end
  local ends, total, code = ends_of(o.topic)
  if not ends then
    return nil, total, code
  end
  local reader <close>, message, why = reader_of(o, ends)
  if not reader then
    return nil, message, why
  end
  local number = 0
  while true do
    local record
    record, message, code = reader:next()
    if not record then
      if code == "END" then
        return true
      end
      return nil, message, code
    elseif record.offset < ends[record.partition] then
      number = number + 1
      local one = letter.read(record)
      if fits(one, o) then
        local go_on, text, reason = visit(one, number, total)
        if not go_on then
          return go_on, text, reason
        end
      end
    end
  end
end

local function older(a, b)
  if a.failed_ms ~= b.failed_ms then
    return (a.failed_ms or 0) < (b.failed_ms or 0)
  end
  return a.offset < b.offset
end

--- The letters that fit, the newest last; with `max` the newest of them. nil, message, code.
function M.list(o)
  local list, max = {}, o.max or math.maxinteger
  local function trim()
    table.sort(list, older)
    if #list > max then
      list = table.move(list, #list - max + 1, #list, 1, {})
    end
  end
  local ok, message, code = M.each(o, function(one)
    list[#list + 1] = one
    if #list >= 2 * max then
      trim()
    end
    return true
  end)
  if not ok then
    return nil, message, code
  end
  trim()
  return list
end

--- The letter at a place. nil, message, code.
function M.get(topic, partition, offset)
  local found
  local ok, message, code = M.each({ topic = topic, partition = partition, offset = offset },
    function(one)
      if one.offset == offset then -- a place beyond the end is read from the beginning
        found = one
      end
      return false
    end)
  if found then
    return found
  elseif ok == nil then
    return nil, message, code
  end
  return nil, ("%s has no letter at %d:%d"):format(topic, partition, offset), "NOT_FOUND"
end

local function count(counts, name)
  name = name or "(none)"
  if not counts[name] and counts.distinct == DISTINCT_MAX then
    name = "(others)"
  elseif not counts[name] then
    counts.distinct = counts.distinct + 1
  end
  counts[name] = (counts[name] or 0) + 1
end

local function summary(o)
  local out = {
    topic = o.topic, letters = 0, reasons = { distinct = 0 }, types = { distinct = 0 },
  }
  local ok, message, code = M.each(o, function(one)
    out.letters = out.letters + 1
    count(out.reasons, one.reason)
    count(out.types, one.type)
    local at = one.failed_ms
    if at then
      out.oldest_ms = math.min(out.oldest_ms or at, at)
      out.newest_ms = math.max(out.newest_ms or at, at)
    end
    return true
  end)
  out.reasons.distinct, out.types.distinct = nil, nil
  if not ok then
    return nil, message, code
  end
  return out
end

--- Each dead-letter topic with the number of its letters, their reasons and types, and the times of
--- the oldest and the newest; with `parked`, the letters in files by the topic they are for.
function M.topics(o)
  local list = {}
  local names = {}
  if o.parked then
    local ok, message, code = each_parked(o, function(one)
      names[one.topic] = true
      return true
    end)
    if not ok then
      return nil, message, code
    end
  else
    local topics, message, code = kafka.admin():topics()
    if not topics then
      return nil, message, code
    end
    for _, topic in ipairs(topics) do
      names[topic.name] = M.is_topic(topic.name) or nil
    end
  end
  for _, name in ipairs(opts.names(names)) do
    local one, message, code = summary(setmetatable({ topic = name }, { __index = o }))
    if not one then
      return nil, message, code
    end
    list[#list + 1] = one
  end
  return list
end

return M
