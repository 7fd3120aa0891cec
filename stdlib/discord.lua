--- Tells Discord how events ended. Notices are queued at once and sent by a task of their own: a slow, failing or
--- absent Discord never delays or fails an event.
local embed = require "sipeat.discord_embed"
local env = require "sipeat.env"
local json = require "sipeat.json"
local limits = require "sipeat.discord_limits"
local log = require("sipeat.log").new("discord")
local opts = require "sipeat.opts"
local pacing = require "sipeat.discord_pacing"
local queue = require "sipeat.discord_queue"
local samples = require "sipeat.discord_samples"
local sys = require "sipeat.core.sys"
local task = require "sipeat.task"
local webhook = require "sipeat.discord_webhook"

local M = {}

local OUTCOMES = { "done", "dead", "info" }
local PRIORITIES = { "low", "normal", "high" }
local DEFAULT_QUEUE = 1000
local LARGEST_QUEUE = 1000000

local function one_of(allowed)
  return function(list)
    for _, given in ipairs(list) do
      if not (" " .. table.concat(allowed, " ") .. " "):find(" " .. given .. " ", 1, true) then
        return ("must be from %s; got %s"):format(table.concat(allowed, ", "), opts.show(given))
      end
    end
  end
end

local function check_username(name)
  local ok, errors = limits.check { content = "x", username = name }
  return not ok and errors[1].message or nil
end

local CONFIGURE = opts.spec("sipeat.discord.configure", {
  webhook = { "secret" },
  fallback = { "secret" },
  queue = { "integer", min = 1, max = LARGEST_QUEUE },
  batch = { "integer", default = limits.EMBEDS, min = 1, max = limits.EMBEDS },
  username = { "string", check = check_username },
  timeout = { "duration", default = "10s" },
  attempts = { "integer", default = 5, min = 1, max = 100 },
  backoff = { "string[]", default = { "1s", "60s" } },
  only = { "string[]" },
  except = { "string[]", default = {} },
  outcomes = { "string[]", default = OUTCOMES, check = one_of(OUTCOMES) },
  min_priority = { "string", default = "low", enum = PRIORITIES },
  events = { "table" },
  transport = { "function" },
})

local NOTICE = opts.spec("sipeat.discord.notify", {
  type = { "string" },
  ok = { "boolean" },
  error = { "any" },
  data = { "any" },
  fields = { "table" },
  title = { "string" },
  description = { "string" },
  footer = { "string" },
  color = { "integer", min = 0, max = limits.COLOR },
  time = { "string" },
  event_id = { "string" },
  attempts = { "integer" },
  topic = { "string" },
  partition = { "integer" },
  offset = { "integer" },
  priority = { "string", enum = PRIORITIES },
  webhook = { "secret" },
})

local NOTIFIED = opts.spec("sipeat.discord.notified", {
  priority = { "string", enum = PRIORITIES },
  outcomes = { "string[]", default = { "done", "dead" }, check = one_of { "done", "dead" } },
  webhook = { "secret" },
})

local SEND = opts.spec("sipeat.discord.send", {
  webhook = { "secret" },
  patience = { "duration", default = "30s" },
})

-- This module is compiled in: its state is the process's, and survives reloads of the script.
local config -- checked options; nil until the first use
local queues = {} -- by the webhook's address
local counts = {}
local told = {} -- log lines that are written once
local shared_pacing = pacing.new(sys.monotonic_ms)

local function once(level, line)
  if not told[line] then
    told[line] = true
    log[level](log, line)
  end
end

local function sleep(ms)
  return task.sleep(("%dms"):format(math.ceil(ms)))
end

local function configuration()
  config = config or CONFIGURE {}
  return config
end

local function queue_size()
  local from_env = math.tointeger(tonumber(sys.getenv("DISCORD_QUEUE") or ""))
  if from_env and from_env >= 1 and from_env <= LARGEST_QUEUE then
    return from_env
  end
  return DEFAULT_QUEUE
end

--- The address behind a setting, or nil when it is not set.
local function address(given, variable, option)
  local url, name = given, option
  if url == nil then
    url, name = sys.getenv(variable), variable
  elseif type(url) ~= "string" then
    url = env.reveal(url)
  end
  if url and url:find("%S") then
    return { url = url, name = name }
  end
end

