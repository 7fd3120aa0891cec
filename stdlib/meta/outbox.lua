---@meta sipeat.outbox
error("type stubs: require \"sipeat.outbox\" in a script instead")

--- The outbox: outputs that are safe on the local disk at once, and go on to the broker when it is
--- there. `sipeat.outbox{…}` sets it up while the script loads; `outbox = true` of a flow, of
--- sipeat.publish and of sipeat.kafka.producer uses it.
local M = {}

---@class sipeat.OutboxOptions
---@field path? string its file, unless --outbox or SIPEAT_OUTBOX name it; else sipeat-outbox.db
---@field max_bytes? string|integer of the records in it, the refused ones too; default "1gb"
---@field when_full? "refuse"|"wait"|"drop_oldest" what becomes of a record then; default "refuse"

---@class sipeat.OutboxStatus
---@field path string
---@field open boolean
---@field queued integer records that no broker has acknowledged
---@field queued_bytes integer
---@field refused integer records that the broker will never take: sipeat outbox list
---@field refused_bytes integer
---@field oldest_age_ms integer how long the oldest one queued has waited; 0 when none does
---@field put integer since the start: taken in
---@field sent integer acknowledged by a broker
---@field turned_away integer found no room
---@field refusals integer refused for good
---@field dropped integer lost to when_full = "drop_oldest"
---@field repeated integer sent again after a failure
---@field commits integer transactions on the disk, each of any number of records
---@field trouble? string why it cannot be written now

--- The same as calling the module.
---@param options sipeat.OutboxOptions?
function M.configure(options) end

--- What is in it, and what it did since the start; nil when this program has none.
---@return sipeat.OutboxStatus?
function M.status() end

return M
