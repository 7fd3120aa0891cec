---@meta sipeat.cloudevents
error "sipeat.cloudevents: this file describes the module to an editor; it is not run"

---CloudEvents 1.0 over HTTP.
local M = {}

---@class sipeat.cloudevents.ToRequestOptions
---@field mode? "binary"|"structured" default "binary"
---@field content_type? string of data that is a string and not JSON

---@class sipeat.cloudevents.SendOptions
---@field mode? "binary"|"structured"|"batch" default "binary"
---@field content_type? string of data that is a string and not JSON
---@field headers? table<string, string|sipeat.Secret> further ones; default {}
---@field timeout? string default "10s"

---The event of a binary or structured request; or nil, message, "BAD_DATA".
---@param req sipeat.http.Request
---@return sipeat.Event? event
---@return string? message
---@return string? code
function M.from_request(req) end

---The events of a request of any mode: all or none.
---@param req sipeat.http.Request
---@return sipeat.Event[]? events
---@return string? message
---@return string? code
function M.all_from_request(req) end

---The attributes of an event as CloudEvents name them, extensions included.
---@param event sipeat.Event
---@return table<string, any>
function M.attributes(event) end

---An event as a request, for http.post.
---@param event sipeat.Event
---@param options? sipeat.cloudevents.ToRequestOptions
---@return { headers: table<string, string>, body: string }? request
---@return string? message
---@return string? code
function M.to_request(event, options) end

---Events as one request.
---@param events sipeat.Event[]
---@return { headers: table<string, string>, body: string }? request
---@return string? message
---@return string? code
function M.to_batch(events) end

---Posts an event, or a list of them in the mode "batch".
---@param url string|sipeat.Secret
---@param event sipeat.Event|sipeat.Event[]
---@param options? sipeat.cloudevents.SendOptions
---@return sipeat.http.Response? response
---@return sipeat.Failure? why
function M.send(url, event, options) end

return M
