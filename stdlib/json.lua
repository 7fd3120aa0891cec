--- JSON, exact both ways, over sipeat.core.json (runtime/bind/json_lua.c).
--
-- Integral numbers are integers, integers of 64 bits and all doubles survive a round trip, an empty
-- array stays one, and what JSON cannot hold is refused with the path to it. What is read is
-- RFC 8259 and nothing besides. Nothing throws but an exhausted memory.
local core = require "sipeat.core.json"

local M = {}

local Array = core.array_class

--- JSON's null inside tables, where nil would be a missing key.
M.null = core.null

--- Marks a table as an array, so that it is written as [] when empty; a new table without argument.
--- Returns it.
function M.array(t)
  return setmetatable(t or {}, Array)
end

function M.is_array(value)
  return getmetatable(value) == Array or type(value) == "table" and #value > 0
end

--- An empty array to write; read-only.
M.empty_array = setmetatable({}, Array)

--- The text of a value, or nil, message, "BAD_DATA".
M.encode = core.encode

--- The value of a text, or nil, message, "BAD_DATA". JSON's null is json.null. Of equal keys the
--- last one counts.
M.decode = core.decode

--- As decode, and as strict at once, but tables are filled when a script touches them: the choice
--- for a text of which a few fields are read. What was not touched is encoded as it was written.
M.lazy = core.lazy

return M
