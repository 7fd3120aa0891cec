--- The notices that wait for one webhook, and the task that brings them there.
--- Bounded: what does not fit is counted by type and outcome, and a digest tells of it. The task
--- lives only while there is something to send; what waits when it is free goes as one message of
--- up to ten embeds.
local embed = require "sipeat.discord_embed"
local json = require "sipeat.json"
local limits = require "sipeat.discord_limits"
local log = require("sipeat.log").new("discord")

local M = {}

local DIGEST_AFTER_MS = 30 * 1000 -- a digest waits no longer behind a queue that stays full
local MAX_TYPES = 50 -- counted one by one in a digest; the others together

local RANKS = { low = 1, normal = 2, high = 3 }
M.RANKS = RANKS

local Queue = {}
Queue.__index = Queue

local function nothing_omitted()
  return { total = 0, types = {}, kinds = 0 }
end

--- options: webhook (discord_webhook), capacity, batch, username, spawn(f) -> task, on_gone(queue,
--- entries, detail), counts (table of counters).
function M.new(options)
  local self = setmetatable({ first = 1, last = 0, in_flight = 0, by_rank = { 0, 0, 0 } }, Queue)
  for key, given in next, options do
    self[key] = given
  end
  self.omitted = nothing_omitted()
  return self
end

local function count(self, name, n)
  self.counts[name] = (self.counts[name] or 0) + n
end

--- How many notices wait or are on their way.
function Queue:len()
  return self.last - self.first + 1 + self.in_flight
end

local function omit(self, entry, n)
  local omitted = self.omitted
  local kind = entry.type or "unknown"
  if not omitted.types[kind] then
    if omitted.kinds >= MAX_TYPES then
      kind = "other types"
    end
    omitted.kinds = omitted.kinds + 1
    omitted.types[kind] = omitted.types[kind] or {}
  end
  local outcomes = omitted.types[kind]
  outcomes[entry.outcome] = (outcomes[entry.outcome] or 0) + (n or 1)
  omitted.total = omitted.total + (n or 1)
  omitted.since = omitted.since or self.webhook.pacing.now_ms()
  count(self, "left_out", n or 1)
end

--- The digest was not delivered: what it told of is still to be told.
local function restore(self, omitted)
  for kind, outcomes in next, omitted.types do
    for outcome, n in next, outcomes do
      count(self, "left_out", -n) -- counted before
      omit(self, { type = kind, outcome = outcome }, n)
    end
  end
end

local function append(self, entry)
  self.last = self.last + 1
  self[self.last] = entry
  self.by_rank[entry.rank] = self.by_rank[entry.rank] + 1
end

local function remove(self, index)
  local entry = self[index]
  table.move(self, index + 1, self.last + 1, index)
  self.last = self.last - 1
  self.by_rank[entry.rank] = self.by_rank[entry.rank] - 1
  return entry
end

local function take_first(self)
  local entry = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  self.by_rank[entry.rank] = self.by_rank[entry.rank] - 1
  return entry
end

--- Whether a notice of that rank would be taken, if need be in the place of a less important one.
function Queue:has_room(rank)
  if self:len() < self.capacity then
    return true
  end
  for lower = 1, rank - 1 do
    if self.by_rank[lower] > 0 then
      return true
    end
  end
  return false
end

local function make_room(self, rank)
  for lower = 1, rank - 1 do
    if self.by_rank[lower] > 0 then
      for index = self.first, self.last do
        if self[index].rank == lower then
          omit(self, remove(self, index))
          return
        end
      end
    end
  end
end

-- Its task is at work. One that died, of memory for example, is none.
local function has_sender(self)
  local sender = self.sender
  if type(sender) == "table" and sender.done and sender:done() then
    self.sender, self.in_flight = nil, 0
  end
  return self.sender ~= nil
end

local function wake(self)
  local something = self.first <= self.last or self.omitted.total > 0
  if something and not has_sender(self) and not self.retired then
    self.sender = self.spawn(function()
      self:run()
    end)
  end
end

--- Whether there is something to send, and a task that does.
function Queue:busy()
  wake(self)
  return has_sender(self)
end

--- Takes a notice, or counts it as left out. entry: type, outcome, rank, components
--- (buttons, where there are any), and embed, or build() that
--- makes it (called only when there is room). Returns at once.
---@return boolean taken
function Queue:push(entry)
  if self.retired or not self:has_room(entry.rank) then
    omit(self, entry)
    wake(self)
    return false
  end
  if self:len() >= self.capacity then
    make_room(self, entry.rank)
  end
  entry.embed = entry.embed or entry.build()
  entry.build = nil
  entry.size = limits.embed_size(entry.embed)
  append(self, entry)
  wake(self)
  return true
