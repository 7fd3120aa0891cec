--- Dead letters: over all topics, those of one, one with its trace and payload, and replaying one,
--- an edited copy of it, or many.
local api = require "sipeat.console_api"
local bytes = require "sipeat.bytes"
local cluster = require "sipeat.console_cluster"
local filter = require "sipeat.console_filter"
local flows = require "sipeat.console_flows"
local json = require "sipeat.json"
local ledgers = require "sipeat.deadletter_ledger"
local letters = require "sipeat.deadletter_letter"
local list = require "sipeat.deadletter_list"
local messages = require "sipeat.console_messages"
local objects = require "sipeat.deadletter_object"
local opts = require "sipeat.opts"
local rate_limit = require "sipeat.rate_limit"
local records = require "sipeat.console_record"
local replay = require "sipeat.deadletter_replay"
local summaries = require "sipeat.console_letter_topics"
local sys = require "sipeat.core.sys"
local access = require "sipeat.access"

local M = {}

local LISTED = 1000
local LOOKED_AT = 50000 -- letters that a list with a filter reads, the newest ones
local REPLAYED = 10000 -- by one request
local TOLD = 100 -- letters of a replay that the answer names

-- --- which ---

--- What the event `letters` tells, and GET letters.
function M.state()
  summaries.touch()
  return {
    topics = summaries.topics(), waiting = flows.letters_waiting().waiting,
    limits = json.array {},
  }
end

local function topics()
  local ok, message, code = summaries.refresh()
  if not ok then
    return nil, message, code
  end
  return M.state()
end

-- A letter as this user may see it, without its body.
local function object_of(req, one, done)
  local out = objects.object(one)
  out.was_replayed = done[one.id] == true
  if not access.may(req.user, "operator") then
    out.key = out.key and access.seen(req, out.key)
    out.message = out.message and access.seen(req, out.message)
  end
  return out
end

local function since_of(text)
  if text ~= nil and text ~= "" then
    return filter.time_ms(text, "since")
  end
end

local function check_topic(name)
  if list.is_topic(name) then
    return true
  end
  return nil, ("%s is no dead-letter topic: their names end with -dlt or -dlq"):format(name),
    "NOT_FOUND"
end

