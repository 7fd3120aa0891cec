--- Looking through a topic without loading it: a page of what is newest or oldest, or a search that
-- goes on until there are enough finds.
--
-- A position is one offset for each partition. Without conditions a page is one window of a few
-- records at the position. A search backwards reads windows that grow, each with a reader of its
-- own, since Kafka reads forwards only; one forwards is a single reader. What is kept of a window
-- is bounded by number and by bytes.
local cluster = require "sipeat.console_cluster"
local filter = require "sipeat.console_filter"
local json = require "sipeat.json"
local read = require "sipeat.console_read"
local sys = require "sipeat.core.sys"

local M = {}

local PAGE = 2000 -- records of a page's window, over all partitions
local FIRST_WINDOW, LARGEST_WINDOW, GROWTH = 2000, 100000, 4 -- of a search backwards, likewise
local KEPT_BYTES = 32 << 20 -- of finds that wait for being sent

-- --- where ---

-- The partitions that are wanted, as { id, low, high }; or nil, message, code.
local function partitions_of(topic, o)
  local about, message, code = cluster.call("describe_topic", topic)
  if not about then
    return nil, message, code
  end
  local wanted, list = {}, {}
  for _, number in ipairs(o.partitions or {}) do
    wanted[number] = true
  end
  for _, one in ipairs(about.partitions) do
    if (not o.partitions or wanted[one.id]) and one.low and one.high then
      list[#list + 1] = { id = one.id, low = one.low, high = one.high }
    end
    wanted[one.id] = nil
  end
  local missing = next(wanted)
  if missing then
    return nil, ("%s has no partition %d"):format(topic, missing), "BAD_REQUEST"
  end
  return list
end

-- Moves the ends of the partitions to where a time is, if the cluster can tell.
local function narrow(topic, list, field, ms)
  local about, message, code = cluster.call("offsets_at", topic, ms)
  if code == "_UNSUPPORTED_FEATURE" then
    return true -- every record is looked at then
  elseif not about then
    return nil, message, code
  end
  local at = {}
  for _, one in ipairs(about.partitions) do
    at[one.id] = one.low
  end
  for _, one in ipairs(list) do
    one[field] = math.max(one.low, math.min(one.high, at[one.id] or one.high))
  end
  return true
end

local function read_cursor(text, list)
  local cursor = json.decode(sys.from_base64(text) or "")
  local at = type(cursor) == "table" and cursor.at
  if type(at) ~= "table" then
    return nil, "cursor is what a search gave at its end", "BAD_REQUEST"
  end
  for _, one in ipairs(list) do
    local span = at[tostring(one.id)]
    if type(span) == "table" and math.type(span[1]) == "integer"
      and math.type(span[2]) == "integer" then
      one.low, one.high = math.max(one.low, span[1]), math.min(one.high, span[2])
    else
      one.high = one.low -- it was through with that one
    end
  end
  return true
end

-- The spans to look through: { id, low, high }, or nil, message, code.
local function spans_of(topic, o)
  local list, message, code = partitions_of(topic, o)
  local ok = list
  if ok and o.cursor then
    ok, message, code = read_cursor(o.cursor, list)
  elseif ok then
    if o.until_ms then
      ok, message, code = narrow(topic, list, "high", o.until_ms)
    end
    if ok and o.from_ms then
      ok, message, code = narrow(topic, list, "low", o.from_ms)
    end
    for _, one in ipairs(ok and o.offset and list or {}) do
      one.low = math.max(one.low, math.min(one.high, o.offset))
    end
  end
  if not ok then
    return nil, message, code
  end
  return list
end

-- --- a search under way ---

local Search = {}
Search.__index = Search

-- { scanned, total, found, elapsed_ms, rate, … }
function Search:state(extra)
  local elapsed = math.max(1, sys.monotonic_ms() - self.began_ms)
  local out = {
    scanned = self.scanned, total = self.total, found = self.found,
    elapsed_ms = math.floor(elapsed), rate = math.floor(self.scanned * 1000 / elapsed),
  }
  for name, value in pairs(extra or {}) do
    out[name] = value
  end
  return out
end

-- Records of the spans that the sieve lets through, as of sipeat.console_read.
function Search:read(spans, visit)
  local partitions, offsets, ends = {}, {}, {}
  for i, span in ipairs(spans) do
    partitions[i], offsets[span.id], ends[span.id] = span.id, span.from, span.to
  end
  return read.each(self, {
    topic = self.topic, partitions = partitions, offsets = offsets, ends = ends,
    sieve = self.o.sieve,
  }, visit)
end

function Search:send(record)
  self.found = self.found + 1
  return self.stream:send("message", self.render(record))
end

-- The record as it may be seen, if it fits; or nil. What a viewer does not see finds nothing.
function Search:seen(record)
  if not filter.fits(self.o, record) then
    return nil
  elseif not self.mask then
    return record
  end
  local masked = self.mask(record)
  return filter.fits(self.o, masked) and masked or nil
end

-- { at = { [partition] = { low, high } } } of what is left; nil when nothing is.
function Search:cursor()
  local at, left = {}, false
  for _, span in ipairs(self.spans) do
    if span.high > span.low then
      at[tostring(span.id)], left = { span.low, span.high }, true
    end
  end
  return left and sys.base64(json.encode { at = at }) or nil
end

function Search:done()
  local cursor = self:cursor()
  local enough = self.found >= self.o.limit and cursor ~= nil
  return self.stream:send("done", self:state {
    reason = enough and "limit" or "end", cursor = cursor or json.null,
  })
end

-- --- windows ---

-- What is found in a window: for each partition a list in the order of offsets.
local Window = {}
Window.__index = Window

local function new_window(most, from_end)
  return setmetatable({ lists = {}, bytes = 0, most = most, from_end = from_end }, Window)
end

-- Keeps one; when there are too many, those furthest from where the window is read to its end go.
function Window:add(record)
  local list = self.lists[record.partition] or { first = 1, last = 0 }
  self.lists[record.partition] = list
  local full = list.last - list.first + 1 >= self.most or self.bytes > KEPT_BYTES
  if full and not self.from_end then
    list.cut = list.cut or record.offset -- from there on it is read again
    return
  elseif full and list.last >= list.first then
    self.bytes = self.bytes - #(list[list.first].value or "")
    list[list.first], list.first = nil, list.first + 1
    list.was_cut = true
  end
  list.last = list.last + 1
  list[list.last] = record
  self.bytes = self.bytes + #(record.value or "")
end

-- The next find: the newest of the lists' last ones, or the oldest of their first ones.
function Window:take()
  local best
  for _, list in pairs(self.lists) do
    if list.last >= list.first then
      local one = list[self.from_end and list.last or list.first]
      local better = not best
      if best and one.timestamp ~= best.timestamp then
        better = (one.timestamp > best.timestamp) == self.from_end
      elseif best then
        better = one.partition < best.partition
      end
      best = better and one or best
    end
  end
  if best then
    local list = self.lists[best.partition]
    local at = self.from_end and list.last or list.first
    list[at] = nil
    list.first = self.from_end and list.first or list.first + 1
    list.last = self.from_end and list.last - 1 or list.last
  end
  return best
end

-- Where a span stands after the window [from, to) was shown: what was not sent comes again.
local function advance(span, window, from_end, from, to)
  local list = window.lists[span.id]
  local left = list and list.last >= list.first
  if from_end then
    if left then
      span.high = list[list.last].offset + 1
    elseif list and list.was_cut then
      span.high = list.lowest
    else
      span.high = from
    end
  elseif left then
    span.low = list[list.first].offset
  else
    span.low = list and list.cut or to
  end
end

-- Reads `size` records of each span at its end or its beginning, and sends what fits.
function Search:window(size)
  local from_end = self.from_end
  local window, spans = new_window(self.o.limit, from_end), {}
  for _, span in ipairs(self.spans) do
    if span.high > span.low then
      local part = { id = span.id, from = span.low, to = span.high }
      if from_end then
        part.from = math.max(span.low, span.high - size)
      else
        part.to = math.min(span.high, span.low + size)
      end
      spans[#spans + 1] = part
    end
  end
  local ok, message, code = self:read(spans, function(record)
    local one = self:seen(record)
    if one then
      window:add(one)
    end
    return true
  end)
  while ok and self.found < self.o.limit do
    local one = window:take()
    if not one then
      break
    end
    window.lists[one.partition].lowest = one.offset
    ok, message, code = self:send(one)
  end
  local by_id = {}
  for _, part in ipairs(spans) do
    by_id[part.id] = part
  end
  for _, span in ipairs(self.spans) do
    local part = by_id[span.id]
    if part then
      advance(span, window, from_end, part.from, part.to)
    end
  end
  return ok, message, code
end

-- How many records of each partition, when there may be `total` of them.
function Search:share(total)
  local open = 0
  for _, span in ipairs(self.spans) do
    open = open + (span.high > span.low and 1 or 0)
  end
  return math.max(1, total // math.max(1, open)), open > 0
end

-- A page: windows until it is full; compaction may leave little in one.
function Search:page()
  local size, open = self:share(PAGE)
  local ok, message, code = true, nil, nil
  size = math.min(size, self.o.limit)
  while ok and open and self.found < self.o.limit do
    ok, message, code = self:window(size)
    size, open = self:share(math.min(LARGEST_WINDOW, size * GROWTH * #self.spans))
  end
  return ok, message, code
end

function Search:backwards()
  local total, ok, message, code = FIRST_WINDOW, true, nil, nil
  while ok and self.found < self.o.limit do
    local size, open = self:share(total)
    if not open then
      break
    end
    ok, message, code = self:window(size)
    total = math.min(total * GROWTH, LARGEST_WINDOW)
  end
  return ok, message, code
end

-- What fits is sent as it is found.
function Search:forwards()
  local spans, by_id = {}, {}
  for _, span in ipairs(self.spans) do
    by_id[span.id] = span
    if span.high > span.low then
      spans[#spans + 1] = { id = span.id, from = span.low, to = span.high }
    end
  end
  local ok, message, code = self:read(spans, function(record)
    local one = self:seen(record)
    local span = by_id[record.partition]
    span.low = record.offset + 1
    if not one then
      return true
    end
    local sent, why, reason = self:send(one)
    if not sent then
      return nil, why, reason
    end
    return self.found < self.o.limit
  end)
  if ok then
    for _, span in ipairs(self.spans) do
      span.low = span.high -- what compaction took away is not there to be read
    end
  end
  return ok ~= nil or nil, message, code
end

--- Looks through a topic as `o` of sipeat.console_filter says and writes to the stream: messages,
--- progress, and how it ended. `render(record)` makes the object that is sent; mask(record), where
--- there is one, gives what the user may see of it.
function M.run(stream, topic, o, render, mask)
  local self = setmetatable({
    stream = stream, topic = topic, o = o, render = render, mask = mask, scanned = 0, found = 0,
    began_ms = sys.monotonic_ms(), told_ms = sys.monotonic_ms(), total = 0,
    from_end = o.from == "newest" and not o.offset,
  }, Search)
  local message, code
  self.spans, message, code = spans_of(topic, o)
  if not self.spans then
    return stream:fail(message, code)
  end
  for _, span in ipairs(self.spans) do
    self.total = self.total + span.high - span.low
  end
  local ok
  if #o.conditions == 0 and not o.from_ms and not o.until_ms then
    ok, message, code = self:page()
  elseif self.from_end then
    ok, message, code = self:backwards()
  else
    ok, message, code = self:forwards()
  end
  if ok then
    return self:done()
  elseif code ~= "ECANCELED" and code ~= "ECONNRESET" then
    return stream:fail(message, code)
  end
end

return M
