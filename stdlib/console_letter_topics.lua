--- What lies in the dead-letter topics: how many letters, why, and of which types. Each letter is
--- read once; a large topic is read bit by bit, while somebody uses the console.
local cluster = require "sipeat.console_cluster"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local letter = require "sipeat.deadletter_letter"
local list = require "sipeat.deadletter_list"
local objects = require "sipeat.deadletter_object"
local opts = require "sipeat.opts"
local sampler = require "sipeat.console_sampler"
local task = require "sipeat.task"

local M = {}

M.EVERY_MS = 5000
local TOPICS = 500
local READ = 20000 -- letters in one look, over all topics
local SLICE = 100 -- letters between two looks at what else is to be done
local DISTINCT = 100 -- reasons and types that are told; more are "(others)"
local READ_TIMEOUT = "10s"

local known = {} -- topic -> { at = partition -> next offset, low, counted, reasons, types, … }

local function fresh()
  return { at = {}, low = {}, counted = 0, reasons = {}, types = {}, letters = 0 }
end

local function count(counts, name)
  name = name or "(none)"
  if not counts[name] and #opts.names(counts) >= DISTINCT then
    name = "(others)"
  end
  counts[name] = (counts[name] or 0) + 1
end

local function add(state, record)
  local one = letter.read(record)
  state.counted = state.counted + 1
  state.at[record.partition] = record.offset + 1
  count(state.reasons, one.reason)
  count(state.types, one.type)
  local at = one.failed_ms
  if at and at >= 0 then
    state.oldest_ms = math.min(state.oldest_ms or at, at)
    state.newest_ms = math.max(state.newest_ms or at, at)
  end
end

-- Letters that were counted and are gone, or a topic that was made anew: all is counted again.
local function is_stale(state, topic)
  for _, one in ipairs(topic.partitions) do
    local at = state.at[one.id]
    if one.low and at and (state.low[one.id] ~= one.low or at > one.high) then
      return true
    end
  end
  return false
end

-- Reads what is new, at most `room` letters. How many; or nil, message, code.
local function read(state, topic, room)
  local partitions, offsets, ends = {}, {}, {}
  state.letters = 0
  for _, one in ipairs(topic.partitions) do
    if one.low and one.high then
      local at = state.at[one.id] or one.low
      state.letters = state.letters + one.high - one.low
      state.at[one.id], state.low[one.id] = at, one.low
      if at < one.high then
        partitions[#partitions + 1], offsets[one.id], ends[one.id] = one.id, at, one.high
      end
    end
  end
  if #partitions == 0 or room == 0 then
    return 0
  end
  local reader <close>, message, code = kafka.reader {
    topic = topic.name, partitions = partitions, offsets = offsets, ends = ends,
  }
  if not reader then
    return nil, message, code
  end
  for n = 1, room do
    local record
    record, message, code = reader:next(READ_TIMEOUT)
    if not record and code == "END" then
      for _, id in ipairs(partitions) do
        state.at[id] = ends[id] -- what compaction took away is not there to be read
      end
      return n - 1
    elseif not record then
      return nil, message, code
    end
    add(state, record)
    if n % SLICE == 0 and not task.sleep "0ms" then
      return nil, "stopped", "ECANCELED"
    end
  end
  return room
end

local function look()
  local topics, message, code = cluster.shared "describe_topics"
  if not topics then
    return nil, message, code
  end
  local seen, room, number = {}, READ, 0
  for _, topic in ipairs(topics) do
    if list.is_topic(topic.name) and number < TOPICS then
      local state = known[topic.name] or fresh()
      if is_stale(state, topic) then
        state = fresh()
      end
      number, known[topic.name], seen[topic.name] = number + 1, state, true
      local done
      done, message, code = read(state, topic, room)
      if not done then
        return nil, message, code
      end
      room = room - done
    end
  end
  for name in pairs(known) do
    known[name] = seen[name] and known[name] or nil
  end
  return true
end

local looking = sampler.new(M.EVERY_MS, look)

--- Keeps looking for some minutes from now on.
function M.touch()
  looking:touch()
end

--- Looks now. true, or nil, message, code.
function M.refresh()
  looking:touch()
  return looking:now()
end

--- { topic, letters, counted, reasons, types, oldest, newest } of each topic, as known, by name.
function M.topics()
  local out = json.array {}
  for i, name in ipairs(opts.names(known)) do
    local state = known[name]
    out[i] = {
      topic = name, letters = state.letters, counted = state.counted, reasons = state.reasons,
      types = state.types, oldest = objects.time(state.oldest_ms),
      newest = objects.time(state.newest_ms),
    }
  end
  return out
end

return M
