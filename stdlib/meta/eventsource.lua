---@meta sipeat.eventsource
error("type stubs: require \"sipeat.eventsource\" in a script instead")

---Event sourcing: aggregates whose state is made of their events, kept in SQL.
---@class sipeat.eventsource
local M = {}

---@alias sipeat.eventsource.Apply fun(state: any, data: any, event: table): any
---@alias sipeat.eventsource.Decide fun(state: any, args: any, id: string): table[]?, string?, any

---@class sipeat.eventsource.AggregateOptions
---@field name string of the kind; a stream is called name-id
---@field version? integer of the state's shape: snapshots of another one are not used; default 1
---@field snapshot? integer after so many events of a stream; 0: none; default 100
---@field topic? string where its events are published; none: nowhere
---@field mode? "binary"|"structured"|"plain"|"body" how they look there; default "plain"
---@field initial fun(id: string): any the state of one to which nothing has happened
---@field events table<string|sipeat.event.Definition, sipeat.eventsource.Apply>
---@field commands? table<string, sipeat.eventsource.Decide> default {}

---@class sipeat.eventsource.Aggregate

---Declares a kind of aggregate.
---@param options sipeat.eventsource.AggregateOptions
---@return sipeat.eventsource.Aggregate
function M.aggregate(options) end

---@class sipeat.eventsource.OpenOptions
---@field db string|sipeat.Secret a file of SQLite's, or the URL of a PostgreSQL database
---@field aggregates sipeat.eventsource.Aggregate[]

---@class sipeat.eventsource.ExecuteOptions
---@field command_id? string one that was executed before does nothing
---@field expected? integer the version that the stream must have
---@field trace? string a traceparent for its events

---@class sipeat.eventsource.Result
---@field stream string
---@field version integer
---@field repeated? true the command was executed before
---@field events? table[]
---@field state? any

---@class sipeat.eventsource.Store
local Store = {}

---@param name string of the aggregate
---@param id string
---@return any state
---@return integer|string version or the message
---@return string? code
function Store:load(name, id) end

---@param name string
---@param id string
---@param after integer? default 0
---@return table[]? events typed, at most 1,000
---@return string? message
---@return string? code
function Store:events(name, id, after) end

---@param name string
---@param id string
---@param command string
---@param args any
---@param options sipeat.eventsource.ExecuteOptions?
---@return sipeat.eventsource.Result? result
---@return string? message
---@return string? code "CONFLICT", "COMMAND_MISMATCH", "INVALID_EVENT", or the command's own
function Store:execute(name, id, command, args, options) end

---@return { waiting: integer, refused: integer, oldest_ms: integer }? status of what is published
---@return string? message
---@return string? code
function Store:status() end

function Store:close() end

---Opens a store of events; its relay publishes them in the background.
---@param options sipeat.eventsource.OpenOptions
---@return sipeat.eventsource.Store? store
---@return string? message
---@return string? code
function M.open(options) end

return M
