--- What users do, for an analytics service that takes Segment's HTTP API: track, identify, page and
--- group. No call waits: each goes into a bounded buffer (sipeat.batch, named "analytics") that is
--- sent in batches; what finds no room is counted. messageId lets the service drop what it gets
--- twice.
local batch = require "sipeat.batch"
local env = require "sipeat.env"
local json = require "sipeat.json"
local log = require("sipeat.log").new "analytics"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local ITEM_BYTES = 32 * 1024 -- of one call, and
local BATCH_BYTES = 490 * 1024 -- of all in a request, whose limit is 500 KB

local CONFIGURE = opts.spec("sipeat.analytics.configure", {
  url = { "string" },
  write_key = { "secret" },
  flush = { "duration", default = "5s" },
  max_items = { "integer", default = 10000, min = 1, max = 1000000 },
  max_bytes = { "size", default = "10mb" },
})

local COMMON = {
  user_id = { "string|integer" },
  anonymous_id = { "string" },
  timestamp = { "string" },
  message_id = { "string" },
  context = { "table", default = {} },
}

local function call_spec(name, fields)
  for key, field in pairs(COMMON) do
    fields[key] = field
  end
  return opts.spec("sipeat.analytics." .. name, fields)
end

local CALLS = {
  track = call_spec("track", {
    event = { "string", required = true }, properties = { "table", default = {} },
  }),
  identify = call_spec("identify", { traits = { "table", default = {} } }),
  page = call_spec("page", {
    name = { "string" }, category = { "string" }, properties = { "table", default = {} },
  }),
  group = call_spec("group", {
    group_id = { "string|integer", required = true }, traits = { "table", default = {} },
  }),
}

local configured = {} -- of the process: it survives a reload of the script
local outgoing -- its buffer
local told -- that there is no key

local function write_key()
  return configured.write_key or env.secret "ANALYTICS_WRITE_KEY"
end

local function send(items)
  local base = configured.url or env.get("ANALYTICS_URL", "https://api.segment.io")
  local text = ('{"batch":[%s],"sentAt":"%s"}'):format(table.concat(items, ","), sys.iso_time())
  local url = base:gsub("/+$", "") .. "/v1/batch"
  return batch.posted("analytics", require("sipeat.http").post(url, {
    body = text, timeout = "20s",
    headers = {
      ["content-type"] = "application/json",
      authorization = "Basic " .. sys.base64(env.reveal(write_key()) .. ":"),
    },
  }))
end

local function buffer()
  if not outgoing then
    local c = next(configured) and configured or CONFIGURE {}
    outgoing = batch.new {
      name = "analytics", send = send, batch_items = 1000, batch_bytes = BATCH_BYTES,
      item_bytes = ITEM_BYTES, max_items = c.max_items, max_bytes = c.max_bytes,
      flush = c.flush .. "ms",
    }
  end
  return outgoing
end

--- Sets address, key and buffer for this process, before the first call; what is not given comes
--- from ANALYTICS_URL (https://api.segment.io) and ANALYTICS_WRITE_KEY.
---@param options sipeat.analytics.ConfigureOptions
function M.configure(options)
  configured = CONFIGURE(options)
  outgoing = nil -- what waits in the one before goes on its own
end

-- The same for each attempt of an event, and another one for each call of it.
local function message_id(kind, o, ctx)
  local key = type(ctx) == "table" and (ctx.key or ctx.id)
  if o.message_id or not key then
    return o.message_id or "sipeat-" .. sys.uuid()
  end
  local name = o.event or o.name or o.group_id or ""
  return "sipeat-" .. sys.sha256(("%s\0%s\0%s"):format(key, kind, name)):sub(1, 32)
end

local function call(kind, options, ctx)
  local o = CALLS[kind](options, 3)
  if not o.user_id and not o.anonymous_id then
    error(("analytics.%s: user_id or anonymous_id is required"):format(kind), 3)
  elseif not write_key() then
    if not told then
      told = true
      log:warn "ANALYTICS_WRITE_KEY is not set: calls are left out (`sipeat dev` needs none)"
    end
    return false, "not_configured"
  end
  local context = { library = { name = "sipeat", version = sys.version } }
  for name, value in pairs(o.context) do
    context[name] = value
  end
  local text, message = json.encode {
    type = kind, event = o.event, name = o.name, category = o.category,
    userId = o.user_id and tostring(o.user_id) or nil, anonymousId = o.anonymous_id,
    groupId = o.group_id and tostring(o.group_id) or nil,
    properties = o.properties, traits = o.traits, context = context,
    timestamp = o.timestamp or sys.iso_time(), messageId = message_id(kind, o, ctx),
  }
  if not text then
    error(("analytics.%s: %s"):format(kind, message), 3)
  end
  return buffer():add(text, #text + 1)
end

for kind in pairs(CALLS) do
  --- Takes a call at once: true, or false and "full", "too_big" or "not_configured". With the
  --- context of a handler or step, a call that is made again has the same messageId.
  M[kind] = function(options, ctx)
    local taken, why = call(kind, options, ctx) -- no tail call: a mistake is the caller's
    return taken, why
  end
end

--- Sends what waits, and waits until it is sent or given up, or the time is up.
---@param timeout string?
function M.flush(timeout)
  if not outgoing then
    return true
  end
  return outgoing:flush(timeout)
end

return M
