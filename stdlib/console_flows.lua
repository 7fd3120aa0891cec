--- What the flows of this process do: counts, rates, how long events take, and what guards their
--- calls. Looked at once a second while somebody uses the console.
local api = require "sipeat.console_api"
local deadletter = require "sipeat.deadletter_state"
local host = require "sipeat.console_host"
local json = require "sipeat.json"
local opts = require "sipeat.opts"
local sampler = require "sipeat.console_sampler"
local sys = require "sipeat.core.sys"

local M = {}

M.EVERY_MS = 1000
local SPAN_MS = 10000 -- that rates and latencies are of
local POINTS, GROUPS = 600, 256 -- kept of a group, and groups
local WRAP = 1 << 32 -- counts of latencies are 32 bits

local SUMS = {
  "partitions", "running", "waiting", "later", "bytes", "taken", "finished", "dead", "unfinished",
  "redelivered", "skipped",
}
local RATES = { "taken", "finished", "dead" }
local GUARDS = {
  { "breaker", "sipeat.breaker" }, { "rate_limit", "sipeat.rate_limit" },
  { "bulkhead", "sipeat.bulkhead" }, { "retry_budget", "sipeat.retry_budget" },
}

local samples = {} -- the last ones: { at_ms, flows = group -> sums }
local history = {} -- group -> { first, last, [n] = point }

-- --- looking ---

-- The flows of a group, of all workers, as one.
local function add_up(out, one)
  for _, name in ipairs(SUMS) do
    out[name] = (out[name] or 0) + (one[name] or 0)
  end
  for ms, count in pairs(one.latency) do
    out.latency[ms] = (out.latency[ms] or 0) + count
  end
  if one.topic then
    out.topics[one.topic] = true
  end
  out.error = out.error or one.error
  out.assigned = out.assigned and one.assigned
  out.draining = out.draining or one.draining
end

local function by_group()
  local groups, count = {}, 0
  for _, one in ipairs(host.flows()) do
    if not groups[one.group] and count < GROUPS then
      count = count + 1
      groups[one.group] = { latency = {}, topics = {}, assigned = true, draining = false }
    end
    if groups[one.group] then
      add_up(groups[one.group], one)
    end
  end
  return groups
end

