---@meta sipeat.env
error "sipeat.env: this file describes the module to an editor; it is not run"

---Settings from the environment, and secrets.
---@class sipeat.env
local M = {}

---Prints as ***; only env.reveal gives its text.
---@class sipeat.Secret

---@param name string
---@param default string?
---@return string? value an empty variable counts as not set
function M.get(name, default) end

---Of NAME, of the file that NAME_FILE names, or of the credential NAME of systemd.
---@param name string
---@return sipeat.Secret?
function M.secret(name) end

---The value, or raises a permanent failure "NOT_CONFIGURED" with a hint.
---@param name string
---@param why string? what it is needed for
---@return string
function M.require(name, why) end

---@param text string
---@return sipeat.Secret
function M.conceal(text) end

---A text in which every secret's text (of 6 bytes or more) reads ***.
---@param text string
---@return string
function M.cover(text) end

---@param secret sipeat.Secret|string
---@return string text
function M.reveal(secret) end

---@param value any
---@return boolean
function M.is_secret(value) end

return M
