--- The queues of all webhooks, and which one a notice goes to. Compiled in: it survives reloads.
local log = require("sipeat.log").new("discord")
local pacing = require "sipeat.discord_pacing"
local queue = require "sipeat.discord_queue"
local settings = require "sipeat.discord_settings"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local webhook = require "sipeat.discord_webhook"

local M = {}

local MAX_WEBHOOKS = 64 -- a script that makes up webhooks from its events must not fill the memory

local queues = {} -- by the webhook's address
local webhooks = 0
local counts = {}
local told = {} -- log lines that are written once
local shared_pacing = pacing.new(sys.monotonic_ms)

--- Writes a log line the first time that it is asked to.
function M.tell_once(level, line)
  if not told[line] then
    told[line] = true
    log[level](log, line)
  end
end

function M.count(name, n)
  counts[name] = (counts[name] or 0) + (n or 1)
end

function M.counted(name)
  return counts[name] or 0
end

local function sleep(ms)
  return task.sleep(("%dms"):format(math.ceil(ms)))
end

local function spawn(f)
  return task.spawn(function()
    task.set_event_id("") -- the sender outlives the event that woke it
    f()
  end)
end

local function apply(target, s)
  local hook = target.webhook
  hook.transport, hook.timeout_ms, hook.attempts = s.transport, s.timeout, s.attempts
  hook.backoff_ms = s.backoff_ms
  target.capacity, target.batch, target.username = s.queue, s.batch, s.username
end

--- What waits goes on under the new settings.
function M.reconfigure()
  for _, target in next, queues do
    apply(target, settings.get())
  end
end

local function hand_over(from, entries, omitted)
  local name = from.webhook.name
  local next_one = M.working()
  local then_what = next_one and "its notices go to " .. next_one.webhook.name
    or "its notices are dropped from now on"
  local line = "%s is not used again: %s; %s"
  M.tell_once("error", line:format(name, from.retired.message, then_what))
  if next_one then
    next_one:adopt(entries, omitted)
  else
    M.count("dropped", #entries)
  end
end

--- The queue of an address, or nil, message, code when the address is not a webhook's.
local function queue_at(where)
  local found = queues[where.url]
  if found then
    return found
  elseif webhooks >= MAX_WEBHOOKS then
    return nil, ("more than %d Discord webhooks in one process"):format(MAX_WEBHOOKS), "TOO_MANY"
  end
  local hook, message, code = webhook.new {
    url = where.url,
    name = where.name,
    pacing = shared_pacing,
    counts = counts,
    sleep = sleep,
  }
  if not hook then
    return nil, message, code
  end
  found = queue.new { webhook = hook, counts = counts, spawn = spawn, on_gone = hand_over }
  apply(found, settings.get())
  queues[where.url] = found
  webhooks = webhooks + 1
  return found
end

--- The first queue that can still deliver, or nil, message, code.
---@param own string|sipeat.Secret|nil the notice's own webhook
function M.working(own)
  local message, code = "DISCORD_WEBHOOK is not set", "NOT_CONFIGURED"
  for i, where in ipairs(settings.addresses(own)) do
    local found, why, why_code = queue_at(where)
    if found and not found.retired then
      return found
    elseif found then
      why, why_code = where.name .. ": " .. found.retired.message, "WEBHOOK_GONE"
    else
      M.tell_once("error", why)
    end
    if i == 1 then
      message, code = why, why_code
    end
  end
  return nil, message, code
end

--- How many notices wait, over all webhooks.
function M.len()
  local n = 0
  for _, target in next, queues do
    n = n + target:len()
  end
  return n
end

--- A queue whose sender is at work, or nil.
function M.busy()
  for _, target in next, queues do
    if target:busy() then
      return target
    end
  end
end

return M