--- Quantiles of counts: { [ms] = how many }.
function M.quantiles(counts)
  local limits, sum = {}, 0
  for ms, count in pairs(counts) do
    limits[#limits + 1] = ms
    sum = sum + count
  end
  table.sort(limits)
  local out = { count = sum, p50_ms = 0, p95_ms = 0, p99_ms = 0, max_ms = 0 }
  local seen = 0
  for _, ms in ipairs(limits) do
    local before = seen
    seen = seen + counts[ms]
    for name, share in pairs { p50_ms = 0.5, p95_ms = 0.95, p99_ms = 0.99 } do
      local wanted = math.max(1, math.ceil(sum * share))
      if before < wanted and seen >= wanted then
        out[name] = ms
      end
    end
    out.max_ms = ms
  end
  return out
end

-- What came to the counts since then.
local function difference(now, before)
  local out = {}
  for ms, count in pairs(now) do
    local more = (count - (before[ms] or 0)) % WRAP
    out[ms] = more > 0 and more or nil
  end
  return out
end

-- The oldest sample that is not older than `ms`; with only one, that.
local function since(now, ms)
  for _, one in ipairs(samples) do
    if now - one.at_ms <= ms then
      return one
    end
  end
  return samples[#samples]
end

local function figures(now, before, group)
  local was = before and before.flows[group] or { latency = {} }
  local seconds = before and (now.at_ms - before.at_ms) / 1000 or 0
  local rate = {}
  for _, name in ipairs(RATES) do
    local more = now.flows[group][name] - (was[name] or now.flows[group][name])
    rate[name] = seconds > 0 and math.floor(math.max(0, more) * 10 / seconds + 0.5) / 10 or 0
  end
  local counts = before and difference(now.flows[group].latency, was.latency) or {}
  return rate, M.quantiles(counts)
end

local function note(group, rate, latency)
  local points = history[group] or { first = 1, last = 0 }
  history[group] = points
  points.last = points.last + 1
  points[points.last] = { sys.now_ms(), rate.finished, latency.p50_ms, latency.p99_ms }
  if points.last - points.first >= POINTS then
    points[points.first], points.first = nil, points.first + 1
  end
end

local function look()
  local now = { at_ms = sys.monotonic_ms(), flows = by_group() }
  local last = samples[#samples]
  for group in pairs(now.flows) do
    if last then
      note(group, figures(now, last, group))
    end
  end
  for group in pairs(history) do
    history[group] = now.flows[group] and history[group] or nil
  end
  samples[#samples + 1] = now
  while #samples > 1 and now.at_ms - samples[1].at_ms > SPAN_MS do
    table.remove(samples, 1)
  end
  return true
end

local looking = sampler.new(M.EVERY_MS, look)

-- --- telling ---

local function points_of(group)
  local points, out = history[group] or { first = 1, last = 0 }, json.array {}
  for i = points.first, points.last do
    out[#out + 1] = points[i]
  end
  return { every_ms = M.EVERY_MS, points = out }
end

local function state_of(one)
  return one.error and "error" or one.draining and "draining" or one.assigned and "running"
    or "joining"
end

local function flow_object(now, before, group, parked)
  local one = now.flows[group]
  local rate, latency = figures(now, before ~= now and before or nil, group)
  local out = {
    group = group, topics = json.array(opts.names(one.topics)), state = state_of(one),
    error = one.error, rate = rate, latency = latency, history = points_of(group),
    moved = require("sipeat.retry_topic").moved()[group] or 0, parked = parked,
  }
  for _, name in ipairs(SUMS) do
    out[name] = one[name]
  end
  return out
end

local function guards()
  local list = json.array {}
  for _, guard in ipairs(GUARDS) do
    for _, one in ipairs(require(guard[2]).status()) do
      local detail = {}
      for name, value in pairs(one) do
        detail[name] = name ~= "name" and name ~= "state" and value or nil
      end
      list[#list + 1] = { kind = guard[1], name = one.name, state = one.state, detail = detail }
    end
  end
  return list
end

--- Dead letters on their way: what M.state tells of them.
function M.letters_waiting()
  local status = deadletter.status()
  return {
    waiting = status.waiting, oldest_ms = status.oldest_ms, failures = status.failures,
    parked = status.parked,
  }
end

local function outbox()
  local status = require("sipeat.core.outbox").status()
  return status and status.open and {
    queued = status.queued, refused = status.refused, oldest_ms = status.oldest_age_ms,
  } or nil
end

--- The answer of GET flows. `parked`: group -> runs that wait for a person, where that is known.
function M.state()
  if host.is_alone() then
    return host.without { flows = json.array {}, guards = json.array {} }
  end
  looking:touch()
  local last = samples[#samples]
  if not last or sys.monotonic_ms() - last.at_ms >= 2 * M.EVERY_MS then
    looking:now()
    last = samples[#samples]
  end
  local before = since(last.at_ms, SPAN_MS)
  local parked = require("sipeat.console_chains").parked_by_flow()
  local flows = json.array {}
  for i, group in ipairs(opts.names(last.flows)) do
    flows[i] = flow_object(last, before, group, parked and (parked[group] or 0))
  end
  local status, reasons = host.core().status(), require("sipeat.service").unready()
  return {
    available = true, at = sys.iso_time(), workers = status.workers, ready = #reasons == 0,
    reasons = json.array(reasons), flows = flows, guards = guards(), letters = M.letters_waiting(),
    outbox = outbox(),
  }
end

--- Sums for the overview.
function M.summarize(out)
  local state = M.state()
  if state.available then
    local sums = { count = #state.flows, running = 0, waiting = 0, rate = 0, errors = 0 }
    for _, one in ipairs(state.flows) do
      sums.running, sums.waiting = sums.running + one.running, sums.waiting + one.waiting
      sums.rate = sums.rate + one.rate.finished
      sums.errors = sums.errors + (one.error and 1 or 0)
    end
    out.flows = sums
  end
end

function M.routes()
  api.route("GET flows", "viewer", M.state)
end

return M
