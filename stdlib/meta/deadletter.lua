---@meta sipeat.deadletter
error("type stubs: require \"sipeat.deadletter\" in a script instead")

--- Dead letters: where an event goes that cannot be processed, with the reason beside it.
local M = {}

---@class sipeat.Letter
---@field record sipeat.Record
---@field event? sipeat.Event as far as it could be read
---@field failure sipeat.Failure
---@field attempts? integer
---@field first_failed_ms? integer since 1970-01-01 UTC; none: now
---@field failed_ms? integer since 1970-01-01 UTC; none: now
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

--- Writes a letter to a local file instead, with everything that its replay needs.
---@param letter sipeat.Letter
---@return string? path
---@return string? message
---@return string? code
function M.park(letter) end

---@class sipeat.deadletter.FilterOptions
---@field topic? string the dead-letter topic
---@field parked? boolean letters in files of this machine instead; default false
---@field directory? string where these files are; none: SIPEAT_PARK_DIR
---@field reason? string code, or a Java exception's name
---@field type? string of the event
---@field group? string consumer group
---@field since? integer failed since then, ms since 1970-01-01 UTC
---@field max? integer at most so many: the newest

---@class sipeat.DeadLetter
---@field id string "topic:partition:offset", or "parked:name"
---@field topic string the dead-letter topic
---@field partition integer
---@field offset integer
---@field record sipeat.Record as it was read
---@field reason string code, or a Java exception's name
---@field kind? string
---@field message? string
---@field stacktrace? string
---@field type? string of the event
---@field event_id? string
---@field group? string
---@field attempts? integer
---@field failed_ms? integer
---@field first_failed_ms? integer
---@field replayed integer how often the event had been replayed before it failed
---@field original_topic? string
---@field original_partition? integer
---@field original_offset? integer
---@field original_timestamp? integer

--- Letters that fit, the newest last.
---@param options sipeat.deadletter.FilterOptions
---@return sipeat.DeadLetter[]? letters
---@return string? message
---@return string? code
function M.list(options) end

---@class sipeat.deadletter.ReplayOptions
---@field topic? string the dead-letter topic
---@field parked? boolean letters in files of this machine instead; default false
---@field directory? string where these files are; none: SIPEAT_PARK_DIR
---@field reason? string code, or a Java exception's name
---@field type? string of the event
---@field group? string consumer group
---@field since? integer failed since then, ms since 1970-01-01 UTC
---@field max? integer at most so many: the oldest
---@field rate? string no faster than that, as "100/s"
---@field limit? integer events that were replayed so often are refused; default 3
---@field again? boolean also letters that were replayed before; default false
---@field dry_run? boolean change nothing; default false
---@field on_letter? fun(letter: sipeat.DeadLetter, outcome: string, why: string?, report: table?)
---@field on_progress? fun(counts: sipeat.ReplayCounts)
---@field partition? integer with offset: only the letter at that place
---@field offset? integer
---@field change? fun(record: table): table the record to send in its place

---@class sipeat.ReplayCounts
---@field replayed integer
---@field skipped integer replayed before
---@field refused integer replayed too often
---@field failed integer
---@field seen integer letters looked at
---@field total integer letters that are there

--- Replays letters that fit: back to their topics, each one once.
---@param options sipeat.deadletter.ReplayOptions
---@return sipeat.ReplayCounts? counts
---@return string? message
---@return string? code
---@return sipeat.ReplayCounts? counts until then, when it failed
function M.replay(options) end

---@class sipeat.DeadLetterStatus
---@field waiting integer letters on their way, whose events are not finished
---@field late integer of these, letters that wait for more than ten seconds
---@field oldest_ms integer
---@field written integer
---@field failures integer tries that failed
---@field parked integer
---@field message? string why the last try failed, while any letter waits

--- What is known of letters that wait for being written.
---@return sipeat.DeadLetterStatus
function M.status() end

--- Writes the dead letter and tries until it is written. False when the task was stopped meanwhile.
---@param letter sipeat.Letter
---@return boolean
function M.write(letter) end

return M
