--- Who is signed in and what this program has; and everything at a glance.
local access = require "sipeat.access"
local api = require "sipeat.console_api"
local cluster = require "sipeat.console_cluster"
local core = require "sipeat.core.kafka"
local host = require "sipeat.console_host"
local json = require "sipeat.json"
local lag = require "sipeat.console_lag"
local sys = require "sipeat.core.sys"
local topics = require "sipeat.console_topics"

local M = {}

-- What is known of the cluster; it may not answer.
local function cluster_of(limits)
  local found, message = cluster.glance()
  local out = { brokers = core.brokers(), connected = found ~= nil, embedded = false }
  if found then
    out.id, out.embedded, out.nodes = found.id, found.embedded, #found.brokers
  else
    limits[#limits + 1] = "the cluster does not answer: " .. message
  end
  return out
end

local function session(req)
  local limits, chains = json.array {}, require "sipeat.chains"
  local with_script = not host.is_alone()
  return {
    user = { name = req.user.name, role = req.user.role, via = req.user.via },
    csrf = req.user.csrf or json.null,
    program = { version = sys.version, mode = host.mode },
    cluster = cluster_of(limits), limits = limits,
    features = {
      flows = with_script, machines = with_script, scripts = with_script,
      chains = with_script and chains.is_open(), audit = access.may(req.user, "admin"),
    },
  }
end

local function topic_sums(out, limits)
  local list, message = topics.list()
  if not list then
    limits[#limits + 1] = "topics: " .. message
    return
  end
  local sums = { count = #list, partitions = 0, messages = 0 }
  for _, topic in ipairs(list) do
    sums.partitions = sums.partitions + topic.partitions
    sums.messages = sums.messages + topic.messages
  end
  out.topics = sums
end

local function group_sums(out, limits)
  local groups, told = lag.groups()
  if not groups then
    limits[#limits + 1] = "groups: " .. told
    return
  end
  local sums = { count = 0, lag = 0 }
  for _, group in pairs(groups) do
    sums.count, sums.lag = sums.count + 1, sums.lag + group.lag
  end
  out.groups = sums
  table.move(told, 1, #told, #limits + 1, limits)
end

local function overview()
  local limits = json.array {}
  local out = { at = sys.iso_time(), cluster = cluster_of(limits), limits = limits }
  if out.cluster.connected then -- else each of them would wait for nothing
    topic_sums(out, limits)
    group_sums(out, limits)
  end
  for _, name in ipairs { "flows", "letters", "chains", "machines", "scripts" } do
    require("sipeat.console_" .. name).summarize(out, limits)
  end
  return out
end

local function audit(req)
  local max, message, code = api.integer(req.query.max, "max", 100, 1000)
  local before
  if max then
    before, message, code = api.integer(req.query.before, "before", math.maxinteger)
  end
  if not before then
    return nil, message, code
  end
  local rows
  rows, message, code = access.audited {
    max = math.min(max + 1, 1000), before = before, who = req.query.who, what = req.query.what,
  }
  if not rows then
    return nil, message, code
  end
  local more = #rows > max
  rows[max + 1] = nil
  for _, row in ipairs(rows) do
    row.fields = row.fields or {}
  end
  return { available = true, rows = json.array(rows), more = more }
end

function M.routes()
  api.route("GET session", "viewer", session)
  api.route("GET overview", "viewer", overview)
  api.route("GET audit", "admin", audit)
end

return M
