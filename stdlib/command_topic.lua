--- `sipeat topic create|list|show|delete`.
local http = require "sipeat.http"
local json = require "sipeat.json"
local kafka = require "sipeat.kafka"
local output = require "sipeat.command_output"
local terminal = require "sipeat.core.terminal"

local M = {}

local OK, FAILED, BROKER = 0, 1, 4

local function internal(name)
  return name:find "^__" ~= nil
end

local function by_number(a, b)
  return a.id < b.id
end

local actions = {}

-- An embedded broker takes the number of partitions only from the process that runs it.
local function create_embedded(options)
  local url = ("http://%s/admin/topics"):format(options.embedded_http)
  local wanted = { name = options.name, partitions = options.partitions }
  local answer, message, code = http.post(url, { json = wanted })
  if not answer then
    return nil, message, code
  elseif not answer:ok() then
    local body = answer:json()
    local why = type(body) == "table" and body.error
    return nil, why or ("status %d"):format(answer.status), "FAILED"
  end
  return answer:json()
end

function actions.create(options)
  local made, message, code
  if options.embedded_http and options.partitions then
    made, message, code = create_embedded(options)
  else
    made, message, code = kafka.admin():create_topic {
      name = options.name, partitions = options.partitions, replication = options.replication,
      config = options.config,
    }
  end
  if not made then
    return nil, message, code
  end
  terminal.write(("created %s with %d partitions\n"):format(made.name, made.partitions))
  if options.partitions and options.partitions ~= made.partitions then
    local why = "sipeat topic create: an embedded broker gives every topic %d partitions"
    terminal.note(why:format(made.partitions))
  end
  return OK
end

function actions.list(options)
  local topics, message, code = kafka.admin():topics()
  if not topics then
    return nil, message, code
  end
  local rows = {}
  for _, topic in ipairs(topics) do
    local replicas = topic.partitions[1] and topic.partitions[1].replicas or 0
    if internal(topic.name) and not options.internal then
      replicas = nil
    end
    if replicas and options.json then
      output.json { name = topic.name, partitions = #topic.partitions, replicas = replicas }
    elseif replicas then
      rows[#rows + 1] = { output.printable(topic.name), #topic.partitions, replicas }
    end
  end
  if #rows > 0 then
    output.table({ "TOPIC", "PARTITIONS", "REPLICAS" }, rows)
  elseif not options.json then
    terminal.note "sipeat topic list: there are no topics"
  end
  return OK
end

-- The settings that are not the default ones, as `topic create --config` takes them. None where
-- they cannot be had: embedded brokers do not tell them, and reading them is a right of its own.
local function own_settings(name)
  local list = json.array {}
  for _, setting in ipairs(kafka.admin():topic_configuration(name) or {}) do
    if not setting.default then
      list[#list + 1] = { name = setting.name, value = setting.value }
    end
  end
  return list
end

function actions.show(options)
  local topic, message, code = kafka.admin():describe_topic(options.name)
  if not topic then
    return nil, message, code
  end
  table.sort(topic.partitions, by_number)
  local settings = own_settings(topic.name)
  if options.json then
    topic.configuration = settings
    output.json(topic)
    return OK
  end
  local rows = {}
  for i, partition in ipairs(topic.partitions) do
    local records = partition.high and partition.low and partition.high - partition.low
    rows[i] = {
      partition.id, partition.leader or "none", partition.replicas, partition.in_sync,
      partition.low or "?", partition.high or "?", records or "?",
    }
  end
  output.table({ "PARTITION", "LEADER", "REPLICAS", "IN SYNC", "FIRST", "NEXT", "RECORDS" }, rows)
  for _, setting in ipairs(settings) do
    terminal.write(output.printable(("%s=%s"):format(setting.name, setting.value)) .. "\n")
  end
  return OK
end

function actions.delete(options)
  local what = ("topic %s with all its records"):format(output.printable(options.name))
  if not options.yes and not output.confirm(what, options.name) then
    terminal.note "sipeat topic delete: nothing was deleted"
    return FAILED
  end
  local deleted, message, code = kafka.admin():delete_topic(options.name)
  if not deleted then
    return nil, message, code
  end
  terminal.write(("deleted %s\n"):format(output.printable(options.name)))
  return OK
end

--- Returns the exit code.
function M.run(options)
  local result, message, code = actions[options.action](options)
  if result then
    return result
  end
  terminal.note(("sipeat topic %s: %s"):format(options.action, message))
  return code == "ECANCELED" and FAILED or BROKER
end

return M
