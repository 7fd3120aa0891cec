---@meta sipeat.vending_sim
error("type stubs: require \"sipeat.vending_sim\" in a script instead")

--- The driver "simulated" of sipeat.vending.
local M = {}

---@class sipeat.vending_sim.Settings
---@field proof? sipeat.vending.Proof default "sensor"
---@field slots table<integer, integer> stock by slot
---@field dispense_time? string default "300ms"
---@field recovery_time? string default "2s": how long it stays silent after going down
---@field file? string where its world is kept, for whoever comes after a crash

---@class sipeat.vending_sim.FaultOptions
---@field kind "jam"|"empty"|"offline"|"die_before"|"die_after"
---@field slot? integer|string default: whichever is commanded next
---@field times? integer default 1

--- Are these settings of a machine?
---@param settings sipeat.vending_sim.Settings
---@return true? ok
---@return string proof or what is wrong
function M.check(settings) end

---@param machine string
---@param settings sipeat.vending_sim.Settings
---@param before sipeat.vending.Device?
---@return sipeat.vending.Device
function M.open(machine, settings, before) end

--- The next commands to a machine go wrong.
---@param machine string
---@param options sipeat.vending_sim.FaultOptions
---@return true? ok
---@return string? message
---@return string? code
function M.fault(machine, options) end

return M
