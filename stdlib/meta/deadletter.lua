---@meta sipeat.deadletter
error("type stubs: require \"sipeat.deadletter\" in a script instead")

--- Dead letters: where an event goes that cannot be processed, with the reason beside it.
local M = {}

---@class sipeat.Letter
---@field record sipeat.Record
---@field event? sipeat.Event as far as it could be read
---@field failure sipeat.Failure
---@field attempts? integer
---@field flow string consumer group
---@field topic? boolean|string true: "<topic>-dlt"

--- The dead-letter topic of a topic.
---@param topic string
---@param dead_letter boolean|string?
---@return string
function M.topic_of(topic, dead_letter) end

--- The original headers and, behind them, what is known of the failure.
---@param letter sipeat.Letter
---@return {[1]: string, [2]: string?}[]
function M.headers(letter) end

--- Tries once to write a dead letter; what was learned for the next try is kept in the letter.
---@param letter sipeat.Letter
---@param deliver? fun(message: table): any, string?, string? default: the process's producer
---@return any report what `deliver` answered: { topic, partition, offset } of the producer
---@return sipeat.Failure? why
function M.try(letter, deliver) end

--- What can be changed after a letter was refused, so that the next try may succeed, is changed.
---@param letter sipeat.Letter
---@param code string
---@return boolean changed
function M.refused(letter, code) end

--- Writes the dead letter and tries until it is written. False when the task was stopped meanwhile.
---@param letter sipeat.Letter
---@return boolean
function M.write(letter) end

return M
