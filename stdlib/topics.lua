--- Topics as a script declares them: made when they are missing, beside everything else, so that a
--- broker that does not answer yet delays nothing. What is there already stays as it is, and where
--- that is not what was declared, the log says so.
local background = require "sipeat.background"
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "topics"
local opts = require "sipeat.opts"
local sys = require "sipeat.core.sys"

local M = {}

local PAUSE_MS = 2000
local make_inside -- of the program that runs the script: makes a topic of a broker inside of it
local REFUSED = {
  TOPIC_AUTHORIZATION_FAILED = true, CLUSTER_AUTHORIZATION_FAILED = true, POLICY_VIOLATION = true,
  INVALID_REPLICATION_FACTOR = true, INVALID_CONFIG = true, INVALID_PARTITIONS = true,
}

-- A time such as "7d", or "forever".
local function check_retention(text)
  local ms, why = opts.duration_ms(text)
  if text ~= "forever" and not ms then
    return "is a time such as \"7d\" or \"forever\": " .. why
  end
end

local DECLARE = opts.spec("sipeat.topics.declare", {
  name = { "string", required = true },
  partitions = { "integer", default = 3, min = 1, max = 10000 },
  replication = { "integer", default = 0, min = 0, max = 100 },
  retention = { "string", check = check_retention },
  retention_size = { "size" },
  compact = { "boolean", default = false },
  config = { "table" },
})

-- Kafka's names for what was declared: text by property.
local function config_of(o)
  local config = {}
  for name, value in pairs(o.config or {}) do
    config[tostring(name)] = tostring(value)
  end
  if o.retention == "forever" then
    config["retention.ms"] = "-1"
  elseif o.retention then
    config["retention.ms"] = tostring(opts.duration_ms(o.retention))
  end
  if o.retention_size then
    config["retention.bytes"] = tostring(o.retention_size)
  end
  if o.compact then
    config["cleanup.policy"] = "compact"
  end
  return config
end

-- Says where a topic that is there differs from what was declared.
local function compare(topic)
  local admin = kafka.admin()
  local found = admin:describe_topic(topic.name)
  if found and #found.partitions ~= topic.partitions then
    log:warn(("the topic %s has %d partitions, and not %d as declared"):format(
      topic.name, #found.partitions, topic.partitions))
  end
  local settings = next(topic.config) and admin:topic_configuration(topic.name)
  for _, setting in ipairs(settings or {}) do
    local wanted = topic.config[setting.name]
    if wanted and wanted ~= setting.value then
      log:warn(("the topic %s has %s=%s, and not %s as declared"):format(
        topic.name, setting.name, tostring(setting.value), wanted))
    end
  end
end

-- Whether there is nothing more to try for this topic.
local function ensure(topic)
  local made, message, code = kafka.admin():create_topic(topic)
  if made then
    log:info(("created the topic %s"):format(topic.name), { partitions = made.partitions })
  elseif REFUSED[code] then
    log:warn(("the topic %s cannot be created: %s"):format(topic.name, message), { code = code })
  elseif code == "TOPIC_ALREADY_EXISTS" then
    compare(topic)
  else
    return false
  end
  return true
end

local function run(job, missing)
  while #missing > 0 do
    local left = {}
    for _, topic in ipairs(missing) do
      if not ensure(topic) then
        left[#left + 1] = topic
      end
    end
    missing = left
    if #missing > 0 and not job:rest(PAUSE_MS) then
      return
    end
  end
end

local function read(name, options)
  if type(options) == "string" then
    name, options = options, {}
  end
  local given = { name = name }
  for key, value in pairs(options) do
    given[key] = value
  end
  local o = DECLARE(given)
  return {
    name = o.name, partitions = o.partitions, replication = o.replication, config = config_of(o),
  }
end

--- Declares topics: names, or name = { partitions, replication, retention, retention_size, compact,
--- config }. Of several workers the first one makes them.
function M.declare(topics)
  if type(topics) ~= "table" or next(topics) == nil then
    error(("sipeat.topics: a table of topics is needed, got %s"):format(opts.show(topics)), 2)
  end
  local list = {}
  for _, key in ipairs(opts.names(topics)) do
    local options = topics[key]
    if options == nil then
      options = topics[math.tointeger(tonumber(key))]
    end
    list[#list + 1] = read(key, options)
  end
  if sys.worker > 1 then
    return nil
  end
  for _, topic in ipairs(list) do
    if make_inside then -- before a flow asks for it, which would make it with other partitions
      make_inside(topic.name, topic.partitions)
    end
  end
  return background.run("topics", function(job)
    run(job, list)
  end)
end

--- For the program itself: how a broker inside of it, if there is one, makes a topic at once.
function M.made_by(create)
  make_inside = create
end

return setmetatable(M, {
  __call = function(_, topics)
    return M.declare(topics)
  end,
})
