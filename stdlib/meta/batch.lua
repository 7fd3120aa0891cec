---@meta sipeat.batch
error "sipeat.batch: this file describes the module to an editor; it is not run"

---A bounded buffer with one sender behind it: events never wait for the service that it goes to.
local M = {}

---@class sipeat.batch.RetryOptions
---@field attempts? integer of one batch; default 8
---@field backoff? string[] first and longest pause; default { "500ms", "30s" }

---@class sipeat.batch.NewOptions
---@field name string for the log and the metrics: letters, digits, _ . and -
---@field send function gets the items; nil and a message or a failure when it did not work
---@field max_items? integer in the buffer, those under way included; default 10000
---@field max_bytes? string|integer in the buffer; default "10mb"
---@field batch_items? integer that `send` gets at once; default 100
---@field batch_bytes? string|integer that `send` gets at once; default "500kb"
---@field item_bytes? string|integer of one item; without it as batch_bytes
---@field flush? string how long the first item of a batch waits for others; default "1s"
---@field source? function gives a list of texts gathered elsewhere, and how many were lost there
---@field timeout? string of one call of `send`; default "30s"
---@field retry? sipeat.batch.RetryOptions default {}

---@class sipeat.Batch
---@field name string
local Batch = {}

---Takes an item, at once; false when it does not fit, which is counted.
---@param item any
---@param bytes? integer what it takes of the limits; by default its length, or that of its JSON
---@return boolean taken
---@return "full"|"too_big"? why
function Batch:add(item, bytes) end

---Takes in what its source has by now. Never waits.
function Batch:fetch() end

---Sends what waits and waits until it is sent or given up, or the time (default "5s") is up.
---@param timeout? string
---@return true? ok
---@return string? message
---@return string? code
function Batch:flush(timeout) end

---@class sipeat.BatchStatus
---@field name? string
---@field queued integer items in the buffer
---@field queued_bytes integer
---@field sent integer items; of all batches of the name, as the following
---@field full integer items that found no room
---@field too_big integer items that fit in no batch
---@field rejected integer items that the service refused for good
---@field failed integer items given up after the last attempt
---@field batches integer
---@field retries integer

---@return sipeat.BatchStatus
function Batch:stats() end

---@param options sipeat.batch.NewOptions
---@return sipeat.Batch
function M.new(options) end

---What `send` returns after a request: batch.posted("stats", http.post(url, { json = items })).
---Codes: RATE_LIMITED, TOO_BIG (the batch is halved), UNAVAILABLE, REJECTED (given up at once).
---@param what string
---@param response sipeat.http.Response?
---@param message string?
---@param code string?
---@return true? ok
---@return sipeat.Failure? why
function M.posted(what, response, message, code) end

---Batch:flush for all that there are, side by side; the program does it when it stops.
---@param timeout? string
---@return true? ok
---@return string? message
---@return string? code
function M.flush(timeout) end

---What is known of the batches of each name on this worker; /metrics has the sums of all.
---@return sipeat.BatchStatus[]
function M.status() end

return M
