---@meta sipeat.sentry
error "sipeat.sentry: this file describes the module to an editor; it is not run"

---Errors to Sentry. With SENTRY_DSN set, dead letters, parked events and routes that raised are
---reported by themselves. See docs/errors.md.
---@class sipeat.sentry
local M = {}

---@class sipeat.sentry.CaptureOptions
---@field tags? table<string, string|number|boolean> short texts to search by; default {}
---@field extra? table<string, any> what else is worth knowing; default {}
---@field level? "fatal"|"error"|"warning"|"info"|"debug" default "error"
---@field fingerprint? string[] what is the same in all reports that belong together
---@field transaction? string what was tried

---Reports an error: what pcall caught, a failure, a text. Never waits.
---@param err any
---@param options? sipeat.sentry.CaptureOptions
---@return string? id at Sentry; nil when it is not reported: no DSN, no room, a limit
function M.capture(err, options) end

---Is SENTRY_DSN set, and can it be used?
---@return boolean
function M.enabled() end

---The address and the key that a DSN names.
---@param dsn string
---@return { url: string, key: string }? target
---@return string? message
function M.parse(dsn) end

---Are reports limited by Sentry now?
---@return boolean
function M.is_limited() end

---For the program itself.
---@param response sipeat.http.Response
---@return boolean
function M.note_limits(response) end

---For the program itself: an event has failed for good, or was parked.
---@param job table
---@param why sipeat.Failure
function M.event_failed(job, why) end

---For the program itself: a route's handler has raised.
---@param method string
---@param path string
---@param err any
function M.request_failed(method, path, err) end

return M
