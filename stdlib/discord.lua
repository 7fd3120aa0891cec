--- Tells Discord how events ended. Notices are queued at once and sent by a task of their own: a
--- slow, failing or absent Discord never delays or fails an event.
local embed = require "sipeat.discord_embed"
local json = require "sipeat.json"
local limits = require "sipeat.discord_limits"
local opts = require "sipeat.opts"
local outbox = require "sipeat.discord_outbox"
local queue = require "sipeat.discord_queue"
local samples = require "sipeat.discord_samples"
local settings = require "sipeat.discord_settings"
local sys = require "sipeat.core.sys"

local M = {}

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
  priority = { "string", enum = settings.PRIORITIES },
  webhook = { "secret" },
})

local ENDS = { "done", "dead" }

local NOTIFIED = opts.spec("sipeat.discord.notified", {
  priority = { "string", enum = settings.PRIORITIES },
  outcomes = { "string[]", default = ENDS, check = settings.one_of(ENDS) },
  webhook = { "secret" },
})

local SEND = opts.spec("sipeat.discord.send", {
  webhook = { "secret" },
  patience = { "duration", default = "30s" },
})

-- --- notices ---

local function contains(list, item)
  for _, one in ipairs(list) do
    if one == item then
      return true
    end
  end
  return false
end

--- Whether the type is one of the names, in which "*" stands for anything.
local function matches(kind, names)
  for _, name in ipairs(names) do
    if kind:find(opts.glob(name)) then
      return true
    end
  end
  return false
end

local function is_wanted(notice, outcome, rank)
  local s = settings.get()
  local kind = notice.type or ""
  return rank >= queue.RANKS[s.min_priority]
    and contains(s.outcomes, outcome)
    and not (s.only and not matches(kind, s.only))
    and not matches(kind, s.except)
end

-- Not before the first chain is parked: start-up is short.
local function buttons()
  return require "sipeat.discord_buttons"
end

--- Queues a notice that is known to be well-formed. Returns at once.
local function enqueue(notice, own)
  local outcome = notice.ok == nil and "info" or notice.ok and "done" or "dead"
  local rank = queue.RANKS[notice.priority or outcome == "dead" and "high" or "normal"]
  if not is_wanted(notice, outcome, rank) then
    outbox.count("filtered")
    return false
  end
  local target, message, code = outbox.working(own)
  if not target then
    if code == "NOT_CONFIGURED" then
      outbox.tell_once("info", message .. ": Discord gets no notices")
    end
    outbox.count("dropped")
    return false
  end
  return target:push {
    type = notice.type and notice.type:sub(1, limits.NAME),
    outcome = outcome,
    rank = rank,
    components = notice.run and buttons().of(notice.run, notice.event_id),
    build = function()
      return embed.build(notice, settings.get().events)
    end,
  }
end

--- What a notice says about an event. One that could not be parsed shows where it stands in its
--- topic, and its bytes.
local function notice_of(event, ok, err)
  local notice = {
    type = tostring(event.type or event.topic or "unknown"),
    ok = ok,
    data = event.data,
    event_id = event.id and tostring(event.id),
  }
  if not ok then
    notice.error = err == nil and "failed without a message" or tostring(err)
  end
  if notice.data == nil then
    notice.topic, notice.partition, notice.offset = event.topic, event.partition, event.offset
    notice.fields = {
      { name = "Key", value = event.key },
      { name = "Value", value = event.value, inline = false },
    }
  end
  return notice
end

local function notify_end(outcome, event, o)
  local ok = outcome.status == "done"
  if contains(o.outcomes, ok and "done" or "dead") then
    local notice = notice_of(outcome.event or event, ok, outcome.failure)
    notice.attempts, notice.priority = outcome.attempts, o.priority
    if outcome.status == "parked" then
      notice.footer = "⏸️ Parked: somebody has to decide"
      notice.fields = notice.fields or {}
      table.insert(notice.fields, { name = "Run", value = tostring(outcome.run) })
      notice.run = outcome.run
    end
    enqueue(notice, o.webhook)
  end
end

--- The same handler, and Discord is told how each event ended, once, after its last attempt.
function M.notified(handler, options)
  local o = NOTIFIED(options)
  outbox.working(o.webhook) -- a malformed address is said now, not at the first event
  return function(event, ctx)
    ctx:on_end(function(outcome)
      notify_end(outcome, event, o)
    end)
    return handler(event, ctx)
  end
end

