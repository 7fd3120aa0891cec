---@meta sipeat.relay
error "sipeat.relay: this file describes the module to an editor; it is not run"

---Events that are published together with what changed in a database, or not at all.
local M = {}

---@class sipeat.relay.NewOptions
---@field db sipeat.sql.Db SQLite or PostgreSQL
---@field table? string of the events that wait; default "outbox"
---@field every? string how long an event waits at most without wake; default "1s"
---@field batch? integer rows that are read at once; default 500
---@field lease? string PostgreSQL: how long a relay that died keeps others away; default "5s"

---@class sipeat.Relay
local Relay = {}

---Makes the tables, when they are missing, and begins to send.
---@return true? ok
---@return string? message
---@return string? code
function Relay:start() end

---Ends it.
function Relay:stop() end

---Puts an event into the table, as a part of the transaction.
---@param tx sipeat.sql.Tx
---@param kind sipeat.EventDefinition|string
---@param data any
---@param options? sipeat.PublishOptions
---@return string? id of the event; or nil
---@return string? message
---@return string? code
function Relay:add(tx, kind, data, options) end

---As add, of an event that is made.
---@param tx sipeat.sql.Tx
---@param ev table
---@param topic string
---@param mode? "binary"|"structured"|"plain"|"body"
---@return string? id
---@return string? message
---@return string? code
function Relay:put(tx, ev, topic, mode) end

---Sends what waits, now, without waiting for it.
function Relay:wake() end

---@class sipeat.relay.Status
---@field waiting integer events in the table
---@field oldest_ms integer how long the oldest one has waited
---@field refused integer events that Kafka refused for good
---@field sent integer since the start

---@return sipeat.relay.Status? status
---@return string? message
---@return string? code
function Relay:status() end

---A relay that has not begun; it ends with this version of the script.
---@param options sipeat.relay.NewOptions
---@return sipeat.Relay
function M.new(options) end

---What the tables of all relays of this worker that send have, by name; of two of one name the
---larger figures. A database that does not answer is left out.
---@return table<string, sipeat.relay.Status>
function M.tables() end

return M