--- Where notices go: the webhook and its fallback, as far as they are set.
local function addresses(own)
  local c = configuration()
  local list = {}
  list[1] = address(own or c.webhook, "DISCORD_WEBHOOK", own and "option webhook" or "discord.configure: webhook")
  list[#list + 1] = address(c.fallback, "DISCORD_WEBHOOK_FALLBACK", "discord.configure: fallback")
  return list
end

local function transport(request)
  return require("sipeat.http").request(request)
end

local function spawn(f)
  return task.spawn(function()
    task.set_event_id("") -- the sender outlives the event that woke it
    f()
  end)
end

local hand_over -- on_gone of every queue; needs the others

--- The queue of an address, or nil, message, code when the address is not a webhook's.
local function queue_at(where)
  local found = queues[where.url]
  if found then
    return found
  end
  local c = configuration()
  local first, longest = opts.duration_ms(c.backoff[1] or "1s"), opts.duration_ms(c.backoff[2] or "60s")
  local made, message, code = webhook.new {
    url = where.url, name = where.name, pacing = shared_pacing, counts = counts, sleep = sleep,
    transport = c.transport or transport,
    timeout = c.timeout .. "ms", attempts = c.attempts, backoff_ms = { first, longest },
  }
  if not made then
    return nil, message, code
  end
  found = queue.new {
    webhook = made, capacity = c.queue or queue_size(), batch = c.batch, username = c.username, counts = counts,
    spawn = spawn, on_gone = hand_over,
  }
  queues[where.url] = found
  return found
end

--- The first queue that can still deliver, or nil, message, code.
local function working_queue(own)
  local message, code = "DISCORD_WEBHOOK is not set", "NOT_CONFIGURED"
  for _, where in ipairs(addresses(own)) do
    local found, why, why_code = queue_at(where)
    if found and not found.retired then
      return found
    elseif found then
      message, code = where.name .. ": " .. found.retired.message, "WEBHOOK_GONE"
    else
      message, code = why, why_code
      once("error", why)
    end
  end
  return nil, message, code
end

function hand_over(from, entries, omitted)
  local name = from.webhook.name
  local next_one = working_queue()
  local then_what = next_one and "its notices go to " .. next_one.webhook.name or "notices are dropped from now on"
  once("error", ("%s is not used again: %s; %s"):format(name, from.retired.message, then_what))
  if next_one then
    next_one:adopt(entries, omitted)
  else
    counts.dropped = (counts.dropped or 0) + #entries
  end
end

-- --- notices ---

local function matches(kind, patterns)
  for _, pattern in ipairs(patterns) do
    local lua = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
    if kind:find("^" .. lua .. "$") then
      return true
    end
  end
  return false
end

local function wanted(notice, outcome, rank)
  local c = configuration()
  local kind = notice.type or ""
  return rank >= queue.RANKS[c.min_priority]
    and one_of(c.outcomes) { outcome } == nil
    and not (c.only and not matches(kind, c.only))
    and not matches(kind, c.except)
end

local function add(name)
  counts[name] = (counts[name] or 0) + 1
end

--- Queues a notice that is known to be well-formed. Returns at once.
local function enqueue(notice, own)
  local outcome = notice.ok == nil and "info" or notice.ok and "done" or "dead"
  local rank = queue.RANKS[notice.priority or outcome == "dead" and "high" or "normal"]
  if not wanted(notice, outcome, rank) then
    add "filtered"
    return false
  end
  local target, message, code = working_queue(own)
  if not target then
    if code == "NOT_CONFIGURED" then
      once("info", message .. ": Discord gets no notices")
    end
    add "dropped"
    return false
  end
  return target:push {
    type = notice.type,
    outcome = outcome,
    rank = rank,
    build = function()
      return embed.build(notice, configuration().events)
    end,
  }
end

--- What a notice says about an event. One that could not be parsed shows where it stands in its topic, and its bytes.
local function notice_of(event, ok, err)
  local data = event.data
  local notice = {
    type = tostring(event.type or event.topic or "unknown"),
    ok = ok,
    error = err ~= nil and tostring(err) or not ok and "failed without a message" or nil,
    data = data,
    event_id = event.id and tostring(event.id),
  }
  if data == nil then
    notice.topic, notice.partition, notice.offset = event.topic, event.partition, event.offset
    notice.fields = { { name = "Key", value = event.key }, { name = "Value", value = event.value, inline = false } }
  end
  return notice
end

local function notify_end(outcome, event, o)
  local ok = outcome.status == "done"
  if one_of(o.outcomes) { ok and "done" or "dead" } ~= nil then
    return
  end
  local notice = notice_of(outcome.event or event, ok, not ok and outcome.failure or nil)
  notice.attempts, notice.priority = outcome.attempts, o.priority
  enqueue(notice, o.webhook)
end

function M.notified(handler, options)
  local o = NOTIFIED(options)
  return function(event, ctx)
    ctx:on_end(function(outcome)
      notify_end(outcome, event, o)
    end)
    return handler(event, ctx)
  end
end

function M.on_dead(event, failure, ctx)
  local notice = notice_of(event, false, failure)
  notice.attempts = type(ctx) == "table" and ctx.attempt or nil
  enqueue(notice)
end

function M.send_kafka_event_notification(event, ok, err)
  if type(event) ~= "table" then
    error("discord.send_kafka_event_notification: an event is needed, got " .. type(event), 2)
  end
  return enqueue(notice_of(event, ok and true or false, err))
end

function M.notify(notice)
  local checked = NOTICE(notice)
  return enqueue(checked, checked.webhook)
end

-- --- sending and waiting ---

local function deliver(target, message, give_up_ms)
  local copy = { allowed_mentions = { parse = json.array {} } }
  for key, given in next, message do
    copy[key] = key ~= "allowed_mentions" and given or copy[key]
  end
  copy.username = copy.username or configuration().username
  local ok, errors = limits.check(copy)
  if not ok then
    local first = errors[1]
    return nil, ("discord send: %s: %s"):format(first.path, first.message), "INVALID_MESSAGE"
  end
  local body, message_bad, code = json.encode(copy)
  if not body then
    return nil, "discord send: " .. message_bad, code
  end
  local verdict, detail = target.webhook:deliver(body, give_up_ms)
  if verdict == "gone" then
    target:retire(detail)
  end
  if verdict ~= "sent" then
    return nil, "discord send: " .. detail.message, detail.code or "FAILED", detail.status
  end
  return { status = detail.status, id = detail.id }
end

function M.send(message, options)
  if type(message) ~= "table" then
    error("discord.send: a message is a table such as {content = …}, got " .. type(message), 2)
  end
  local o = SEND(options)
  local target, why, code = working_queue(o.webhook)
  if not target then
    return nil, "discord send: " .. why, code
  end
  return deliver(target, message, o.patience)
end

function M.test(options)
  local o = SEND(options)
  local target, why, code = working_queue(o.webhook)
  if not target then
    return nil, why, code
  end
  local results = {}
  for i, sample in ipairs(samples.messages()) do
    local started = sys.monotonic_ms()
    local result = { name = sample.name }
    if target.retired then
      result.message, result.code = "not tried: " .. target.retired.message, "WEBHOOK_GONE"
    else
      local sent, message, send_code, status = deliver(target, sample.message, o.patience)
      result.ok, result.message, result.code = sent ~= nil, message, send_code
      result.status, result.id = sent and sent.status or status, sent and sent.id
    end
    result.ok = result.ok or false
    result.ms = math.floor(sys.monotonic_ms() - started)
    results[i] = result
  end
  return results
end

function M.configure(options)
  local checked = CONFIGURE(options)
  for _, name in ipairs { "webhook", "fallback" } do
    local where = checked[name] and address(checked[name], nil, "discord.configure: " .. name)
    local ok, message = true, nil
    if where then
      ok, message = webhook.parse(where.url, where.name)
    end
    if not ok then
      error(message, 2)
    end
  end
  local pause, why = opts.backoff(checked)
  if not pause then
    error("discord.configure: " .. why, 2)
  end
  if checked.events then
    checked.events = setmetatable(checked.events, { __index = embed.EVENTS })
  end
  config = checked
  for url, waiting in next, queues do -- what waits goes on under the new settings
    local made = waiting.webhook
    made.timeout, made.attempts = checked.timeout .. "ms", checked.attempts
    made.backoff_ms = { opts.duration_ms(checked.backoff[1]), opts.duration_ms(checked.backoff[2] or checked.backoff[1]) }
    made.transport = checked.transport or transport
    waiting.capacity, waiting.batch, waiting.username = checked.queue or queue_size(), checked.batch, checked.username
    queues[url] = waiting
  end
end

function M.check()
  local target, message, code = working_queue()
  if not target then
    return nil, message, code
  end
  return true
end

local function waiting_count()
  local n = 0
  for _, waiting in next, queues do
    n = n + waiting:len()
  end
  return n
end

local function busy_queue()
  for _, waiting in next, queues do
    if waiting.sender then
      return waiting
    end
  end
end

function M.flush(timeout)
  local ms, why = opts.duration_ms(timeout or "5s")
  if not ms then
    error("discord.flush: " .. why, 2)
  end
  local deadline = sys.monotonic_ms() + ms
  local busy = busy_queue()
  while busy do
    local left = math.floor(deadline - sys.monotonic_ms())
    local code = "ETIMEDOUT"
    if left > 0 then
      local _, _, join_code = busy.sender:join(left .. "ms")
      code = join_code
    end
    if code == "ETIMEDOUT" or code == "ECANCELED" then
      local message = ("discord flush: %d notices were not delivered in time"):format(waiting_count())
      return nil, message, code
    end
    busy = busy_queue()
  end
  return true
end

function M.stats()
  local out = { queued = waiting_count(), webhook = "none" }
  for _, name in ipairs {
    "sent", "messages", "requests", "limited", "failures", "rejected", "left_out", "dropped", "filtered",
  } do
    out[name] = counts[name] or 0
  end
  local target = working_queue()
  if target then
    out.webhook = target.webhook.name
  end
  return out
end

return M
