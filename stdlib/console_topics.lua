--- Topics: which there are, one with its partitions, configuration and groups; making and deleting.
local api = require "sipeat.console_api"
local cluster = require "sipeat.console_cluster"
local json = require "sipeat.json"
local lag = require "sipeat.console_lag"
local letters = require "sipeat.deadletter_list"
local opts = require "sipeat.opts"

local M = {}

local NO_SIZES = "sizes are not known: librdkafka 2.0.2 has no request for log directories"
local EMBEDDED_CONFIGURATION = "configuration: an embedded broker does not tell it"

local function is_internal(name)
  return name:sub(1, 2) == "__"
end

--- Messages of a topic of describe_topic: high minus low of its partitions.
function M.messages(topic)
  local sum = 0
  for _, one in ipairs(topic.partitions) do
    sum = sum + math.max(0, (one.high or 0) - (one.low or 0))
  end
  return sum
end

local function summary(topic)
  local replicas, under = 0, 0
  for _, one in ipairs(topic.partitions) do
    replicas = math.max(replicas, one.replicas)
    under = under + (one.in_sync < one.replicas and 1 or 0)
  end
  return {
    name = topic.name, partitions = #topic.partitions, replicas = replicas,
    under_replicated = under, messages = M.messages(topic), size_bytes = json.null,
    dead_letter = letters.is_topic(topic.name), internal = is_internal(topic.name),
  }
end

--- All topics, Kafka's own only with `internal`; or nil, message, code.
function M.list(internal)
  local topics, message, code = cluster.shared "describe_topics"
  if not topics then
    return nil, message, code
  end
  local list = json.array {}
  for _, topic in ipairs(topics) do
    if internal or not is_internal(topic.name) then
      list[#list + 1] = summary(topic)
    end
  end
  return list
end

local function list(req)
  local topics, message, code = M.list(req.query.internal == "1")
  if not topics then
    return nil, message, code
  end
  return { topics = topics, limits = json.array { NO_SIZES } }
end

local function settings_of(found)
  local out = json.array {}
  for i, one in ipairs(found) do
    out[i] = {
      name = one.name, value = one.value, default = one.default, read_only = one.read_only,
      sensitive = one.sensitive, source = one.source,
    }
  end
  return out
end

--- The configuration that a call of admin tells; json.null and what to say about it where it cannot
--- be had. nil, message, code.
function M.configuration(call, name)
  local found, message, code = cluster.call(call, name)
  if found then
    return settings_of(found)
  elseif code == "_UNSUPPORTED_FEATURE" then
    return json.null, EMBEDDED_CONFIGURATION
  elseif code == "TOPIC_AUTHORIZATION_FAILED" or code == "CLUSTER_AUTHORIZATION_FAILED"
    or code == "EAUTH" then
    return json.null, "configuration: " .. message
  end
  return nil, message, code
end

local function show(req)
  local topic, message, code = cluster.call("describe_topic", req.params.name)
  if not topic then
    return nil, message, code
  end
  local out = summary(topic)
  local limits = json.array { NO_SIZES }
  out.partitions = json.array {}
  for i, one in ipairs(topic.partitions) do
    out.partitions[i] = {
      id = one.id, leader = one.leader, replicas = one.replicas, in_sync = one.in_sync,
      low = one.low, high = one.high,
      messages = one.high and math.max(0, one.high - (one.low or 0)) or nil,
    }
  end
  out.configuration, message, code = M.configuration("topic_configuration", topic.name)
  if not out.configuration then
    return nil, message, code
  end
  limits[#limits + 1] = out.configuration == json.null and message or nil
  out.groups = lag.groups_of(topic.name)
  out.limits = limits
  return out
end

local CREATE = opts.spec("sipeat.console.create", {
  name = { "string", required = true },
  partitions = { "integer", default = 0, min = 0, max = 10000 },
  replication = { "integer", default = 0, min = 0, max = 100 },
  configuration = { "table", default = {} },
})

local function check_configuration(given)
  for name, value in pairs(given) do
    if type(name) ~= "string" or type(value) == "table" then
      return nil, "configuration is an object of texts and numbers", "BAD_REQUEST"
    end
  end
  return true
end

local function create(req)
  local o, message, code = api.body(req, CREATE)
  local ok = o
  if ok then
    ok, message, code = check_configuration(o.configuration)
  end
  if ok then
    ok, message, code = api.audit(req, "topic.create", {
      name = o.name, partitions = o.partitions, configuration = o.configuration,
    })
  end
  if not ok then
    return nil, message, code
  end
  local made
  made, message, code = cluster.call("create_topic", {
    name = o.name, partitions = o.partitions, replication = o.replication,
    config = o.configuration,
  })
  cluster.changed()
  if not made then
    return nil, message, code
  end
  return api.with_status(201, made)
end

local DELETE = opts.spec("sipeat.console.delete", {
  confirm = { "string", default = "" },
})

local function delete(req)
  local name = req.params.name
  local o, message, code = api.body(req, DELETE)
  local ok = o
  if ok then -- before the name is asked for: it cannot be done at all
    ok, message, code = cluster.call("describe_topic", name)
  end
  if ok then
    local embedded
    embedded, message, code = cluster.is_embedded()
    ok = embedded == false or nil
    if embedded then
      message, code = "an embedded broker cannot delete topics: restart it", "UNSUPPORTED"
    end
  end
  if ok then
    ok, message, code = api.confirmed(o.confirm, name)
  end
  if ok then
    ok, message, code = api.audit(req, "topic.delete", { name = name })
  end
  if ok then
    ok, message, code = cluster.call("delete_topic", name)
    cluster.changed()
  end
  if not ok then
    return nil, message, code
  end
  return { deleted = true }
end

-- --- brokers ---

local function brokers()
  local found, message, code = cluster.shared "cluster"
  if not found then
    return nil, message, code
  end
  local list_of, limits = json.array {}, json.array {}
  for i, one in ipairs(found.brokers) do
    list_of[i] = {
      id = one.id, host = one.host, port = one.port, leaders = one.leaders,
      replicas = one.replicas, controller = one.id == found.controller,
    }
  end
  if found.embedded then
    limits[1] = "this is the broker inside of this or another sipeat: it keeps events in memory"
  end
  return {
    id = found.id, controller = found.controller, embedded = found.embedded, brokers = list_of,
    limits = limits,
  }
end

local function broker(req)
  local id, message, code = api.integer(req.params.id, "the broker's id", nil, (1 << 31) - 1)
  local found
  if id then
    found, message, code = cluster.shared "cluster"
  end
  if not found then
    return nil, message, code
  end
  for _, one in ipairs(found.brokers) do
    if one.id == id then
      local configuration
      configuration, message, code = M.configuration("broker_configuration", id)
      if not configuration then
        return nil, message, code
      end
      local limits = json.array { configuration == json.null and message or nil }
      return { id = id, configuration = configuration, limits = limits }
    end
  end
  return nil, ("there is no broker %d"):format(id), "NOT_FOUND"
end

function M.routes()
  api.route("GET topics", "viewer", list)
  api.route("POST topics", "operator", create)
  api.route("GET topics/:name", "viewer", show)
  api.route("DELETE topics/:name", "admin", delete)
  api.route("GET brokers", "viewer", brokers)
  api.route("GET brokers/:id", "viewer", broker)
end

return M
