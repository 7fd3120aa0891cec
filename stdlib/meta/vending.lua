---@meta sipeat.vending
error("type stubs: require \"sipeat.vending\" in a script instead")

--- Vending machines behind one interface, in the shape of a chain's step.
local M = {}

---@alias sipeat.vending.Proof "sensor"|"counter"|"none"

---@class sipeat.vending.AttachOptions
---@field machine string its id
---@field driver? string default "simulated"
---@field settings? table of the driver; default {}

---@class sipeat.vending.Args
---@field machine string
---@field slot integer|string

---@class sipeat.vending.Dispensed
---@field machine string
---@field slot integer|string
---@field approval string
---@field proof sipeat.vending.Proof
---@field dispensed_at string

---@class sipeat.vending.Device
---@field proof sipeat.vending.Proof
---@field dispense fun(self, slot, approval: string): sipeat.vending.Proof?, sipeat.Failure?
---@field counters fun(self): { total: integer, slots: table }?, string?, string?
---@field status fun(self): table

---@class sipeat.vending.Driver
---@field open function (machine, settings, device before?) -> device, or nil and a failure

--- Adds a driver for attach's option of that name.
---@param name string
---@param implementation sipeat.vending.Driver
function M.driver(name, implementation) end

--- Attaches a machine, or gives an attached one new settings; its approvals are kept.
---@param options sipeat.vending.AttachOptions
---@return true? ok
---@return sipeat.Failure? failure
function M.attach(options) end

---@param id string
---@return boolean was_attached
function M.detach(id) end

---@param id string
---@return boolean
function M.is_attached(id) end

---@return string[] ids
function M.machines() end

---@param id string
---@return { driver: string, proof_of_dispense: sipeat.vending.Proof }?
---@return sipeat.Failure? failure
function M.capabilities(id) end

---@param id string
---@return { online: boolean, state: string, slots: table }?
---@return sipeat.Failure? failure
function M.status(id) end

---@param id string
---@return { total: integer, slots: table }?
---@return any failure
function M.counters(id) end

--- Turns the motor, at most once for ctx.key.
---@param args sipeat.vending.Args
---@param ctx { key: string }
---@return sipeat.vending.Dispensed? result
---@return sipeat.Failure? failure
function M.dispense(args, ctx) end

--- How ctx.key ended; nil and a failure while that cannot be found out, but may be later.
---@param args sipeat.vending.Args
---@param ctx { key: string }
---@return "done"|"not_done"|"unknown"? verdict
---@return sipeat.vending.Dispensed|sipeat.Failure? result
function M.reconcile(args, ctx) end

return M
