---@meta sipeat.resource
error("type stubs: require \"sipeat.resource\" in a script instead")

--- Routes of an API whose query and body are typed; what is wrong is said for each field, in
--- problem+json.
local M = {}

--- As http.route(spec, options, handler), of a handler that gets the request, with its typed query
--- in req.args, and the typed body when the options have one.
---@param spec string "POST /api/orders"
---@param options sipeat.http.RouteOptions
---@param handler fun(req: sipeat.http.Request, body: any): sipeat.http.Answer
function M.route(spec, options, handler) end

--- The answer to a request some of whose fields are wrong.
---@param problems { field: string, message: string, code: string }[]
---@param detail string?
---@param status integer? default 422
---@return sipeat.http.Answer
function M.refuse(problems, detail, status) end

--- The id of the event that a request leads to, the same each time it is sent: from its header
--- Idempotency-Key, or a new one.
---@param req sipeat.http.Request
---@param kind string keys of other kinds are others
---@return string? id
---@return sipeat.http.Answer? refusal of a key that is none
function M.event_id(req, kind) end

--- The event's id for a key: a UUID is one already.
---@param key string
---@param kind string
---@return string
function M.id_of_key(key, kind) end

return M
