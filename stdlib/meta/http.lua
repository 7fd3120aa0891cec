---@meta sipeat.http
error("type stubs: require \"sipeat.http\" in a script instead")

--- HTTP: requests to others, and routes that answer requests of others.
local M = {}

---@class sipeat.http.RequestOptions
---@field method? string default "GET"
---@field url sipeat.Secret|string http or https
---@field query? table<string, string|number|boolean|string[]> appended to the URL, encoded
---@field headers? table<string, string|number|sipeat.Secret|string[]>
---@field body? string one of body, json and form
---@field json? any written as JSON, with its content type
---@field form? table<string, string|number|boolean|string[]> written as a form
---@field timeout? string for all of it; default "30s"
---@field connect_timeout? string default "10s"
---@field max_body_bytes? string|integer of the answer: 8 MiB, and no limit for a stream
---@field redirects? integer how many are followed; default 0
---@field stream? fun(chunk: string): boolean? takes the body by pieces; false stops
---@field ca_file? string PEM file of trusted certificates, instead of the system's
---@field ca_dir? string

---@class sipeat.http.Response
---@field status integer
---@field headers table<string, string> by small letters; set-cookies are parted by "\n"
---@field body string
---@field stopped? boolean the stream function ended it
local Response = {}

--- The body as JSON: its value; or nil, message, "BAD_DATA".
---@return any value
---@return string? message
---@return string? code
function Response:json() end

--- A status of 200 to 299.
---@return boolean
function Response:ok() end

--- One request. Every answer of the server is a response, whatever its status. Codes:
--- ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EDNS, ETLS, TOO_BIG,
--- TOO_MANY_REDIRECTS, BAD_RESPONSE, INVALID_URL, BAD_DATA, EINVAL, QUEUE_FULL, ECANCELED.
---@param options sipeat.http.RequestOptions
---@return sipeat.http.Response? response
---@return string? message
---@return string? code
function M.request(options) end

---@param url sipeat.Secret|string
---@param options table? as for request, without method and url
---@return sipeat.http.Response? response
---@return string? message
---@return string? code
function M.get(url, options) end

---@param url sipeat.Secret|string
---@param options table? as for request, without method and url
---@return sipeat.http.Response? response
---@return string? message
---@return string? code
function M.post(url, options) end

---@param url sipeat.Secret|string
---@param options table? as for request, without method and url
---@return sipeat.http.Response? response
---@return string? message
---@return string? code
function M.put(url, options) end

---@param url sipeat.Secret|string
---@param options table? as for request, without method and url
---@return sipeat.http.Response? response
---@return string? message
---@return string? code
function M.patch(url, options) end

---@param url sipeat.Secret|string
---@param options table? as for request, without method and url
---@return sipeat.http.Response? response
---@return string? message
---@return string? code
function M.delete(url, options) end

--- Percent-encodes a part of a URL.
---@param text string
---@return string
function M.encode(text) end

--- name=value&… sorted by name; a list gives its name several times.
---@param fields table<string, string|number|boolean|string[]>
---@return string
function M.encode_form(fields) end

---@class sipeat.http.Request
---@field method string
---@field path string decoded, without the query
---@field params table<string, string> what ":name" stands for; "*" is the rest of the path
---@field query table<string, string>
---@field headers table<string, string> names in small letters
---@field body string
---@field remote string the address that is connected
---@field client string the client's address: behind a trusted proxy, whom it names
---@field secure boolean it came by TLS, to us or to a trusted proxy
---@field proxied boolean a trusted proxy is connected: what it says of the client counts
---@field target string path and query as they were sent
---@field id string request id: x-request-id, or made up
local Request = {}

--- The body as JSON: its value; or nil, message, "BAD_DATA".
---@return any value
---@return string? message
---@return string? code
function Request:json() end

--- The body as a form: name -> last value; or nil, message, "BAD_DATA".
---@return table<string, string>? fields
---@return string? message
---@return string? code
function Request:form() end

---@class sipeat.http.MultipartOptions
---@field max_parts? integer default 100
---@field max_part_bytes? integer|string default "8mb"

---@class sipeat.http.Part
---@field name string
---@field filename? string of a file
---@field type? string content type
---@field body string

---@class sipeat.http.Multipart
---@field fields table<string, string> name -> text; of those that are no files
---@field files table<string, sipeat.http.Part> name -> file
---@field parts sipeat.http.Part[] all of them in their order

--- A body of multipart/form-data; or nil, message, "BAD_DATA" | "TOO_BIG".
---@param options sipeat.http.MultipartOptions?
---@return sipeat.http.Multipart? form
---@return string? message
---@return string? code
function Request:multipart(options) end

