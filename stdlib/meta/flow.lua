---@meta sipeat.flow
error("type stubs: require \"sipeat.flow\" in a script instead")

--- Flows: a consumer group, its topics, and the handlers of their events. `sipeat.flow{…}` declares
--- one while the script loads.
local M = {}

---@alias sipeat.Handler fun(event: sipeat.Event, ctx: sipeat.Context): any, any, string?

---@class sipeat.flow.RetryOptions
---@field attempts? integer in all, the first one included; default 5
---@field backoff? string[] first and longest pause; doubles in between; default { "200ms", "30s" }
---@field budget? string|sipeat.RetryBudgetOptions a retry budget, by name or declared here
---@field topics? string[] delays, as { "10s", "1m" }: retried later, from topics of their own

---@class sipeat.flow.BudgetOptions
---@field instructions? integer of the VM, in one attempt; default 50000000
---@field memory? string|integer allocated in one attempt, freed or not; default "64mb"
---@field time? string longest stretch without waiting; default "5s"

---@class sipeat.flow.BatchOptions
---@field events? integer a transaction takes no more once so many were started; default 1000
---@field time? string nor after that time; default "100ms"

---@class sipeat.flow.HoldOptions
---@field time? string longest time that a failing event holds its key; default "5m"
---@field followers? integer most events of the key that wait for it; default 1000

---@class sipeat.FlowOptions
---@field topic? string a name, or a pattern that begins with ^
---@field topics? string[] several of them
---@field group string consumer group
---@field from? string where a new group begins: "beginning", "end" or RFC 3339; default "beginning"
---@field instance? string static membership: the name that this member keeps across restarts
---@field key? string what keeps its order: "header:NAME" or "data.path"; none: the record's key
---@field order? "key"|"partition"|"none" default "key"
---@field concurrency? integer events that run at once; default 64
---@field max_in_flight? integer events taken and not finished; default 16384
---@field max_bytes? string|integer keys and values taken and not finished; default "64mb"
---@field timeout? string longest time of an attempt; without it as long as it takes
---@field retry? sipeat.flow.RetryOptions default { attempts = 5, backoff = { "200ms", "30s" } }
---@field hold? sipeat.flow.HoldOptions default { time = "5m", followers = 1000 }
---@field after_dead? "continue"|"hold" what a key does after a dead letter; default "continue"
---@field budget? sipeat.flow.BudgetOptions what an attempt may spend before it fails alone
---@field deaths? integer of processes, while it ran, that make a dead letter of it; default 3
---@field dead_letter? boolean|string true: "<topic>-dlt"; a name; false: log, drop; default true
---@field outbox? boolean outputs go through the local disk (sipeat.outbox); default false
---@field park? boolean|string how long before a letter that fails goes to a file; default false
---@field transactional? boolean outputs and offsets leave in one transaction; default false
---@field journal? boolean what its handlers do is kept in the journal; default true
---@field batch? sipeat.flow.BatchOptions default { events = 1000, time = "100ms" }
---@field on table<sipeat.Definition|string, sipeat.Handler> handlers by type; "*" takes the others
---@field on_dead? fun(event: sipeat.Event, failure: sipeat.Failure, ctx: table) after a dead letter

---@class sipeat.Outcome
---@field status "done"|"dead"|"parked" parked: somebody has to decide on the chain
---@field event sipeat.Event
---@field result any of the handler, when done
---@field failure? sipeat.Failure when dead
---@field attempts integer
---@field duration_ms number from the first attempt on
---@field run? integer of the journal, where the event has one

---@class sipeat.Context
---@field id string of the event
---@field key string idempotency key: the event's id, in a step also the step's name
---@field attempt integer 1 for the first
---@field final boolean nobody tries again after this attempt
---@field memory table lives across the attempts of this event
---@field results table<string, any> of earlier steps, in a chain
---@field deadline? number when this attempt ends by the flow's timeout, on task.monotonic_ms
---@field trace? string W3C traceparent
---@field log sipeat.Logger
---@field flow string the consumer group
local Context = {}

--- Queues one output; the event is not finished before it is acknowledged. Waits while the
--- producer's queue is full.
---@param topic string
---@param key string?
---@param value string|table|nil a table is written as JSON
---@param headers table<string, string>|{[1]: string, [2]: string?}[]?
---@return true? ok
---@return string? message
---@return string? code librdkafka's, as "MSG_SIZE_TOO_LARGE"
function Context:emit(topic, key, value, headers) end

--- Emits an event to its topic.
---@param event sipeat.Event
---@return true? ok
---@return string? message
---@return string? code
function Context:publish(event) end

---Waits. With a journal a sleep of 10 s or more costs no memory but a row: the handler ends here
---and begins again when it is over, also after a restart; what it must not do twice is a step.
---@param duration string
---@return true? ok
---@return string? message
---@return string? code "ECANCELED"
function Context:sleep(duration) end

---@class sipeat.WaitOptions
---@field timeout? string how long, as in "1h"; without it for ever

---Waits, in the same way, until sipeat.signal(name, key, body) says that something has happened.
---@param name string
---@param key string
---@param options? sipeat.WaitOptions
---@return any body nil when it did not come
---@return string? message
---@return string? code "TIMEOUT", or "NO_JOURNAL"
function Context:wait(name, key, options) end

--- Calls f(outcome) once, in a task of its own, when the event is done or dead. What an earlier
--- attempt registered is forgotten.
---@param f fun(outcome: sipeat.Outcome)
function Context:on_end(f) end

---@param options sipeat.FlowOptions
function M.flow(options) end

--- What a flow is to the program, its options with their defaults, and its key; declares nothing.
---@param options sipeat.FlowOptions
---@param level integer whom an error blames: 1 is the caller
---@return table flow
---@return table options
---@return string? key_header
---@return function? key_of
function M.define(options, level) end

---@class sipeat.FlowStatus
---@field group string
---@field assigned boolean
---@field draining boolean
---@field partitions integer
---@field running integer
---@field waiting integer
---@field later integer of these: in retry topics, and not due
---@field bytes integer of keys and values, of what is taken and not later: what max_bytes is for
---@field taken integer
---@field finished integer done or dead
---@field dead integer
---@field unfinished integer
---@field redelivered integer attempts after the first, and outputs that were emitted again
---@field skipped integer events that came again though they were finished, and were passed over
---@field committed integer transactions
---@field aborted integer transactions
---@field error? string

--- What the engine says of each flow, and whether all of them are ready.
---@return sipeat.FlowStatus[] flows
---@return boolean ready
function M.status() end

return M
