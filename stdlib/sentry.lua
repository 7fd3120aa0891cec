--- Errors to Sentry: what ends in the dead letters, is parked or runs away, by itself; the rest by
--- sentry.capture.
--
-- Reports leave in a bounded buffer and never hold anything up. As Sentry asks of its clients, what
-- the network or a server's fault loses is not sent again, and nothing is sent while it limits the
-- rate (develop.sentry.dev, sdk/overview and sdk/rate-limiting): both are counted.
local answer = require "sipeat.answer"
local env = require "sipeat.env"
local failure = require "sipeat.failure"
local json = require "sipeat.json"
local log = require("sipeat.log").new "sentry"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"
local versions = require "sipeat.versions"

local M = {}

local QUEUE, QUEUE_BYTES, EVENT_BYTES = 100, "8mb", "1mb" -- an event has 1 MB at Sentry
local PER_MINUTE = 300 -- reports that are made: a flood of failures says no more than its beginning
local LIMITED_S = 60 -- after a 429 that names no time
local CATEGORIES = { error = true, [""] = true } -- of rate limits: ours, and all

local function tags_ok(tags)
  for name, value in pairs(tags) do
    if type(name) ~= "string" or type(value) == "table" then
      return "is a table of names to texts"
    end
  end
end

local CAPTURE = opts.spec("sipeat.sentry.capture", {
  tags = { "table", default = {}, check = tags_ok },
  extra = { "table", default = {} },
  level = { "string", default = "error", enum = { "fatal", "error", "warning", "info", "debug" } },
  fingerprint = { "string[]" },
  transaction = { "string" },
})

local dropped -- counter, once something is

-- Counts a report that is not made.
local function drop(reason)
  dropped = dropped or require("sipeat.metrics").counter(
    "sipeat_sentry_dropped", "Reports that were not made, by reason.", { "reason" }
  )
  dropped:add(1, reason)
end

-- --- where to ---

--- The address and the key that a DSN names; nil and what is wrong with it.
function M.parse(dsn)
  local scheme, key, host, path = dsn:match "^(https?)://([^/@]+)@([^/@]+)(/.*)$"
  local public = key and key:match "^([^:]+)"
  local prefix, project = (path or ""):match "^(.*)/([^/]+)$"
  if not public or not project then
    return nil, "expected https://<public key>@<host>/<project id>"
  end
  return {
    url = ("%s://%s%s/api/%s/envelope/"):format(scheme, host, prefix, project), key = public,
  }
end

local target -- { url, key, auth }; false: there is none

-- The DSN is read once: it belongs to the process.
local function find_target()
  local dsn = env.get "SENTRY_DSN"
  local found, why = false, nil
  if dsn then
    found, why = M.parse(dsn)
  end
  if why then
    log:error("SENTRY_DSN: " .. why .. ": no errors are reported")
  end
  target = found or false
  if target then
    target.auth = env.conceal(("Sentry sentry_version=7, sentry_client=sipeat/%s, sentry_key=%s")
      :format(sys.version, target.key))
  end
end

--- Are errors reported?
function M.enabled()
  if target == nil then
    find_target()
  end
  return target ~= false
end

-- --- rate limits ---

local limited_until_ms = 0

local function limit(seconds)
  limited_until_ms = math.max(limited_until_ms, sys.monotonic_ms() + seconds * 1000)
end

--- Takes note of what an answer says about rates. Returns whether reports are limited now.
function M.note_limits(response)
  local said = response.headers["x-sentry-rate-limits"]
  if said then
    for one in said:gmatch "[^,]+" do
      local seconds, categories = one:match "^%s*([%d.]+):([^:]*)"
      seconds = tonumber(seconds)
      for category in (categories or "x"):gmatch "[^;]*" do
        if seconds and CATEGORIES[category:match "^%s*(.-)%s*$"] then
          limit(seconds)
        end
        if categories == "" then
          break
        end
      end
    end
  elseif response.status == 429 then
    local ms = answer.retry_after_ms(response.headers["retry-after"])
    limit(ms and ms / 1000 or LIMITED_S)
  end
  return M.is_limited()
end

function M.is_limited()
  return sys.monotonic_ms() < limited_until_ms
end

-- --- sending ---