--- For a flow's on_dead: a red notice of an event that reached no handler.
function M.on_dead(event, failure, ctx)
  local notice = notice_of(event, false, failure)
  notice.attempts = type(ctx) == "table" and ctx.attempt or nil
  enqueue(notice)
end

--- The seed's sendKafkaEventNotification.
function M.send_kafka_event_notification(event, ok, err)
  if type(event) ~= "table" then
    local why = "discord.send_kafka_event_notification: an event is needed, got %s"
    error(why:format(type(event)), 2)
  end
  return enqueue(notice_of(event, ok and true or false, err))
end

--- Queues a notice of one's own. Returns at once: whether it was taken.
function M.notify(notice)
  local checked = NOTICE(notice)
  return enqueue(checked, checked.webhook)
end

-- --- sending and waiting ---

local function complete(message)
  local copy = { username = settings.get().username }
  for key, given in next, message do
    copy[key] = given
  end
  copy.allowed_mentions = { parse = json.array {} }
  return copy
end

local function deliver(target, message, patience_ms)
  local full = complete(message)
  local ok, errors = limits.check(full)
  if not ok then
    local first = errors[1]
    local why = "discord send: %s: %s"
    return nil, why:format(first.path, first.message), "INVALID_MESSAGE"
  end
  local body, why, code = json.encode(full)
  if not body then
    return nil, "discord send: " .. why, code
  end
  local verdict, detail = target.webhook:deliver(body, patience_ms)
  if verdict == "gone" then
    target:retire(detail)
  end
  if verdict ~= "sent" then
    return nil, "discord send: " .. detail.message, detail.code or "FAILED", detail.status
  end
  return { status = detail.status, id = detail.id }
end

--- Sends a message and waits for the answer.
function M.send(message, options)
  if type(message) ~= "table" then
    local why = "discord.send: a message is a table such as {content = …}, got %s"
    error(why:format(type(message)), 2)
  end
  local o = SEND(options)
  local target, why, code = outbox.working(o.webhook)
  if not target then
    return nil, "discord send: " .. why, code
  end
  return deliver(target, message, o.patience)
end

local function try(target, sample, patience_ms)
  local started = sys.monotonic_ms()
  local result = { name = sample.name, ok = false }
  if target.retired then
    result.message, result.code = "not tried: " .. target.retired.message, "WEBHOOK_GONE"
  else
    local sent, message, code, status = deliver(target, sample.message, patience_ms)
    result.ok, result.message, result.code = sent ~= nil, message, code
    result.status, result.id = status or sent and sent.status, sent and sent.id
  end
  result.ms = math.floor(sys.monotonic_ms() - started)
  return result
end

--- Sends the five test messages, one after the other: what came back for each.
function M.test(options)
  local o = SEND(options)
  local target, why, code = outbox.working(o.webhook)
  if not target then
    return nil, why, code
  end
  local results = {}
  for i, sample in ipairs(samples.messages()) do
    results[i] = try(target, sample, o.patience)
  end
  return results
end

--- Replaces the settings; what waits goes on under the new ones.
function M.configure(options)
  settings.set(options)
  outbox.reconfigure()
end

--- Whether there is a webhook to send to: true, or nil, message, code.
function M.check()
  local target, message, code = outbox.working()
  if not target then
    return nil, message, code
  end
  return true
end

--- Waits until everything that was queued is sent, or the time is up.
function M.flush(timeout)
  local ms, why = opts.duration_ms(timeout or "5s")
  if not ms then
    error("discord.flush: " .. why, 2)
  end
  local deadline = sys.monotonic_ms() + ms
  local busy = outbox.busy()
  while busy do
    local left = math.ceil(deadline - sys.monotonic_ms())
    local code = "ETIMEDOUT"
    if left > 0 then
      code = select(3, busy.sender:join(left .. "ms"))
    end
    if code == "ETIMEDOUT" or code == "ECANCELED" then
      local message = "discord flush: %d notices were not delivered in time"
      return nil, message:format(outbox.len()), code
    end
    busy = outbox.busy()
  end
  return true
end

local COUNTED = {
  "sent", "messages", "requests", "limited", "failures", "rejected", "left_out", "dropped",
  "filtered",
}

--- Counters since the start of the process.
function M.stats()
  local target = outbox.working()
  local out = { queued = outbox.len(), webhook = target and target.webhook.name or "none" }
  for _, name in ipairs(COUNTED) do
    out[name] = outbox.counted(name)
  end
  return out
end

return M
