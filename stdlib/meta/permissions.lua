---@meta sipeat.permissions
error "sipeat.permissions: this file describes the module to an editor; it is not run"

---What a script may reach. Called once, at the top of the script; what it does not name is refused
---from then on. "*" in a text stands for any text.
---@class sipeat.permissions
---@overload fun(needs: sipeat.PermissionsOptions)
local M = {}

---@class sipeat.PermissionsOptions
---@field hosts string[]? of requests and mail: "api.stripe.com", "*.example.org:8443"
---@field topics string[]? their dead letters and retries come with them
---@field groups string[]?
---@field paths string[]? files and folders to read and write
---@field reads string[]? files and folders to read
---@field ports string[]? serial ports, and addresses to listen on
---@field env string[]? variables of the environment

---Has the script said what it needs?
---@return boolean
function M.declared() end

---What the script has asked for while it loaded, by kind.
---@return table<string, string[]>
function M.uses() end

---The kinds, in the order in which they are shown.
---@type string[]
M.KINDS = {}

return M
