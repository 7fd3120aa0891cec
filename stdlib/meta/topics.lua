---@meta sipeat.topics
error "sipeat.topics: this file describes the module to an editor; it is not run"

---Topics as a script declares them: `sipeat.topics { ["order-events"] = { partitions = 3 } }`.
---@class sipeat.topics
---@overload fun(topics: table<string, sipeat.topics.DeclareOptions>|string[]): table?
local M = {}

---@class sipeat.topics.DeclareOptions
---@field name string the topic's; the key in the table says it already
---@field partitions? integer default 3
---@field replication? integer copies of each record; default 0: what the broker says
---@field retention? string how long records are kept, as in "7d"; "forever"
---@field retention_size? string|integer most bytes of a partition, as in "1gb"
---@field compact? boolean keep the last record of each key; default false
---@field config? table<string, string> Kafka's own properties of a topic

---Makes topics that are missing, beside everything else; the log says where others differ.
---@param topics table<string, sipeat.topics.DeclareOptions>|string[]
---@return table? job nil on other workers than the first
function M.declare(topics) end

---For the program itself.
---@param create fun(name: string, partitions: integer): true?
function M.made_by(create) end

return M
