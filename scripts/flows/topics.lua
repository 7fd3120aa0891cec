--- Creates the topics of the flows when they are missing.
local settings = require "flows.settings"
local topics = require "sipeat.topics"

local M = {}

local PARTITIONS = 3

--- Starts creating what is missing.
function M.create()
  local declared = {}
  for _, flow in ipairs { "contact", "request", "machine", "health", "notification" } do
    for _, name in ipairs(settings.topics[flow]) do
      declared[name] = { partitions = PARTITIONS }
    end
  end
  topics(declared)
end

return M
