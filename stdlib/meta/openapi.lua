---@meta sipeat.openapi
error("type stubs: require \"sipeat.openapi\" in a script instead")

--- The document of an HTTP API (OpenAPI 3.1), made from what its routes say of themselves.
local M = {}

---@class sipeat.openapi.DocumentOptions
---@field title string
---@field version? string the release, unless given
---@field description? string
---@field server? string default "/"
---@field routes? sipeat.http.Route[] those of http.routes() unless given

--- The document as a table for sipeat.json: of the routes that have a summary.
---@param options sipeat.openapi.DocumentOptions
---@return table
function M.document(options) end

--- Serves the document at `path`, made from the routes that there are when it is asked for.
---@param options sipeat.openapi.DocumentOptions
---@param path string? default "/openapi.json"
function M.serve(options, path) end

return M
