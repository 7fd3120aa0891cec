--- Messages of a topic: looking through them, following what comes, one by one, and writing one.
local access = require "sipeat.access"
local api = require "sipeat.console_api"
local browse = require "sipeat.console_browse"
local bytes = require "sipeat.bytes"
local cluster = require "sipeat.console_cluster"
local filter = require "sipeat.console_filter"
local kafka = require "sipeat.kafka"
local opts = require "sipeat.opts"
local records = require "sipeat.console_record"
local streams = require "sipeat.console_stream"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local TAIL_PER_SECOND = 200
local TURN = "1s"
local READ_TIMEOUT = "10s"

local function mask_of(req)
  return records.is_masked_for(req) and function(record)
    return records.masked(req, record)
  end or nil
end

local function render_of(req)
  local masked = records.is_masked_for(req)
  return function(record)
    return records.object(record, records.LISTED_BYTES, masked)
  end
end

-- --- following ---

local Tail = {}
Tail.__index = Tail

function Tail:progress()
  self.told_ms = sys.monotonic_ms()
  return self.stream:send("progress", {
    scanned = self.scanned, found = self.found, skipped = self.skipped,
    elapsed_ms = math.floor(self.told_ms - self.began_ms),
  })
end

-- One record, if it fits and there is room in this second.
function Tail:take(record)
  self.scanned = self.scanned + 1
  local one = filter.fits(self.o, record) and record
  one = one and self.mask and self.mask(one) or one
  if not one or self.mask and not filter.fits(self.o, one) then
    return true
  elseif self.sent >= TAIL_PER_SECOND then
    self.skipped = self.skipped + 1
    return true
  end
  self.sent, self.found = self.sent + 1, self.found + 1
  return self.stream:send("message", self.render(one))
end

function Tail:follow(reader)
  local ok, message, code = self:progress()
  local told
  while ok do
    local record
    record, message, code = reader:next(TURN)
    if record then
      ok, message, code = self:take(record)
    elseif code ~= "ETIMEDOUT" and code ~= "END" then
      return nil, message, code
    end
    if ok and sys.monotonic_ms() - self.told_ms >= 1000 then
      self.sent = 0
      local now = ("%d %d"):format(self.scanned, self.skipped)
      if now ~= told then
        ok, message, code = self:progress()
        told = now
      else
        self.told_ms = sys.monotonic_ms()
      end
    end
    if ok then
      ok, message, code = self.stream:ping()
    end
    if ok then
      ok, message, code = self.stream:breathe()
    end
  end
  return ok, message, code
end

local function tail(stream, req, topic, o)
  local about, message, code = cluster.call("describe_topic", topic)
  if not about then
    return stream:fail(message, code)
  end
  local offsets = {}
  for _, one in ipairs(about.partitions) do
    offsets[one.id] = one.high
  end
  local reader <close>, why, reason = kafka.reader {
    topic = topic, from = "end", offsets = offsets, partitions = o.partitions,
  }
  if not reader then
    return stream:fail(why, reason)
  end
  local self = setmetatable({
    stream = stream, o = o, render = render_of(req), mask = mask_of(req), scanned = 0, found = 0,
    skipped = 0, sent = 0, began_ms = sys.monotonic_ms(), told_ms = sys.monotonic_ms(),
  }, Tail)
  local ok
  ok, message, code = self:follow(reader)
  if not ok and code ~= "ECANCELED" and code ~= "ECONNRESET" then
    return stream:fail(message, code)
  end
end

local function search(req)
  local o, message, code = filter.parse(req.target:match "%?([^#]*)" or "")
  if not o then
    return nil, message, code
  end
  local topic = req.params.name
  return streams.answer(o.tail and "tail" or "search", function(stream)
    task.set_event_id("")
    if o.tail then
      o.from_ms, o.until_ms = nil, nil
      return tail(stream, req, topic, o)
    end
    return browse.run(stream, topic, o, render_of(req), mask_of(req))
  end)
