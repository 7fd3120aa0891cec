---@meta sipeat.bench
error("type stubs: require \"sipeat.bench\" in a script instead")

--- Hardware tests, run by `sipeat bench FILE`.
local M = {}

---@class sipeat.bench.PlanOptions
---@field name string what is tested
---@field about? string a sentence for the report
---@field protocol? string what the devices speak; without one, device.line is a raw line
---@field settings? table of the protocol; default {}
---@field line? table how ports are opened: baud, bits, parity, stop, dtr, rts, rs485; default {}
---@field simulator? table settings of the simulated board of `--port sim`; default {}
---@field serial_number? string the operator is asked for one of this pattern

---@class sipeat.bench.PhaseOptions
---@field retries? integer how often it is tried again, default 0
---@field timeout? string default "10m"
---@field optional? boolean its failure does not fail the device, default false

---@class sipeat.bench.StepOptions
---@field min? number
---@field max? number
---@field equals? any
---@field unit? string
---@field retries? integer how often it is tried again, default 0
---@field pause? string before each further try, default "0ms"
---@field timeout? string for each try
---@field go_on? boolean a failure does not end the phase, default false

---@class sipeat.bench.SeriesOptions
---@field unit? string
---@field at_most? table limits of count, min, mean, p50, p95, p99, max
---@field at_least? table

---@class sipeat.bench.AskOptions
---@field default? string what --yes answers, and an empty line
---@field pattern? string that the whole answer must match
---@field choices? string[]

---@class sipeat.bench.Series
---@field add fun(self, value: number)

---@class sipeat.bench.Device
---@field name string "#1", "#2" …
---@field port string
---@field serial string? its serial number
---@field info table what it said when it was identified
---@field line sipeat.serial.Line
---@field simulator table? with --port sim
---@field step fun(self, name: string, options: sipeat.bench.StepOptions?, f: function): any
---@field measure fun(self, name: string, value: any, options: sipeat.bench.StepOptions?): any
---@field series fun(self, name: string, options: sipeat.bench.SeriesOptions?): sipeat.bench.Series
---@field command fun(self, name: string, fields: table?, timeout: string?): table?, string?
---@field ask fun(self, text: string, options: sipeat.bench.AskOptions?): string
---@field confirm fun(self, text: string, default: boolean?): boolean
---@field fault fun(self, fields: table, request: string)
---@field note fun(self, text: string)
---@field fail fun(self, message: string)

--- Declares what is tested. Once in a file, before its phases.
---@param options sipeat.bench.PlanOptions
function M.plan(options) end

--- Declares a phase: f(device) runs for each device, in the order of declaration.
---@param name string
---@param options sipeat.bench.PhaseOptions?
---@param f fun(device: sipeat.bench.Device)
function M.phase(name, options, f) end

--- A parameter of the plan: what `--with name=value` says, else the default, whose type it has.
---@generic T
---@param name string
---@param default T
---@return T
function M.parameter(name, default) end

--- Milliseconds that f(...) took, and then its results.
---@param f function
---@return number ms
---@return any ...
function M.time(f, ...) end

--- Waits: true, or nil, message, "ECANCELED".
---@param duration string as in "200ms"
---@return true? ok
---@return string? message
---@return string? code
function M.sleep(duration) end

return M
