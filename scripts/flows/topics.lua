--- Creates the topics of the flows when they are missing, beside everything else: a broker that
--- does not answer yet delays nothing.
local background = require "sipeat.background"
local kafka = require "sipeat.kafka"
local log = require("sipeat.log").new "topics"
local settings = require "flows.settings"

local M = {}

local PARTITIONS = 3
local PAUSE_MS = 2000

local function names()
  local list = {}
  for _, flow in ipairs { "contact", "request", "machine", "health", "notification" } do
    table.move(settings.topics[flow], 1, #settings.topics[flow], #list + 1, list)
  end
  return list
end

-- Whether there is nothing more to try for this topic.
local function ensure(name)
  local ok, message, code = kafka.admin():create_topic { name = name, partitions = PARTITIONS }
  if ok then
    log:info("created the topic " .. name)
  elseif code == "TOPIC_AUTHORIZATION_FAILED" or code == "CLUSTER_AUTHORIZATION_FAILED" then
    log:warn(("the topic %s cannot be created: %s"):format(name, message))
  elseif code ~= "TOPIC_ALREADY_EXISTS" then
    return false
  end
  return true
end

local function run(job)
  local missing = names()
  while #missing > 0 do
    local left = {}
    for _, name in ipairs(missing) do
      if not ensure(name) then
        left[#left + 1] = name
      end
    end
    missing = left
    if #missing > 0 and not job:rest(PAUSE_MS) then
      return
    end
  end
end

--- Starts creating what is missing.
function M.create()
  background.run("topics", run)
end

return M
