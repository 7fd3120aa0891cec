--- Text from outside, as it may be printed. No I/O.
local sys = require "sipeat.core.sys"

local M = {}

--- Text that cannot move a cursor or break a line: control bytes and broken UTF-8 become \xNN.
function M.printable(text)
  local function escape(byte)
    return ("\\x%02x"):format(byte:byte())
  end
  if not sys.valid_utf8(text) then
    text = text:gsub("[\128-\255]", escape)
  end
  return (text:gsub("[%c\127]", escape))
end

return M
