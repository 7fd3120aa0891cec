---@meta sipeat.vending
error("type stubs: require \"sipeat.vending\" in a script instead")

--- Vending machines behind one interface, in the shape of a chain's step.
local M = {}

---@alias sipeat.vending.Proof "sensor"|"counter"|"none"

---@class sipeat.vending.AttachOptions
---@field machine string its id
---@field driver? string default "simulated"
---@field settings? table of the driver; default {}
---@field payment? sipeat.vending.PartOptions a reader of cards beside it
---@field audit? sipeat.vending.PartOptions what reads its books

---@class sipeat.vending.PartOptions
---@field driver string
---@field settings? table default {}

---@class sipeat.vending.EventsOptions
---@field topic? string

---@class sipeat.vending.BoardOptions settings of the drivers xy, modbus, cctalk, qibixx, vtk, dex
---@field port string as of sipeat.serial
---@field id? string who the board has to say it is
---@field settings? table<string, string|integer|boolean> of the protocol; default {}
---@field slot_offset? integer from the machine's slots to the board's; default 0
---@field dispense_time? string the longest; default: the protocol's
---@field settle_time? string after it nothing moves or is counted any more; default: the driver's
---@field ready_time? string how long a question waits for the board; default "10s"
---@field baud? integer
---@field dtr? boolean
---@field rts? boolean
---@field rs485? boolean

---@class sipeat.vending.Args
---@field machine string
---@field slot integer|string
---@field ledger? string as of here(), when the intent was made
---@field quantity? integer of coins, for a hopper
---@field amount_minor? integer

---@class sipeat.vending.Dispensed
---@field machine string
---@field slot integer|string
---@field approval string
---@field proof sipeat.vending.Proof
---@field quantity? integer
---@field dispensed_at string

---@class sipeat.vending.Device
---@field proof sipeat.vending.Proof
---@field board? string who it says it is; an order of another board is not settled by its counters
---@field settle_ms? integer how long after an order a counter may still change
---@field patience_ms? integer how long a question waits for it
---@field shared_counter? boolean one counter for all slots
---@field dispense function (self, slot, approval, args) -> proof, or nil and a failure
---@field counters fun(self, slot?): { total: integer, slots: table }?, string?, string?
---@field before? fun(self, slot): table?, sipeat.Failure? what is kept with the order, plain data
---@field resolve? fun(self, slot, before: table): string?, sipeat.Failure|sipeat.vending.Proof?
---@field ready? fun(self): true?, sipeat.Failure? it is there, and the right one
---@field status fun(self): table
---@field close? fun(self)

---@class sipeat.vending.Driver
---@field open function (machine, settings, device before?) -> device, or nil and a failure
---@field check? function (settings) -> true and the proof of a dispense, or nil and what is wrong

---@class sipeat.vending.Capabilities
---@field driver string
---@field dispense boolean
---@field proof_of_dispense sipeat.vending.Proof
---@field counters boolean
---@field credit boolean
---@field payment boolean
---@field audit boolean

--- Keeps the ledger of orders in the SQLite file at that path; nil: in memory.
---@param path string?
function M.ledger(path) end

--- The name of this ledger, for `ledger` of dispense's args.
---@return string? name
---@return sipeat.Failure? failure in memory it has none
function M.here() end

--- Machines tell of themselves in that topic from now on; without one, nowhere.
---@param options sipeat.vending.EventsOptions?
function M.events(options) end

--- The definitions of those events.
---@return { status: table, fault: table, sale: table, audit: table }
function M.event_types() end

---@return string[] names
function M.drivers() end

--- Would a driver take these settings? Nothing is opened.
---@param driver string
---@param settings table
---@return true? ok
---@return sipeat.vending.Proof|sipeat.Failure? proof or the failure
function M.check(driver, settings) end

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
---@return sipeat.vending.Capabilities?
---@return sipeat.Failure? failure
function M.capabilities(id) end

---@param id string
---@return { online: boolean, state: string, slots: table }?
---@return sipeat.Failure? failure
function M.status(id) end

--- What is known without asking the board.
---@param id string
---@return { driver: string, proof: sipeat.vending.Proof, state: string, online: boolean? }?
---@return sipeat.Failure? failure
function M.glance(id) end

--- The bytes that passed last on its line, oldest first.
---@param id string
---@return {at_ms: integer, out: boolean, bytes: string}[]
function M.traffic(id) end

--- Its last orders, newest first.
---@param id string
---@return { approval: string, slot: any, state: string, at_ms: integer }[]?
---@return sipeat.Failure? failure
function M.orders(id) end

---@param id string
---@param slot (integer|string)? for boards that are asked one slot at a time
---@return { total: integer, slots: table }?
---@return any failure
---@return string? code
function M.counters(id, slot) end

--- Money that was put in since the machine was attached.
---@param id string
---@return { amount_minor: integer, count: integer }?
---@return sipeat.Failure? failure
function M.credit(id) end

--- Reads the machine's books; told as machine.audit.
---@param id string
---@return { text: string }?
---@return sipeat.Failure? failure
function M.audit(id) end

--- Asks the machine's reader for args.amount_minor, at most once for ctx.key.
---@param args table { machine, amount_minor, slot?, product?, ledger? }
---@param ctx { key: string }
---@return { amount_minor: integer, operation?: integer }? result as approved
---@return sipeat.Failure? failure
function M.charge(args, ctx) end

---@param args table as of charge
---@param ctx { key: string }
---@return "done"|"not_done"|"unknown"? verdict
---@return any result
function M.reconcile_charge(args, ctx) end

--- The drink was delivered: the reader books the amount.
---@param args { machine: string, operation?: integer, amount_minor?: integer }
---@return table? result
---@return sipeat.Failure? failure
function M.settle(args) end

--- Undoes a charge; `result` is what charge gave.
---@param args { machine: string }
---@param result table?
---@return table? result
---@return sipeat.Failure? failure
function M.refund(args, result) end

--- Forgets an order whose claim is known not to have been given: it never left.
---@param args sipeat.vending.Args
---@param ctx { key: string }
---@return true? ok
---@return sipeat.Failure? failure
function M.withdraw(args, ctx) end

--- Turns the motor, at most once for ctx.key.
---@param args sipeat.vending.Args
---@param ctx { key: string }
---@param claim? function called right before the order leaves; nil and a failure keep it back
---@return sipeat.vending.Dispensed? result
---@return sipeat.Failure? failure
function M.dispense(args, ctx, claim) end

--- How ctx.key ended; nil and a failure while that cannot be found out, but may be later.
---@param args sipeat.vending.Args
---@param ctx { key: string }
---@return "done"|"not_done"|"unknown"? verdict
---@return sipeat.vending.Dispensed|sipeat.Failure? result
function M.reconcile(args, ctx) end

return M