-- Where to begin, so that at most so many letters are read; and whether some are left out.
local function newest(topic, most)
  local about, message, code = cluster.call("describe_topic", topic)
  if not about then
    return nil, message, code
  end
  local offsets, cut = {}, false
  local share = math.max(1, most // #about.partitions)
  for _, one in ipairs(about.partitions) do
    local low, high = one.low or 0, one.high or 0
    offsets[one.id] = math.max(low, high - share)
    cut = cut or offsets[one.id] > low
  end
  return offsets, cut
end

local function filter_of(req)
  local o = { topic = req.params.topic }
  for _, name in ipairs { "reason", "type", "group" } do
    o[name] = req.query[name] ~= "" and req.query[name] or nil
  end
  local message, code
  o.since, message, code = since_of(req.query.since)
  if not code then
    o.max, message, code = api.integer(req.query.max, "max", 100, LISTED)
  end
  if code then
    return nil, message, code
  end
  return o
end

local function list_topic(req)
  local ok, message, code = check_topic(req.params.topic)
  local o, offsets, cut, ledger
  if ok then
    o, message, code = filter_of(req)
  end
  if o then
    local filtered = o.reason or o.type or o.group or o.since
    offsets, cut, code = newest(o.topic, filtered and LOOKED_AT or o.max * 8)
    message = cut
  end
  if offsets then
    ledger, message, code = ledgers.read(o.topic)
  end
  local found
  if ledger then
    local max = o.max
    o.offsets, o.max = offsets, max + 1
    found, message, code = list.list(o)
    o.max = max
  end
  if not found then
    return nil, message, code
  end
  local out, more = json.array {}, cut or #found > o.max
  for i = #found, math.max(1, #found - o.max + 1), -1 do
    out[#out + 1] = object_of(req, found[i], ledger.done)
  end
  return { letters = out, more = more }
end

-- The letter of a request; or nil, message, code.
local function letter_of(req)
  local topic = req.params.topic
  local ok, message, code = check_topic(topic)
  local partition, offset
  if ok then
    partition, offset, code = messages.place(req)
    message = offset
  end
  if not partition then
    return nil, message, code
  end
  return list.get(topic, partition, offset)
end

local function plain_headers(headers)
  local out = json.array {}
  for i, header in ipairs(headers) do
    local one, value, base64 = { name = sys.utf8_clean(header[1]) }, objects.decoded(
      header[1], header[2])
    one.value, one.value_base64 = value == nil and not base64 and json.null or value, base64
    if math.type(one.value) == "integer" then
      one.value = ("%d"):format(one.value)
    end
    out[i] = one
  end
  return out
end

local function show(req)
  local one, message, code = letter_of(req)
  local ledger
  if one then
    ledger, message, code = ledgers.read(one.topic)
  end
  if not ledger then
    return nil, message, code
  end
  local out = object_of(req, one, ledger.done)
  local masked = records.is_masked_for(req)
  local record = masked and records.masked(req, one.record) or one.record
  out.headers, out.masked = plain_headers(record.headers or {}), masked
  out.stacktrace = one.stacktrace and access.seen(req, one.stacktrace)
  local original = letters.headers(one)
  local event = { headers = original or one.headers }
  out.original_headers = plain_headers((masked and records.masked(req, event) or event).headers)
  local body, why = letters.body(one)
  if body == nil then
    out.body_error = why
  else
    records.put_value(out, body and access.seen(req, body) or nil, records.SHOWN_BYTES)
  end
  out.runs = json.array {}
  for i, run in ipairs(one.event_id and require("sipeat.console_chains").find(req, one.event_id)
    or {}) do
    out.runs[i] = { id = run.id, state = run.state }
  end
  return out
end

-- --- replaying ---

local EDIT = opts.spec("sipeat.console.edit", {
  topic = { "string" },
  key = { "string" },
  value = { "string" },
  value_base64 = { "string" },
  headers = { "table" },
})

local ONE = opts.spec("sipeat.console.replay_one", {
  dry_run = { "boolean", default = false },
  again = { "boolean", default = false },
  edit = { "table" },
})

-- A function that makes the edited copy of a record; or nil, message, code.
local function change_of(edit)
  local o, message = EDIT(edit, false)
  if not o then
    return nil, (message:gsub("^sipeat%.console%.edit: ", "edit: ")), "BAD_REQUEST"
  end
  local headers, code
  if o.headers then
    headers, message, code = messages.headers(o.headers)
    if not headers then
      return nil, message, code
    end
  end
  return function(record)
    if headers then
      for _, header in ipairs(record.headers) do
        headers[#headers + 1] = letters.ADDED[header[1]] and header or nil
      end
      record.headers = headers
    end
    record.value = o.value_base64 and bytes.get(o, "value") or o.value or record.value
    record.topic = o.topic or record.topic
    if o.key then
      record.key, record.partition = o.key, nil -- the key decides
    end
    return record
  end
end

local function replay_one(req)
  local o, message, code = api.body(req, ONE)
  local one
  if o then
    one, message, code = letter_of(req)
  end
  local change
  if one and o.edit then
    change, message, code = change_of(o.edit)
  end
  local ok = one and (change or not o.edit)
  if ok and not o.dry_run then
    ok, message, code = api.audit(req, "letter.replay", {
      letter = one.id, edited = o.edit ~= nil, again = o.again,
    })
  end
  if not ok then
    return nil, message, code
  end
  local out = { dry_run = o.dry_run, outcome = "failed", report = json.null }
  local sent
  local counts
  counts, message, code = replay({
    topic = one.topic, partition = one.partition, offset = one.offset, again = o.again,
    dry_run = o.dry_run,
    change = function(record)
      sent = change and change(record) or record
      return sent
    end,
    on_letter = function(_, outcome, why, report)
      out.outcome, out.why = outcome, why
      if outcome == "replayed" and not o.dry_run then
        out.report = {
          topic = sent.topic, partition = report.partition, offset = report.offset,
        }
      end
    end,
  }, 1)
  if not counts then
    return nil, message, code
  end
  if sent then
    out.record = records.object(sent, records.SHOWN_BYTES, false)
  end
  return out
end

local MANY = opts.spec("sipeat.console.replay_many", {
  reason = { "string" },
  type = { "string" },
  group = { "string" },
  since = { "string" },
  max = { "integer", default = REPLAYED, min = 1, max = REPLAYED },
  rate = { "string" },
  limit = { "integer", default = 3, min = 1 },
  again = { "boolean", default = false },
  dry_run = { "boolean", default = false },
  confirm = { "string", default = "" },
})

local function check_many(req, o)
  local ok, message, code = check_topic(req.params.topic)
  if ok and o.rate and not rate_limit.per_ms(o.rate) then
    return nil, "rate is a number and a time, such as 100/s", "BAD_REQUEST"
  elseif ok then
    o.since, message, code = since_of(o.since)
    ok = not code
  end
  if ok then
    ok, message, code = cluster.call("describe_topic", req.params.topic)
  end
  if ok and not o.dry_run then
    ok, message, code = api.confirmed(o.confirm, req.params.topic)
  end
  return ok, message, code
end

local function replay_many(req)
  local topic = req.params.topic
  local o, message, code = api.body(req, MANY)
  local ok = o
  if ok then
    ok, message, code = check_many(req, o)
  end
  if ok and not o.dry_run then
    ok, message, code = api.audit(req, "letters.replay", {
      topic = topic, reason = o.reason, type = o.type, group = o.group, max = o.max,
    })
  end
  if not ok then
    return nil, message, code
  end
  local told = json.array {}
  local counts
  counts, message, code = replay({
    topic = topic, reason = o.reason, type = o.type, group = o.group, since = o.since,
    max = o.max, rate = o.rate, limit = o.limit, again = o.again, dry_run = o.dry_run,
    on_letter = function(one, outcome, why)
      if #told < TOLD then
        told[#told + 1] = { id = one.id, outcome = outcome, why = why }
      end
    end,
  }, 1)
  if not counts then
    return nil, message, code
  end
  counts.dry_run, counts.letters = o.dry_run, told
  return counts
end

--- Sums for the overview.
function M.summarize(out, limits)
  local sums = { topics = 0, letters = 0, waiting = flows.letters_waiting().waiting }
  local ok, message = true, nil
  if out.cluster.connected then
    ok, message = summaries.refresh()
  end
  if not ok then
    limits[#limits + 1] = "dead letters: " .. message
  end
  for _, topic in ipairs(summaries.topics()) do
    sums.topics, sums.letters = sums.topics + 1, sums.letters + topic.letters
  end
  out.letters = sums
end

function M.routes()
  api.route("GET letters", "viewer", topics)
  api.route("GET letters/:topic", "viewer", list_topic)
  api.route("GET letters/:topic/:partition/:offset", "viewer", show)
  api.route("POST letters/:topic/replay", "operator", replay_many)
  api.route("POST letters/:topic/:partition/:offset/replay", "operator", replay_one)
end

return M