end

local function digest_entry(self)
  local omitted = self.omitted
  self.omitted = nothing_omitted()
  local made = embed.digest(omitted)
  return { digest = omitted, embed = made, size = limits.embed_size(made), rank = RANKS.high }
end

local function digest_is_late(self)
  local since = self.omitted.since
  return since and self.webhook.pacing.now_ms() - since >= DIGEST_AFTER_MS
end

--- The next message's entries, or nil when nothing is left.
local function take(self)
  local batch, size = {}, 0
  local function put(entry)
    batch[#batch + 1] = entry
    size = size + entry.size
  end
  if digest_is_late(self) then
    put(digest_entry(self))
  end
  local function fits(entry) -- buttons belong to a message: their notice goes alone
    return #batch < self.batch and size + entry.size <= limits.SUM
      and (#batch == 0 or not entry.components and not batch[#batch].components)
  end
  while self.first <= self.last and fits(self[self.first]) do
    put(take_first(self))
  end
  if #batch == 0 and self.omitted.total > 0 then
    put(digest_entry(self))
  end
  return #batch > 0 and batch or nil
end

local function encode(self, batch)
  local embeds = {}
  for i, entry in ipairs(batch) do
    embeds[i] = entry.embed
  end
  return json.encode {
    username = self.username,
    embeds = json.array(embeds),
    components = batch[1].components,
    allowed_mentions = { parse = json.array {} },
  }
end

local function give_back(self, batch)
  local waiting = table.move(self, self.first, self.last, #batch + 1, {})
  for i = self.first, self.last do
    self[i] = nil
  end
  self.first, self.last, self.by_rank = 1, 0, { 0, 0, 0 }
  for i, entry in ipairs(batch) do
    waiting[i] = entry
  end
  for _, entry in ipairs(waiting) do
    if entry.digest then
      restore(self, entry.digest)
    else
      append(self, entry)
    end
  end
end

local function half(batch, from, to)
  return table.move(batch, from, to, 1, {})
end

local function lose(self, batch, detail)
  log:warn(("%d notices were not delivered: %s"):format(#batch, detail.message or "?"))
  for _, entry in ipairs(batch) do
    if entry.digest then
      restore(self, entry.digest)
    else
      omit(self, entry)
    end
  end
end

--- true when the batch is dealt with, nil when the sender has to end.
local function deliver(self, batch)
  local verdict, detail = self.webhook:deliver(encode(self, batch))
  if verdict == "sent" then
    count(self, "messages", 1)
    count(self, "sent", #batch)
  elseif verdict == "rejected" and #batch > 1 then -- one of them is to blame
    local middle = #batch // 2
    if not deliver(self, half(batch, 1, middle)) then
      give_back(self, half(batch, middle + 1, #batch))
      return nil
    end
    return deliver(self, half(batch, middle + 1, #batch))
  elseif verdict == "rejected" then
    count(self, "rejected", 1)
    local line = "Discord refused the notice of %s: %s"
    log:error(line:format(batch[1].type or "a digest", detail.message))
  elseif verdict == "failed" then
    lose(self, batch, detail)
  else
    give_back(self, batch)
    if verdict == "gone" then
      self.retired = detail
    end
    return nil
  end
  return true
end

--- Everything that waits, and what was left out; the queue is empty afterwards.
local function drain(self)
  local entries = {}
  while self.first <= self.last do
    entries[#entries + 1] = take_first(self)
  end
  local omitted = self.omitted
  self.omitted = nothing_omitted()
  return entries, omitted
end

--- Takes over what another queue could not deliver.
function Queue:adopt(entries, omitted)
  for _, entry in ipairs(entries) do
    self:push(entry)
  end
  restore(self, omitted)
  wake(self)
end

--- The webhook does not exist (any more): what waits is handed to on_gone, and nothing is taken
--- again.
---@param detail {message: string}
function Queue:retire(detail)
  self.retired = detail
  if not has_sender(self) then -- else its task does it when it ends
    self.on_gone(self, drain(self))
  end
end

--- The sender's task: until nothing is left, the webhook is gone, or it is killed.
function Queue:run()
  local guard <close> = setmetatable({}, {
    __close = function()
      self.sender, self.in_flight = nil, 0
    end,
  })
  local batch = take(self)
  while batch do
    self.in_flight = #batch
    local done = deliver(self, batch)
    self.in_flight = 0
    batch = done and not self.retired and take(self)
  end
  if self.retired then
    self.on_gone(self, drain(self))
  end
  return guard ~= nil
end

return M
