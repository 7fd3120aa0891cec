--- The figures of `sipeat top`, worked out of two looks at /metrics. No I/O.
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local SLOW = 10 -- handlers that are shown
local DURATION = "messaging_process_duration_seconds_"

-- --- reading ---

-- What is escaped in values goes through as a byte that stands in none.
local function labels_of(text)
  local labels = {}
  text = text:gsub('\\"', "\1"):gsub("\\\\", "\2")
  for name, value in text:gmatch '([%a_][%w_]*)="([^"]*)"' do
    labels[name] = value:gsub("\\n", "\n"):gsub("\1", '"'):gsub("\2", "\\")
  end
  return labels
end

--- The samples of a page of metrics in Prometheus's format: name -> { { labels, value } … }.
function M.parse(text)
  local samples = {}
  for line in text:gmatch "[^\n]+" do
    local name, labels, value = line:match "^([%a_][%w_]*){(.*)} (%S+)$"
    if not name then
      name, value = line:match "^([%a_][%w_]*) (%S+)$"
      labels = ""
    end
    local number = value and (tonumber(value) or value == "+Inf" and math.huge)
    if number then
      samples[name] = samples[name] or {}
      table.insert(samples[name], { labels_of(labels), number })
    end
  end
  return samples
end

-- Sums of a metric by one label, or all of it.
local function sums(samples, name, label)
  local out = {}
  for _, one in ipairs(samples[name] or {}) do
    local key = label and one[1][label] or ""
    out[key] = (out[key] or 0) + one[2]
  end
  return out
end

local function total(samples, name)
  return sums(samples, name)[""] or 0
end

-- Counts of durations: group and type -> { count, sum, buckets = { [bound] = how many } }.
local function durations(samples)
  local out = {}
  local function of(labels)
    local group, kind = labels.messaging_consumer_group_name, labels.cloudevents_event_type
    local key = group .. "\0" .. kind
    out[key] = out[key] or { group = group, type = kind, count = 0, sum = 0, buckets = {} }
    return out[key]
  end
  for _, one in ipairs(samples[DURATION .. "bucket"] or {}) do
    local buckets, bound = of(one[1]).buckets, one[1].le
    bound = bound == "+Inf" and math.huge or tonumber(bound)
    buckets[bound] = (buckets[bound] or 0) + one[2]
  end
  for _, what in ipairs { "count", "sum" } do
    for _, one in ipairs(samples[DURATION .. what] or {}) do
      local found = of(one[1])
      found[what] = found[what] + one[2]
    end
  end
  return out
end

-- The bound below which that share of what came between two looks lies, in ms.
local function quantile(now, before, share)
  local bounds = {}
  for bound in pairs(now.buckets) do
    bounds[#bounds + 1] = bound
  end
  table.sort(bounds)
  local count = now.count - (before and before.count or 0)
  for _, bound in ipairs(bounds) do
    local below = now.buckets[bound] - (before and before.buckets[bound] or 0)
    if count > 0 and below >= share * count then
      return bound * 1000
    end
  end
  return 0
end

-- --- two looks ---

local function rate(now, before, key, seconds)
  local more = (now[key] or 0) - (before[key] or 0)
  return more > 0 and math.floor(more * 10 / seconds + 0.5) / 10 or 0
end

local function flows_of(now, before, seconds)
  local finished, was = sums(now, "sipeat_flow_finished_total", "group"),
    sums(before, "sipeat_flow_finished_total", "group")
  local retries, retried = sums(now, "sipeat_flow_retries_total", "group"),
    sums(before, "sipeat_flow_retries_total", "group")
  local running = sums(now, "sipeat_flow_running", "group")
  local waiting = sums(now, "sipeat_flow_waiting", "group")
  local lag, dead = sums(now, "sipeat_partition_lag", "group"),
    sums(now, "sipeat_flow_dead_total", "group")
  local list = json.array {}
  for i, group in ipairs(opts.names(finished)) do
    list[i] = {
      group = group, rate = rate(finished, was, group, seconds), lag = lag[group],
      running = running[group] or 0, waiting = waiting[group] or 0,
      retries = rate(retries, retried, group, seconds), dead = dead[group] or 0,
    }
  end
  return list
end

local function slow_of(now, before, seconds)
  local found, was, list = durations(now), durations(before), {}
  for key, one in pairs(found) do
    local old = was[key]
    local count = one.count - (old and old.count or 0)
    if count > 0 then
      list[#list + 1] = {
        group = one.group, type = one.type, rate = math.floor(count * 10 / seconds + 0.5) / 10,
        mean_ms = (one.sum - (old and old.sum or 0)) / count * 1000,
        p50_ms = quantile(one, old, 0.5), p99_ms = quantile(one, old, 0.99),
      }
    end
  end
  table.sort(list, function(a, b)
    return a.mean_ms > b.mean_ms
  end)
  return json.array(table.move(list, 1, math.min(#list, SLOW), 1, {}))
end

--- What happened between two parsed pages, `seconds` apart.
function M.between(before, now, seconds)
  return {
    at = sys.iso_time(), seconds = seconds, ready = total(now, "sipeat_ready") == 1,
    uptime_s = total(now, "sipeat_uptime_seconds"), workers = total(now, "sipeat_workers"),
    memory_bytes = total(now, "sipeat_lua_memory_bytes"),
    parked = sums(now, "sipeat_chains_parked")[""],
    flows = flows_of(now, before, seconds), slow = slow_of(now, before, seconds),
  }
end

return M
