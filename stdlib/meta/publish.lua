---@meta sipeat.publish
error "sipeat.publish: this file describes the module to an editor; it is not run"

---Publishing events.
---@class sipeat.publish
local M = {}

---@class sipeat.PublishOptions
---@field topic? string where to; else the definition's
---@field key? string else the definition's key of the data
---@field headers? table<string, string>
---@field id? string
---@field source? string
---@field trace? string
---@field attributes? table<string, any>
---@field outbox? boolean safe on the local disk is enough (sipeat.outbox); default false
---@field mode? "binary"|"structured"|"plain"|"body"

---@class sipeat.PublishReport
---@field topic string
---@field partition? integer
---@field offset? integer
---@field queued? true it is in the outbox, and has no partition and offset yet
---@field id string

---@param kind sipeat.EventDefinition|string
---@param data any
---@param options sipeat.PublishOptions?
---@return sipeat.PublishReport?
---@return string? message
---@return string? code "INVALID_EVENT", "BAD_DATA" or one of the broker
function M.publish(kind, data, options) end

---Writes an event that was made before.
---@param ev sipeat.Event
---@param topic string
---@param mode "binary"|"structured"|"plain"|"body"|nil
---@param outbox boolean?
---@return sipeat.PublishReport?
---@return string? message
---@return string? code
function M.send(ev, topic, mode, outbox) end

---An event as publish would send it, which is not sent.
---@param kind sipeat.EventDefinition|string
---@param data any
---@param options sipeat.PublishOptions?
---@return sipeat.Event? event
---@return string topic or the message
---@return string? mode or the code
---@return boolean? outbox
function M.make(kind, data, options) end

return M
