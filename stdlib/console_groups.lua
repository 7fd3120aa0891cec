--- Consumer groups: which there are and how far behind, one with members and partitions, and moving
--- one.
local api = require "sipeat.console_api"
local cluster = require "sipeat.console_cluster"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local lag = require "sipeat.console_lag"
local opts = require "sipeat.opts"

local M = {}

local NO_MEMBERS = "members: an embedded broker does not tell them"

local function topics_of(group)
  local names = {}
  for _, at in ipairs(group.offsets) do
    names[at.topic] = true
  end
  return json.array(opts.names(names))
end

--- { name, state, members, lag, topics, ours } of each, by name.
function M.summaries(groups)
  local list = json.array {}
  for i, name in ipairs(opts.names(groups)) do
    local one = groups[name]
    list[i] = {
      name = name, state = one.state, members = one.members, lag = one.lag,
      topics = topics_of(one), ours = one.ours,
    }
  end
  return list
end

local function list()
  local groups, limits, code = lag.groups()
  if not groups then
    return nil, limits, code
  end
  return { groups = M.summaries(groups), limits = limits }
end

-- topic -> partition -> id of the member that has it
local function owners_of(members)
  local owners = {}
  for _, member in ipairs(members) do
    for _, at in ipairs(member.partitions) do
      owners[at.topic] = owners[at.topic] or {}
      owners[at.topic][at.partition] = member.id
    end
  end
  return owners
end

local function topics_with(offsets, owners)
  local topics, by_name = json.array {}, {}
  for _, at in ipairs(offsets) do
    local topic = by_name[at.topic]
    if not topic then
      topic = { topic = at.topic, lag = 0, partitions = json.array {} }
      by_name[at.topic], topics[#topics + 1] = topic, topic
    end
    topic.lag = topic.lag + at.lag
    table.insert(topic.partitions, {
      partition = at.partition, committed = at.committed or json.null, low = at.low,
      high = at.high, lag = at.lag, member = owners[at.topic] and owners[at.topic][at.partition],
    })
  end
  return topics
end

local function members_of(name)
  local found, message, code = cluster.call("members", name)
  if found then
    for _, member in ipairs(found.members) do
      json.array(member.partitions)
      member.idle = #member.partitions == 0 -- there are more members than partitions
    end
    return found, json.array {}
  elseif code == "_UNSUPPORTED_FEATURE" then
    return { members = {} }, json.array { NO_MEMBERS }
  end
  return nil, message, code
end

local function show(req)
  local name = req.params.name
  local known, message, code = lag.groups()
  local group
  if known then
    group, message, code = cluster.call("describe_group", name)
  end
  if not group then
    return nil, message, code
  end
  local seen = known[name] or {}
  if not known[name] and group.state ~= "Stable" and #group.offsets == 0 then
    return nil, ("there is no group %s"):format(name), "NOT_FOUND"
  end
  local members, limits
  members, limits, code = members_of(name)
  if not members then
    return nil, limits, code
  end
  local topics, sum = topics_with(group.offsets, owners_of(members.members)), 0
  for _, topic in ipairs(topics) do
    sum = sum + topic.lag
  end
  return {
    name = name, state = seen.ours and seen.state or group.state, protocol = members.protocol,
    lag = sum, ours = seen.ours or false, members = json.array(members.members), topics = topics,
    history = lag.history(name), limits = limits,
  }
end

-- --- moving ---

local RESET = opts.spec("sipeat.console.reset", {
  topic = { "string", required = true },
  to = { "string", required = true },
  dry_run = { "boolean", default = false },
  confirm = { "string", default = "" },
})

local function check_target(to)
  if to == "beginning" or to == "end" or to:find "^offset:%d+$" or kafka.time_ms(to) then
    return true
  end
  return nil, "to is beginning, end, offset:N or a time such as 2026-01-31T12:00:00Z",
    "BAD_REQUEST"
end

-- A group that runs is left alone.
local function check_idle(name)
  local known, message, code = lag.groups()
  local group
  if known then
    group, message, code = cluster.call("describe_group", name)
  end
  if not group then
    return nil, message, code
  end
  local members = known[name] and known[name].ours and known[name].members or group.members
  if members > 0 then
    return nil, ("group %s has running members (%d): stop them first"):format(name, members), "BUSY"
  end
  return true
end

local function offsets_of(plan)
  local out = json.array {}
  for i, at in ipairs(plan) do
    out[i] = {
      topic = at.topic, partition = at.partition, committed = at.committed or json.null,
      target = at.target, low = at.low, high = at.high,
      lag = at.high and at.target and math.max(0, at.high - at.target) or nil,
    }
  end
  return out
end

local function reset(req)
  local name = req.params.name
  local o, message, code = api.body(req, RESET)
  local ok = o
  if ok then
    ok, message, code = check_target(o.to)
  end
  if ok and not o.dry_run then
    ok, message, code = api.confirmed(o.confirm, name)
  end
  if ok then
    ok, message, code = check_idle(name)
  end
  local plan
  if ok then
    plan, message, code = cluster.call("reset_group", {
      group = name, topic = o.topic, to = o.to, dry_run = true,
    })
    ok = plan
  end
  if ok and not o.dry_run then
    ok, message, code = api.audit(req, "group.reset", { group = name, topic = o.topic, to = o.to })
    if ok then
      ok, message, code = cluster.call("reset_group", {
        group = name, topic = o.topic, to = o.to,
      })
      lag.refresh()
    end
  end
  if not ok then
    return nil, message, code
  end
  return { group = name, dry_run = o.dry_run, offsets = offsets_of(plan.offsets) }
end

function M.routes()
  api.route("GET groups", "viewer", list)
  api.route("GET groups/:name", "viewer", show)
  api.route("POST groups/:name/offsets", "operator", reset)
end

return M
