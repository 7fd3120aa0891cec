---@meta sipeat.analytics
error "sipeat.analytics: this file describes the module to an editor; it is not run"

---What users do, for a service that takes Segment's HTTP API. No call waits.
local M = {}

---@class sipeat.analytics.ConfigureOptions
---@field url? string the setting ANALYTICS_URL, else https://api.segment.io
---@field write_key? sipeat.Secret|string the setting ANALYTICS_WRITE_KEY
---@field flush? string how long the first call of a batch waits for others; default "5s"
---@field max_items? integer in the buffer; default 10000
---@field max_bytes? string|integer in the buffer; default "10mb"

---Sets address, key and buffer for this process, before the first call.
---@param options sipeat.analytics.ConfigureOptions
function M.configure(options) end

---@class sipeat.analytics.TrackOptions
---@field event string
---@field properties? table default {}
---@field user_id? string|integer this or anonymous_id is required
---@field anonymous_id? string
---@field timestamp? string RFC 3339; now when it is not given
---@field message_id? string made of the ctx when it is not given
---@field context? table default {}

---@class sipeat.analytics.IdentifyOptions
---@field traits? table default {}
---@field user_id? string|integer this or anonymous_id is required
---@field anonymous_id? string
---@field timestamp? string RFC 3339; now when it is not given
---@field message_id? string made of the ctx when it is not given
---@field context? table default {}

---@class sipeat.analytics.PageOptions
---@field name? string
---@field category? string
---@field properties? table default {}
---@field user_id? string|integer this or anonymous_id is required
---@field anonymous_id? string
---@field timestamp? string RFC 3339; now when it is not given
---@field message_id? string made of the ctx when it is not given
---@field context? table default {}

---@class sipeat.analytics.GroupOptions
---@field group_id string|integer
---@field traits? table default {}
---@field user_id? string|integer this or anonymous_id is required
---@field anonymous_id? string
---@field timestamp? string RFC 3339; now when it is not given
---@field message_id? string made of the ctx when it is not given
---@field context? table default {}

---@param options sipeat.analytics.TrackOptions
---@param ctx table? of a handler or step: a call that is made again has the same messageId
---@return boolean taken
---@return "full"|"too_big"|"not_configured"|nil why
function M.track(options, ctx) end

---@param options sipeat.analytics.IdentifyOptions
---@param ctx table? of a handler or step: a call that is made again has the same messageId
---@return boolean taken
---@return "full"|"too_big"|"not_configured"|nil why
function M.identify(options, ctx) end

---@param options sipeat.analytics.PageOptions
---@param ctx table? of a handler or step: a call that is made again has the same messageId
---@return boolean taken
---@return "full"|"too_big"|"not_configured"|nil why
function M.page(options, ctx) end

---@param options sipeat.analytics.GroupOptions
---@param ctx table? of a handler or step: a call that is made again has the same messageId
---@return boolean taken
---@return "full"|"too_big"|"not_configured"|nil why
function M.group(options, ctx) end

---Sends what waits, and waits until it is sent or given up, or the time (default "5s") is up.
---@param timeout? string
---@return true? ok
---@return string? message
---@return string? code
function M.flush(timeout) end

return M
