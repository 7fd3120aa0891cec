--- Which letters were replayed: a compacted topic, so that every host knows, and a replay that is
-- repeated does not replay them twice.
--
-- A letter's mark is written after its record was acknowledged. What was sent when a replay died in
-- between is found by its headers: a replay first notes the ends of the topics that it writes to,
-- and one that finds such a note of an earlier one reads those topics from there on.
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local letter = require "sipeat.deadletter_letter"
local sys = require "sipeat.core.sys"

local M = {}

M.topic = "sipeat-dlq-replays"

local KEPT_MS = 365 * 24 * 3600 * 1000
local SESSION = "session|"

local Ledger = {}
Ledger.__index = Ledger

-- Calls visit(record) for everything in a topic, from those offsets on. true, or nil, message,
-- code.
local function read_all(topic, offsets, visit)
  local reader <close>, message, code = kafka.reader { topic = topic, offsets = offsets }
  if not reader then
    return nil, message, code
  end
  while true do
    local record
    record, message, code = reader:next()
    if record then
      visit(record)
    elseif code == "END" then
      return true
    else
      return nil, message, code
    end
  end
end

local function create()
  local made, message, code = kafka.admin():create_topic {
    name = M.topic, partitions = 1,
    config = { ["cleanup.policy"] = "compact,delete", ["retention.ms"] = KEPT_MS },
  }
  if not made and code ~= "TOPIC_ALREADY_EXISTS" then
    return nil, ("create %s, which remembers what was replayed: %s"):format(M.topic, message), code
  end
  return true
end

local function exists()
  local topics, message, code = kafka.admin():topics()
  if not topics then
    return nil, message, code
  end
  for _, topic in ipairs(topics) do
    if topic.name == M.topic then
      return true
    end
  end
  return false
end

--- What is known of the letters of `name`, a dead-letter topic or "parked". nil, message, code.
function M.read(name)
  local self = setmetatable({ name = name, done = {}, ends = {}, partitions = {} }, Ledger)
  local there, message, code = exists()
  if not there then
    return there == false and self or nil, message, code
  end
  self.there = true
  local prefix, session = name .. ":", SESSION .. name
  local ok
  ok, message, code = read_all(M.topic, nil, function(record)
    if record.key == session then
      self.session = record.value
    elseif record.key and record.key:sub(1, #prefix) == prefix then
      self.done[record.key] = record.value ~= nil or nil
    end
  end)
  if not ok then
    return nil, message, code
  end
  return self
end

local function send(key, value)
  return kafka.producer():send { topic = M.topic, key = key, value = value }
end

-- Marks what an earlier replay sent without marking it.
local function recover(self)
  local session = json.decode(self.session)
  for topic, ends in pairs(type(session) == "table" and session.ends or {}) do
    local offsets, found = {}, {}
    for partition, offset in pairs(ends) do
      offsets[math.tointeger(tonumber(partition))] = offset
    end
    local ok, message, code = read_all(topic, offsets, function(record)
      local id = letter.origin_of(record)
      if id and id:sub(1, #self.name + 1) == self.name .. ":" and not self.done[id] then
        found[#found + 1] = {
          id = id, topic = record.topic, partition = record.partition, offset = record.offset,
        }
      end
    end)
    if ok then
      ok, message, code = self:mark(found)
    end
    if not ok then
      return nil, message, code
    end
  end
  return true
end

--- A replay begins: what an earlier one left is taken note of. true, or nil, message, code.
function Ledger:begin()
  local ok, message, code = true, nil, nil
  if not self.there then
    ok, message, code = create()
  end
  if ok and self.session then
    ok, message, code = recover(self)
  end
  return ok, message, code
end

--- A replay is about to write to that topic. Its number of partitions, or nil, message, code.
function Ledger:target(topic)
  if self.partitions[topic] then
    return self.partitions[topic]
  end
  local about, message, code = kafka.admin():describe_topic(topic)
  if not about then
    return nil, message, code
  end
  self.ends[topic] = {}
  for _, partition in ipairs(about.partitions) do
    self.ends[topic][tostring(partition.id)] = partition.high
  end
  local ok
  ok, message, code = send(SESSION .. self.name, (json.encode {
    started = sys.iso_time(), ends = self.ends,
  }))
  if not ok then
    return nil, message, code
  end
  self.partitions[topic] = #about.partitions
  return #about.partitions
end

--- Those letters, { id, topic, partition, offset } with the place where they went, were replayed.
--- true, or nil, message, code.
function Ledger:mark(replayed)
  local marks = {}
  for i, one in ipairs(replayed) do
    self.done[one.id] = true
    marks[i] = {
      topic = M.topic, key = one.id,
      value = (json.encode {
        at = sys.iso_time(), topic = one.topic, partition = one.partition, offset = one.offset,
      }),
    }
  end
  local results, message, code = kafka.producer():send_many(marks)
  for _, result in ipairs(results or {}) do
    if result.message then
      return nil, result.message, result.code
    end
  end
  return results and true, message, code
end

--- The replay has come to its end: nothing is left to be looked for. true, or nil, message, code.
function Ledger:finish()
  if not self.session and next(self.ends) == nil then
    return true
  end
  local ok, message, code = send(SESSION .. self.name, nil)
  return ok and true, message, code
end

return M