---@class sipeat.http.Answer
---@field status? integer 200, or 204 without a body
---@field headers? table<string, string|number|string[]>
---@field body? string at most one of body, text, html, json and stream
---@field text? string
---@field html? string
---@field json? any
---@field stream? fun(write: fun(chunk: string): true?) writes the body by pieces

---@class sipeat.http.RouteOptions
---@field builtin? boolean survives a reload of the script; default false
---@field summary? string one line on what it does, for the API's document
---@field description? string more of it
---@field tags? string[] groups that it belongs to
---@field params? table<string, any> name of the path -> what it is: a type of a typed event's field
---@field query? table<string, any> name -> type, as in sipeat.event.define
---@field headers? table<string, any> request headers that count -> type, as query
---@field body? table a typed event, or a table of fields, that the body is
---@field answers? table<integer, any> status -> text, typed event or table of fields
---@field role? "viewer"|"operator"|"admin" who may ask: others get 401 or 403
---@field guard? fun(role: string, handler: function): function instead of access.guard
---@field max_body_bytes? integer|string of a request; default: the server's
---@field rate? string requests of one client, such as "5/m"; more get 429

---@class sipeat.http.Route: sipeat.http.RouteOptions
---@field method string
---@field path string

--- Answers requests of a method and path: http.route("GET /api/orders/:id", function(req) … end).
--- The options may also come before the handler: http.route("GET /x", { summary = "…" }, handler).
---@param spec string
---@param handler fun(req: sipeat.http.Request): sipeat.http.Answer|string|nil
---@param options sipeat.http.RouteOptions?
---@overload fun(spec: string, options: sipeat.http.RouteOptions, handler: function)
function M.route(spec, handler, options) end

---@class sipeat.http.AssetOptions
---@field builtin? boolean survives a reload of the script; default false
---@field headers? table<string, string> further ones of the answer
---@field type? string content type; default: by the name's ending

--- Serves a compiled-in file at `path`, where clients ask each time whether it changed, and at the
--- path that is returned, which has its hash in it and is kept for ever: for links in pages.
---@param path string "/console/app.js"
---@param name string of the file
---@param options sipeat.http.AssetOptions?
---@return string path "/console/app.0a1b2c3d4e5f.js"
function M.asset(path, name, options) end

--- Every route that is served, sorted by path, with what its options say.
---@return sipeat.http.Route[]
function M.routes() end

--- For the program itself: the user's routes are collected aside until the script has loaded.
function M.begin_routes() end

--- The collected routes take the place of the former ones.
function M.commit_routes() end

--- The collected routes are forgotten.
function M.rollback_routes() end

--- An answer of problem+json (RFC 9457).
---@param status integer
---@param detail string?
---@param fields table? further ones
---@return sipeat.http.Answer
function M.problem(status, detail, fields) end

--- An answer of server-sent events. `run` is stopped when the client is gone. `send` takes a text,
--- or {data =, event =, id =, retry =}; `write` takes lines of the protocol: ": still here\n\n".
---@param run fun(send: fun(event: any), write: fun(text: string))
---@return sipeat.http.Answer
function M.sse(run) end

---@class sipeat.http.ListenOptions
---@field max_head_bytes? string|integer of a request; "2kb" to "1mb", default "16kb"
---@field max_body_bytes? string|integer default "8mb"
---@field header_timeout? string default "10s"
---@field body_timeout? string default "60s"
---@field idle_timeout? string default "60s"
---@field max_connections? integer default 1024
---@field max_per_client? integer connections of one client; default 512
---@field rate? string requests of one client, such as "100/s"; more get 429; default: any number
---@field proxies? string[] networks whose x-forwarded-for and x-forwarded-proto count
---@field tls_cert? string file with the certificate and its chain, PEM: serves https
---@field tls_key? string file with the key, PEM

---@class sipeat.http.Server
---@field address string such as "127.0.0.1:3000"
---@field host string
---@field port integer
---@field url string
local Server = {}

--- Takes no more requests, waits for those under way, and ends.
---@param grace string? default "10s"
---@return true? ok
---@return string? message
---@return string? code
function Server:stop(grace) end

---@return integer
function Server:connections() end

--- Opens a server for the routes. `sipeat run` and `sipeat dev` do it by themselves (--http).
---@param address string "127.0.0.1:3000"; port 0 takes any free one
---@param options sipeat.http.ListenOptions?
---@return sipeat.http.Server? server
---@return string? message
---@return string? code "EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "EINVAL", "ENOENT"
function M.listen(address, options) end

return M
