--- Finding an id wherever it is: chains, dead letters, names of things, and the newest messages of
--- each topic; with deep=1 all of them.
local api = require "sipeat.console_api"
local chains = require "sipeat.console_chains"
local cluster = require "sipeat.console_cluster"
local host = require "sipeat.console_host"
local lag = require "sipeat.console_lag"
local letter = require "sipeat.deadletter_letter"
local list = require "sipeat.deadletter_list"
local objects = require "sipeat.deadletter_object"
local read = require "sipeat.console_read"
local records = require "sipeat.console_record"
local streams = require "sipeat.console_stream"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local topics = require "sipeat.console_topics"

local M = {}

local HITS = 200
local SHALLOW = 20000 -- of the newest messages of a topic
local LONGEST = 500 -- bytes of what is looked for

local Search = {}
Search.__index = Search

function Search:state(extra)
  local out = {
    scanned = self.scanned, total = self.total, found = self.found, topic = self.topic,
  }
  for name, value in pairs(extra or {}) do
    out[name] = value
  end
  return out
end

-- true to go on; false when there are enough; nil, message, code when the client is gone.
function Search:hit(object)
  self.found = self.found + 1
  local ok, message, code = self.stream:send("hit", object)
  if not ok then
    return nil, message, code
  end
  return self.found < HITS
end

function Search:contains(record)
  local q = self.q
  if record.key and record.key:find(q, 1, true)
    or record.value and record.value:find(q, 1, true) then
    return true
  end
  for _, header in ipairs(record.headers) do
    if header[2] and header[2]:find(q, 1, true) then
      return true
    end
  end
  return false
end

-- A hit in a record, as this user may see it; nil when there is none.
function Search:object_of(record)
  if not self:contains(record) then
    return nil
  end
  local masked = records.is_masked_for(self.req)
  local shown = masked and records.masked(self.req, record) or record
  if masked and not self:contains(shown) then
    return nil -- what a viewer does not see is not found either
  elseif list.is_topic(record.topic) then
    local object = objects.object(letter.read(record))
    if masked then
      object.key, object.message = shown.key, nil
    end
    return { kind = "letter", letter = object }
  end
  return { kind = "message", message = records.object(shown, records.LISTED_BYTES, masked) }
end

-- Where in the topic it is looked: the newest ones, unless all are to be looked at.
function Search:span(topic)
  local offsets, ends, total = {}, {}, 0
  local share = math.max(1, SHALLOW // math.max(1, #topic.partitions))
  for _, one in ipairs(topic.partitions) do
    if one.low and one.high then
      local from = self.deep and one.low or math.max(one.low, one.high - share)
      offsets[one.id], ends[one.id] = from, one.high
      total = total + one.high - from
      self.left_out = self.left_out or from > one.low
    end
  end
  return offsets, ends, total
end

-- Looks through one topic: as hit.
function Search:look(topic)
  local offsets, ends, total = self:span(topic)
  if total == 0 then
    return true
  end
  self.topic = topic.name
  return read.each(self, {
    topic = topic.name, offsets = offsets, ends = ends, sieve = { { "text", self.q } },
  }, function(record)
    local object = self:object_of(record)
    if object then
      return self:hit(object)
    end
    return true
  end)
end

-- Names that contain it.
function Search:names()
  local function offer(kind, name)
    if name:find(self.q, 1, true) and self.found < HITS then
      return self:hit { kind = kind, name = name }
    end
    return true
  end
  for _, topic in ipairs(self.topics) do
    if offer("topic", topic.name) == nil then
      return nil
    end
  end
  for name in pairs(lag.groups() or {}) do
    if offer("group", name) == nil then
      return nil
    end
  end
  for _, id in ipairs(host.is_alone() and {} or require("sipeat.vending").machines()) do
    if offer("machine", id) == nil then
      return nil
    end
  end
  return true
end

-- The topics in the order in which they are looked through: dead letters first.
local function ordered(all)
  local out = {}
  for _, first in ipairs { true, false } do
    for _, topic in ipairs(all) do
      if list.is_topic(topic.name) == first and topic.name:sub(1, 2) ~= "__" then
        out[#out + 1] = topic
      end
    end
  end
  return out
end

local function run(self)
  for _, found in ipairs(chains.find(self.req, self.q)) do
    if not self:hit { kind = "chain", run = found } then
      return
    end
  end
  local all, message, code = cluster.shared "describe_topics"
  if not all then
    return self.stream:fail(message, code)
  end
  self.topics = ordered(all)
  for _, topic in ipairs(self.topics) do
    self.total = self.total
      + (self.deep and topics.messages(topic) or math.min(SHALLOW, topics.messages(topic)))
  end
  local go_on = self:names()
  for _, topic in ipairs(go_on and self.topics or {}) do
    go_on, message, code = self:look(topic)
    if go_on == nil and (code == "ECANCELED" or code == "ECONNRESET") then
      return
    elseif go_on == nil then -- the others are looked through all the same
      self.left_out = true
      if not self.stream:fail(("%s: %s"):format(topic.name, message), code) then
        return
      end
    elseif go_on == false then
      self.left_out = true
      break
    end
  end
  self.stream:send("done", self:state { complete = not self.left_out })
end

local function search(req)
  local q = req.query.q or ""
  if q == "" or #q > LONGEST then
    return nil, ("q is what is looked for, of 1 to %d bytes"):format(LONGEST), "BAD_REQUEST"
  end
  return streams.answer("search", function(stream)
    task.set_event_id("")
    run(setmetatable({
      stream = stream, req = req, q = q, deep = req.query.deep == "1", scanned = 0, total = 0,
      found = 0, told_ms = sys.monotonic_ms(), left_out = false,
    }, Search))
  end)
end

function M.routes()
  api.route("GET search", "viewer", search)
end

return M
