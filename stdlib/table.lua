--- A topic as a table: the latest value of each key, kept here, and kept up to date.
--
-- In memory as long as it fits into max_bytes, then in a temporary file; with `path` in a file that
-- stays, in which the next start goes on. A record without a value deletes its key. Each worker has
-- a table of its own in memory; a file is written by the first one.
local background = require "sipeat.background"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local log = require "sipeat.log"
local opts = require "sipeat.opts"
local stores = require "sipeat.table_store"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"

local M = {}

local TABLE = opts.spec("sipeat.table", {
  topic = { "string", required = true },
  path = { "string" },
  value = { "string", default = "json", enum = { "json", "text" } },
  max_bytes = { "size", default = "64mb" },
  resume_within = { "duration", default = "12h" },
})

local TAKE = 2000
local PAUSES = { backoff = { "300ms", "30s" } }

local Table = {}
Table.__index = Table

local function decoded(self, key, raw)
  if self.value == "text" or raw == nil then
    return raw
  end
  local value, message, code = json.decode(raw)
  if message then
    return nil, ("table %s: the value of %s: %s"):format(self.topic, opts.show(key), message), code
  end
  return value
end

--- The value of a key; nil when there is none. nil, message, code when it cannot be read.
function Table:get(key)
  if type(key) ~= "string" then
    error(("table get: a key is text, got %s"):format(opts.show(key)), 2)
  end
  local raw, message, code = self.store:get(key)
  if message then
    return nil, message, code
  end
  return decoded(self, key, raw)
end

--- `for key, value in t:each() do`: every key once. What changes meanwhile may be seen or not.
--- Raises a failure for a value that cannot be read.
function Table:each()
  local following = self.store:each()
  return function()
    local key, raw = following()
    if key == nil then
      return nil
    end
    local value, message, code = decoded(self, key, raw)
    if message then
      error(failure.permanent(message, code), 0)
    end
    return key, value
  end
end

--- Waits until everything is in it that was in the topic when it began. true; or nil, message,
--- "ETIMEDOUT".
function Table:ready(timeout)
  local _, message, code = self.gate:recv(timeout or "30s")
  if code == "CLOSED" then
    return true
  end
  return nil, ("table %s: %s"):format(self.topic, self.message or message), code
end

--- { ready, keys, bytes, place = "memory" | "file", message, code }
function Table:status()
  local keys, message, code = self.store:count()
  if not keys then
    return nil, message, code
  end
  return {
    ready = self.is_ready or false, keys = keys, bytes = self.store.bytes, place = self.store.place,
    message = self.message, code = self.code,
  }
end

-- --- reading ---

-- The last value of each key of a list (false: deleted), and how far its partitions came. nil when
-- a record comes from before what was read: the topic was made anew.
local function folded(self, list)
  local changes, positions = {}, {}
  for _, record in ipairs(list) do
    local at = positions[record.partition] or self.store.positions[record.partition]
    if at and record.offset < at then
      return nil
    end
    positions[record.partition] = record.offset + 1
    if record.key then
      changes[record.key] = record.value or false
    end
  end
  return changes, positions
end

local function take_in(self, list)
  local changes, positions = folded(self, list)
  if not changes then
    self.log:warn "the topic was made anew: it is read from its beginning"
    local ok, message, code = self.store:clear()
    return ok and "again" or nil, message, code
  end
  local ok, message, code = self.store:apply(changes, positions)
  if ok and self.store.place == "memory" and self.store.bytes > self.max_bytes then
    self.log:info(("more than %d bytes: it goes on in a temporary file"):format(self.max_bytes))
    local file
    file, message, code = stores.spill(self.store, self.topic)
    self.store, ok = file or self.store, file ~= nil
  end
  return ok, message, code
end

-- Does the topic end before what was read of it?
local function is_another(self)
  local found, message, code = kafka.admin():describe_topic(self.topic)
  if not found then
    return nil, message, code
  end
  for _, one in ipairs(found.partitions) do
    if (self.store.positions[one.id] or 0) > one.high then
      return true
    end
  end
  return false
end

local function caught_up(self)
  if not self.is_ready then
    self.is_ready = true
    self.gate:close()
  end
end

local function follow(self, job)
  local another, message, code = is_another(self)
  if another then
    another, message, code = self.store:clear()
  end
  if another == nil then
    return nil, message, code
  end
  local reader <close>, why, reason = kafka.reader {
    topic = self.topic, offsets = self.store.positions,
  }
  local ok, ends = reader ~= nil, 0
  message, code = why, reason
  while ok and ok ~= "again" and not job.stopped do
    local list
    list, message, code = reader:take(TAKE, "1s")
    ends = list and 0 or ends
    if list then
      ok, message, code = take_in(self, list)
      self.message, self.code = nil, nil
    elseif code == "END" then
      caught_up(self)
      ends = ends + 1
      ok = ends < 2 or task.sleep "50ms" -- in a test a reader does not wait
    elseif code ~= "ETIMEDOUT" then
      ok = nil
    end
  end
  return ok, message, code
end

local function try(self, job)
  if not self.opened then
    local ok, message, code = self.store:open(self.resume_within)
    if not ok then
      return nil, message, code
    end
    self.opened = true
  end
  return follow(self, job)
end

local function work(self, job)
  local pause, failures = opts.backoff(PAUSES), 0
  while not job.stopped do
    local ok, why = failure.catch(try, self, job)
    if not ok and not job.stopped then
      failures = self.message and failures + 1 or 1
      if self.message ~= why.message then
        self.log:warn(why.message, { code = why.code })
      end
      self.message, self.code = why.message, why.code
      job:rest(pause(math.min(failures, 10)))
    end
  end
  self.store:close()
end

--- Declares a table and reads its topic in the background.
function M.table(options)
  local self = setmetatable(TABLE(options), Table)
  self.log, self.gate = log.new("table " .. self.topic), task.channel(0)
  self.store = self.path and stores.file(self.path, self.topic) or stores.memory()
  if self.path and sys.worker > 1 then
    return self -- the first worker writes the file
  end
  background.run("table " .. self.topic, function(job)
    work(self, job)
  end)
  return self
end

return setmetatable(M, {
  __call = function(_, options)
    return M.table(options)
  end,
})
