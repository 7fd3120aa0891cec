---@meta sipeat.capture
error("type stubs: require \"sipeat.capture\" in a script instead")

--- What would have left the machine, kept to be looked at. `sipeat dev` switches it on; elsewhere
--- it does nothing.
local M = {}

---@class sipeat.capture.EnableOptions
---@field limit integer? entries that are kept at most; default 2000
---@field max_bytes (string|integer)? size of all of them at most; default "32mb"
---@field page boolean? default true; false: entries are only kept, for tests

---@class sipeat.capture.Entry
---@field number integer
---@field kind string
---@field time string ISO 8601
---@field event_id string
---@field entry table

--- Keeps entries from now on, and gives the HTTP server the page and what looks like Discord and
--- Stripe.
---@param options sipeat.capture.EnableOptions?
function M.enable(options) end

--- Is there a page that shows them, as in `sipeat dev`?
---@return boolean
function M.enabled() end

--- Keeps an entry; returns at once. Kinds with a look of their own: discord, mail, payment, crm,
--- inventory, dispense, machine, notice. Secrets in it are shown as ***.
---@param kind string a word in small letters
---@param entry table
---@param event_id string? default: the entry's event_id, or the event that the task works on
---@return integer? number nil when capture is not enabled
function M.record(kind, entry, event_id) end

--- What is kept, newest first.
---@param kind string? only these
---@return sipeat.capture.Entry[]
function M.entries(kind) end

--- The entry of that number as JSON, or nil when it is no longer kept.
---@param number integer
---@return string?
function M.text(number) end

--- First and last number that is kept (last < first: none), how often everything was cleared, and
--- how many of each kind came since then.
---@return integer first
---@return integer last
---@return integer clears
---@return table<string, integer> counts
function M.state() end

--- Waits until an entry comes or everything is cleared.
---@param timeout string? duration
---@return true? ok
---@return string? message
---@return string? code "ETIMEDOUT" or "ECANCELED"
function M.wait(timeout) end

--- Forgets every entry. Numbers go on.
function M.clear() end

return M