end

-- --- one ---

--- The record at a place; or nil, message, code.
function M.get(topic, partition, offset)
  local about, message, code = cluster.call("describe_topic", topic)
  if not about then
    return nil, message, code
  end
  local missing = ("%s has no message at %d:%d"):format(topic, partition, offset)
  for _, one in ipairs(about.partitions) do
    if one.id == partition and one.low and offset >= one.low and offset < one.high then
      local reader <close>, why, reason = kafka.reader {
        topic = topic, partitions = { partition }, offsets = { [partition] = offset },
        ends = { [partition] = offset + 1 },
      }
      if not reader then
        return nil, why, reason
      end
      local record
      record, message, code = reader:next(READ_TIMEOUT)
      if not record and code == "END" then
        return nil, missing, "NOT_FOUND"
      end
      return record, message, code
    end
  end
  return nil, missing, "NOT_FOUND"
end

--- Partition and offset of a path; or nil, message, code.
function M.place(req)
  local partition, message, code = api.integer(req.params.partition, "partition", nil, 1 << 31)
  local offset
  if partition then
    offset, message, code = api.integer(req.params.offset, "offset")
  end
  if not partition or not offset then
    return nil, message, code
  end
  return partition, offset
end

local function show(req)
  local partition, offset, code = M.place(req)
  if not partition then
    return nil, offset, code
  end
  local record, message
  record, message, code = M.get(req.params.name, partition, offset)
  if not record then
    return nil, message, code
  end
  local mask = mask_of(req)
  record = mask and mask(record) or record
  return records.object(record, records.SHOWN_BYTES, mask ~= nil)
end

-- --- writing ---

local PRODUCE = opts.spec("sipeat.console.produce", {
  key = { "string" },
  key_base64 = { "string" },
  value = { "string" },
  value_base64 = { "string" },
  headers = { "table" },
  partition = { "integer", default = -1, min = -1, max = (1 << 31) - 1 },
  timestamp = { "integer", default = 0, min = 0 },
})

local HEADER = opts.spec("sipeat.console.header", {
  name = { "string", required = true },
  value = { "string" },
  value_base64 = { "string" },
})

--- Headers of a body, { name, value }, as a list of { name, value }; or nil, message, code.
function M.headers(list)
  local out = {}
  for i, one in ipairs(list or {}) do
    local given = {}
    for name, value in pairs(type(one) == "table" and one or {}) do
      given[name] = value ~= require("sipeat.json").null and value or nil
    end
    local o, message = HEADER(given, false)
    if not o then
      return nil, ("headers[%d]: %s"):format(i, (message:gsub("^sipeat%.console%.%w+: ", ""))),
        "BAD_REQUEST"
    end
    out[i] = { o.name, bytes.get(o, "value") }
  end
  return out
end

local function produce(req)
  local o, message, code = api.body(req, PRODUCE)
  local headers
  if o then
    headers, message, code = M.headers(o.headers)
  end
  local topic = req.params.name
  local about
  if headers then -- else a broker that makes topics makes one of each misspelling
    about, message, code = cluster.call("describe_topic", topic)
  end
  local ok
  if about then
    ok, message, code = access.audit(req, "message.produce", {
      topic = topic, key = o.key, partition = o.partition >= 0 and o.partition or nil,
    })
  end
  if not ok then
    return nil, message, code
  end
  local report
  report, message, code = kafka.producer():send {
    topic = topic, key = bytes.get(o, "key"), value = bytes.get(o, "value"), headers = headers,
    partition = o.partition, timestamp = o.timestamp,
  }
  if not report then
    return nil, message, code
  end
  return api.with_status(201, {
    topic = report.topic, partition = report.partition, offset = report.offset,
  })
end

function M.routes()
  api.route("GET topics/:name/messages", "viewer", search)
  api.route("GET topics/:name/messages/:partition/:offset", "viewer", show)
  api.route("POST topics/:name/messages", "operator", produce)
end

return M
