---@meta sipeat.event
error "sipeat.event: this file describes the module to an editor; it is not run"

---Typed events, and how they stand in records.
---@class sipeat.event
local M = {}

---@class sipeat.Event
---@field id string
---@field type? string nil when nothing in the record names one
---@field source string
---@field time string RFC 3339
---@field version string
---@field written_version? string what it was before upcasters lifted it to the version of today
---@field data any
---@field topic? string
---@field partition? integer
---@field offset? integer
---@field key? string
---@field headers table<string, string> last value of each name
---@field attributes table<string, any> other fields of the envelope, such as orderId
---@field trace? string W3C traceparent
---@field value? string the record's value as it came

---@class sipeat.Record
---@field topic string
---@field partition integer
---@field offset integer
---@field key? string
---@field value? string
---@field headers table[] { name, value } or { name = …, value = … }
---@field timestamp integer ms since 1970

---@class sipeat.event.DefineOptions
---@field topic? string where sipeat.publish writes it
---@field key? string|fun(event: sipeat.Event): string? path into the data, as in "machineId"
---@field version? string default "1.0"
---@field upcast? table<string, fun(data: table, event: sipeat.Event): table> from older versions
---@field sealed? string[] fields, as "card" or "payments[].card", that only who has the key reads
---@field without_key? "fail"|"wait"|"leave" where the key is not; default "fail"
---@field currency? string of amounts, unless the data has a field currency; default "EUR"
---@field source? string default "sipeat"
---@field mode? "binary"|"structured"|"plain"|"body" how it is written; default "binary"

---@class sipeat.event.NewOptions
---@field id? string
---@field source? string
---@field time? string
---@field key? string
---@field topic? string
---@field headers? table<string, string>
---@field trace? string
---@field attributes? table<string, any>

---@class sipeat.event.EncodeOptions
---@field mode? "binary"|"structured"|"plain"|"body" what the definition says, else binary

---@class sipeat.EventDefinition
---@field type string
---@field topic? string
---@field fields table
local Definition = {}

---@class sipeat.event.Problem
---@field field string path into the data, as in "slots[2].price"
---@field message string
---@field code "missing"|"type"|"blank"|"too_long"|"not_listed"|"unknown"

---Typed data of what came or was made; see docs/events.md.
---@param data any
---@return table? data
---@return string? message names every wrong field
---@return string? code "INVALID_EVENT"
---@return sipeat.event.Problem[]? problems
function Definition:validate(data) end

---A definition of the same type with these of its fields and no others.
---@param names string[]
---@param title string? its name in documents
---@return sipeat.EventDefinition
function Definition:only(names, title) end

---@param data table typed data
---@return table data as it is written
function Definition:to_wire(data) end

---Checks an event that was read and puts the typed data into it.
---@param event sipeat.Event
---@return true? ok
---@return string? message
---@return string? code "INVALID_EVENT", "BAD_DATA", "NO_UPCASTER", "NEWER_VERSION", …
function Definition:accept(event) end

---@param data table
---@param attributes sipeat.event.NewOptions?
---@return sipeat.Event?
---@return string? message
---@return string? code "INVALID_EVENT"
function Definition:new(data, attributes) end

---Declares a type of event.
---@param type_name string
---@param fields_by_name table<string, string|table>
---@param options sipeat.event.DefineOptions?
---@return sipeat.EventDefinition
function M.define(type_name, fields_by_name, options) end

---A field type: a list whose items have one type or the same fields.
---@param item string|table
---@return table
function M.list(item) end

---@param value any
---@return boolean
function M.is_definition(value) end

---An event without a definition.
---@param type_name string
---@param data any
---@param options sipeat.event.NewOptions?
---@param source string?
---@param version string?
---@return sipeat.Event
function M.untyped(type_name, data, options, source, version) end

---@param record sipeat.Record
---@return sipeat.Event?
---@return string? message
---@return string? code "BAD_DATA"
function M.from_record(record) end

---@param event sipeat.Event
---@param options sipeat.event.EncodeOptions?
---@return string? value
---@return table<string, string>|string headers or the message
---@return string? code "BAD_DATA"
function M.encode(event, options) end

return M