local function envelope(item)
  return table.concat({
    json.encode {
      event_id = item.id, sent_at = sys.iso_time(),
      sdk = { name = "sipeat.lua", version = sys.version },
    },
    json.encode { type = "event", length = #item.text, content_type = "application/json" },
    item.text,
  }, "\n") .. "\n"
end

local function send(items)
  if M.is_limited() then
    return nil, failure.permanent("sentry limits the rate", "RATE_LIMITED")
  end
  local response, message, code = require("sipeat.http").post(target.url, {
    headers = {
      ["content-type"] = "application/x-sentry-envelope", ["x-sentry-auth"] = target.auth,
      ["user-agent"] = "sipeat/" .. sys.version,
    },
    body = envelope(items[1]), timeout = "10s", max_body_bytes = "64kb",
  })
  if not response then
    return nil, code == "ECANCELED" and failure.of(message, code)
      or failure.permanent("sentry: " .. message, code)
  end
  M.note_limits(response)
  local why = answer.failure("sentry", response, response.headers["x-sentry-error"])
  if why then
    why.kind = "permanent"
    return nil, why
  end
  return true
end

local queue

local function buffer()
  queue = queue or require("sipeat.batch").new {
    name = "sentry", send = send, max_items = QUEUE, max_bytes = QUEUE_BYTES, batch_items = 1,
    batch_bytes = EVENT_BYTES, flush = "1ms", retry = { attempts = 1 },
  }
  return queue
end

local window_ends_ms, in_window = 0, 0

-- Whether another report is made now.
local function admits()
  local now = sys.monotonic_ms()
  if now >= window_ends_ms then
    window_ends_ms, in_window = now + 60000, 0
  end
  in_window = in_window + 1
  if M.is_limited() then
    drop "limited"
    return false
  elseif in_window > PER_MINUTE then
    drop "flood"
    return false
  end
  return true
end

-- A version as logs and /version have it.
local function version_of(hash)
  return env.get "SENTRY_RELEASE" or hash and hash:sub(1, 16)
end

local reported = setmetatable({}, { __mode = "k" }) -- failure -> the id of its report

-- Makes a report and queues it: its id, or nil.
local function report(what)
  if reported[what.why] then
    return reported[what.why]
  elseif not admits() then
    return nil
  end
  what.release = version_of(what.version or versions.hash())
  what.environment = env.get "SENTRY_ENVIRONMENT"
  what.server_name = env.get "SENTRY_SERVER_NAME" or env.get "HOSTNAME"
  local event = require("sipeat.sentry_event").make(what)
  local text, message = json.encode(event)
  if not text then
    log:warn("a report cannot be written: " .. message)
    return nil
  elseif not buffer():add({ id = event.event_id, text = text }, #text) then
    return nil
  end
  reported[what.why] = event.event_id
  return event.event_id
end

-- --- what is reported ---

-- Any error as {message, code, traceback, cause}.
local function why_of(err, level)
  if type(err) == "table" and rawget(err, "message") ~= nil then
    return err
  end
  local text = tostring(err)
  local message, trace = text:match "^(.-)\n(stack traceback:.*)$"
  return {
    message = message or text, code = "ERROR",
    traceback = trace and "\n" .. trace or "\n" .. debug.traceback(nil, level + 1),
  }
end

--- Reports an error: what pcall caught, a failure, a text. The id that it has at Sentry; nil when
--- it is not reported: no DSN, no room, a limit.
function M.capture(err, options)
  local o = CAPTURE(options)
  if not M.enabled() then
    return nil
  end
  return report {
    why = why_of(err, 2), tags = o.tags, extra = o.extra, level = o.level,
    fingerprint = o.fingerprint, transaction = o.transaction,
  }
end

-- A handler's own bug, or what it was stopped for, was not meant to happen.
local LEVELS = { bug = "fatal" }

--- For the flow: an event has failed for good, or was parked.
function M.event_failed(job, why)
  if not M.enabled() or why.code == "HELD_BACK" then
    return
  end
  local record, event, flow = job.record, job.event, job.flow
  report {
    why = why, level = LEVELS[why.kind], handled = why.kind ~= "bug",
    transaction = "process " .. record.topic,
    version = flow.version and flow.version:hash() or nil,
    tags = {
      event_type = event.type, flow = flow.group, topic = record.topic,
      partition = record.partition, code = why.code, kind = why.kind, chain = why.chain,
      step = why.step, outcome = job.phase,
    },
    extra = { event_id = event.id, offset = record.offset, attempts = job.attempt },
  }
end

--- For the server: a route's handler has raised.
function M.request_failed(method, path, err)
  if M.enabled() then
    report {
      why = why_of(err, 2), handled = false, transaction = method .. " " .. path,
      tags = { route = method .. " " .. path },
    }
  end
end

return M
