---@meta sipeat.seal
error "sipeat.seal: this file describes the module to an editor; it is not run"

---Sealed texts: closed by whoever has the key that seals, read by whoever has the one that opens.
---@class sipeat.seal
local M = {}

---@class sipeat.seal.ConfigureOptions
---@field keys? string|sipeat.Secret lines "<id> seal <base64>" and "<id> open <base64>"
---@field file? string a file of such lines

---@param options sipeat.seal.ConfigureOptions
function M.configure(options) end

---@param value any
---@return boolean
function M.is(value) end

---@return { newest: string?, seals: string[], opens: string[] }? keys
---@return string? message
---@return string? code
function M.keys() end

---@param text string
---@return string? sealed
---@return string? message
---@return string? code "NO_KEY"
function M.close(text) end

---@param sealed string
---@return string? text
---@return string? message
---@return string? code "NO_KEY", "BAD_DATA"
function M.open(sealed) end

return M
